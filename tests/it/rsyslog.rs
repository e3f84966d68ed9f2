//! A real rsyslogd between the cluster and the daemon, with each template and each transport.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qatime::event::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{DEADLINE, Daemon, Ended, free_port, need, send};

/// How a template shows a message, and what it loses.
#[derive(Debug, Clone, Copy)]
struct Template {
    /// Short, for paths and file names.
    name: &'static str,
    /// Its definition; nothing for rsyslog's own.
    definition: &'static str,
    /// Whether fractions of a second and the year get lost.
    loses_time: bool,
    /// Whether the node's name gets lost.
    loses_node: bool,
    /// Whether a message begins with a priority, without which no octet count is recognised.
    has_priority: bool,
}

const PLAIN: Template = Template {
    name: "",
    definition: "",
    loses_time: false,
    loses_node: false,
    has_priority: false,
};

/// rsyslog's own templates, and those that recipes for Qumulo's audit log define.
const TEMPLATES: &[Template] = &[
    Template {
        name: "RSYSLOG_TraditionalForwardFormat",
        loses_time: true,
        has_priority: true,
        ..PLAIN
    },
    Template { name: "RSYSLOG_ForwardFormat", has_priority: true, ..PLAIN },
    Template { name: "RSYSLOG_SyslogProtocol23Format", has_priority: true, ..PLAIN },
    Template { name: "RSYSLOG_FileFormat", ..PLAIN },
    Template { name: "RSYSLOG_TraditionalFileFormat", loses_time: true, ..PLAIN },
    Template {
        name: "QumuloFwdFmt",
        definition: "%TIMESTAMP:::date-rfc3339%,%HOSTNAME%,%syslogtag:1:32% \
                     %msg:::sp-if-no-1st-sp%%msg%\\n",
        ..PLAIN
    },
    Template {
        name: "QumuloAuditFormat",
        definition: "%timestamp:::date-rfc3339%,%hostname%,%msg%\\n",
        ..PLAIN
    },
    Template {
        name: "LogFilterFmt",
        definition: "%timestamp:::date-rfc3339% %hostname% qumulo - - - %msg%\\n",
        ..PLAIN
    },
    Template {
        name: "StampAndMessage",
        definition: "%timestamp:::date-rfc3339%,%msg%\\n",
        loses_node: true,
        ..PLAIN
    },
];

/// A transport of rsyslog's `omfwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Lines,
    Counted,
    Udp,
}

impl Transport {
    fn parameters(self) -> &'static str {
        match self {
            Self::Lines => r#"protocol="tcp" tcp_framing="traditional""#,
            Self::Counted => r#"protocol="tcp" tcp_framing="octet-counted""#,
            Self::Udp => r#"protocol="udp""#,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Counted => "counted",
            Self::Udp => "udp",
        }
    }
}

/// A running rsyslogd, killed when dropped.
#[derive(Debug)]
struct Rsyslogd {
    child: Child,
    directory: TempDir,
}

impl Rsyslogd {
    /// Starts it with this configuration, in which `{dir}` stands for its directory, and waits
    /// until it takes connections on `ports`.
    fn start(config: &str, ports: &[u16]) -> Self {
        let program = need("rsyslogd");
        let directory = TempDir::new().unwrap();
        let path = directory.path().to_str().unwrap();
        let file = directory.path().join("rsyslog.conf");
        fs::write(&file, config.replace("{dir}", path)).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(["-n", "-f", file.to_str().unwrap()])
            .arg("-i")
            .arg(directory.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut rsyslogd = Self { child, directory };
        let started = Instant::now();
        for &port in ports {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                let ended = rsyslogd.child.try_wait().unwrap();
                let waits = ended.is_none() && started.elapsed() < DEADLINE;
                assert!(waits, "rsyslogd does not listen: {}", rsyslogd.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        rsyslogd
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What a cluster sends: the body with `PREFIX` before its path, and what comes out.
struct Line {
    /// What stands after the seconds in the stamp.
    fraction: &'static str,
    /// From the client's address on.
    body: &'static str,
    /// Fields of the event, one `key=value` each; `path` without the prefix.
    fields: &'static [&'static str],
}

const LINES: &[Line] = &[
    Line {
        fraction: ".955812Z",
        body: r#"10.220.151.129,"admin",smb2,fs_read_data,ok,140624751830626345080086044861,"PREFIX/data/file.txt","""#,
        fields: &[
            "client=10.220.151.129",
            "user=admin",
            "protocol=smb2",
            "operation=fs_read_data",
            "status=ok",
            "file_id=140624751830626345080086044861",
            "path=/data/file.txt",
        ],
    },
    Line {
        fraction: "Z",
        body: r#"fe80::1,"AD\alice",nfs3,fs_list_directory,ok,3,"PREFIX/a ""quoted"", one\","""#,
        fields: &[
            "client=fe80::1",
            "user=AD\\alice",
            "protocol=nfs3",
            "operation=fs_list_directory",
            "path=/a \"quoted\", one\\",
        ],
    },
    Line {
        fraction: ".5Z",
        body: r#"2001:db8::7,"S-1-5-21-1-2-3-500",smb2,fs_rename,ok,124,"PREFIX/old/dir/","/new/dir/""#,
        fields: &["operation=fs_rename", "path=/old/dir/", "target=/new/dir/"],
    },
    Line {
        fraction: ".00333Z",
        body: r#"10.0.0.1,"1000",nfs3,fs_read_data,fs_access_denied_error,7,"PREFIX/żółć/文件/Ä.txt","""#,
        fields: &["status=fs_access_denied_error", "path=/żółć/文件/Ä.txt"],
    },
    Line {
        fraction: ".71679Z",
        body: r#"{"user_ip":"10.0.0.1","user_id":{"sid":"S-1-5","auth_id":"500","name":"AD\\bob"},"protocol":"api","operation":"fs_read_data","status":"ok","details":{"path":"PREFIX/json \" x","file_id":"4","offset":1,"size":2,"file_size":3}}"#,
        fields: &[
            "client=10.0.0.1",
            "user=AD\\bob",
            "user_sid=S-1-5",
            "user_auth_id=500",
            "path=/json \" x",
            "file_id=4",
        ],
    },
];

/// The configuration of a daemon that writes all events of all sources to one file.
fn daemon_config(port: u16, more: &str) -> String {
    format!(
        r#"
        {more}
        [sources.relay]
        type = "syslog"
        listen = ["tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}"]
        [[rules]]
        name = "all"
        sinks = "events"
        [sinks.events]
        type = "file"
        path = "{{dir}}/events.jsonl"
        "#
    )
}

/// What to prepend to all of rsyslog's configurations.
const RSYSLOG_HEAD: &str = r#"
global(workDirectory="{dir}" maxMessageSize="256k" processInternalMessages="off"
       net.enableDNS="off")
module(load="imtcp")
"#;

/// An input, and an action that forwards what comes in there and nothing else.
fn relay(port: u16, target: u16, name: &str, template: &str, transport: Transport) -> String {
    let action = forward(target, template, transport);
    format!(
        "input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"{name}\")\n\
         ruleset(name=\"{name}\") {{ {action} }}\n"
    )
}

fn forward(target: u16, template: &str, transport: Transport) -> String {
    let parameters = transport.parameters();
    format!(
        "action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{target}\" {parameters} \
         template=\"{template}\")"
    )
}

/// A second some minutes ago, so that a stamp without a year is of this one.
fn recent() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second() - 600).unwrap()
}

#[test]
fn every_template_and_transport_gives_the_same_events() {
    let target = free_port();
    let daemon = Daemon::start(&daemon_config(target, ""), &[target]);
    let mut config = RSYSLOG_HEAD.to_owned();
    let mut relays = Vec::new();
    for template in TEMPLATES {
        let (name, definition) = (template.name, template.definition);
        if !definition.is_empty() {
            config +=
                &format!("template(name=\"{name}\" type=\"string\" string=\"{definition}\")\n");
        }
        for transport in [Transport::Lines, Transport::Counted, Transport::Udp] {
            if transport == Transport::Counted && !template.has_priority {
                continue;
            }
            let port = free_port();
            let id = format!("{name}-{}", transport.name());
            config += &relay(port, target, &id, name, transport);
            relays.push((id, port, template));
        }
    }
    let ports: Vec<u16> = relays.iter().map(|(_, port, _)| *port).collect();
    let _rsyslogd = Rsyslogd::start(&config, &ports);
    let second = recent();
    for (id, port, _) in &relays {
        send(*port, wire(id, second).as_bytes());
    }
    daemon.wait_for_lines("events.jsonl", relays.len() * LINES.len());
    let ended = daemon.stop();
    ended.assert_settled();
    let events = ended.events("events.jsonl");
    assert_eq!(events.len(), relays.len() * LINES.len());
    for (id, _, template) in &relays {
        assert_events(&events, id, template, second);
    }
}

/// What the cluster sends through one relay.
fn wire(id: &str, second: jiff::Timestamp) -> String {
    let stamp = second.to_string();
    let stamp = stamp.trim_end_matches('Z');
    let lines = LINES.iter().map(|line| {
        let body = line.body.replace("PREFIX", &format!("/{id}"));
        format!("<14>1 {stamp}{} groot-1 qumulo - - - {body}\n", line.fraction)
    });
    lines.collect()
}

/// Asserts each field of what came through one relay, in the order in which it was sent.
fn assert_events(events: &[Value], id: &str, template: &Template, second: jiff::Timestamp) {
    let prefix = format!("/{id}/");
    let path_of = |event: &Value| event["path"].as_str().unwrap().to_owned();
    let mine: Vec<&Value> =
        events.iter().filter(|event| path_of(event).starts_with(&prefix)).collect();
    assert_eq!(mine.len(), LINES.len(), "{id}");
    for line in LINES {
        let expected = line.fields.iter().map(|field| field.split_once('=').unwrap());
        let fields: Vec<(&str, String)> = expected
            .map(|(key, value)| match key {
                "path" => (key, format!("/{id}{value}")),
                _ => (key, value.to_owned()),
            })
            .collect();
        let path = &fields.iter().find(|(key, _)| *key == "path").unwrap().1;
        let event = mine.iter().find(|event| path_of(event) == *path);
        let event = event.unwrap_or_else(|| panic!("{id}: no event of {path}: {mine:#?}"));
        for (key, value) in &fields {
            assert_eq!(event[*key], value.as_str(), "{id}: {key} of {path}");
        }
        let stamp = second.to_string();
        let fraction = if template.loses_time { "Z" } else { line.fraction };
        let sent: jiff::Timestamp =
            format!("{}{fraction}", stamp.trim_end_matches('Z')).parse().unwrap();
        let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(time, sent, "{id}: time of {path}");
        assert_eq!(
            Timestamp::from_nanos(i64::try_from(sent.as_nanosecond()).unwrap()).to_string(),
            event["time"].as_str().unwrap(),
            "{id}: a stamp has one form"
        );
        let node = if template.loses_node { Value::Null } else { "groot-1".into() };
        let cluster = if template.loses_node { Value::Null } else { "groot".into() };
        assert_eq!((&event["node"], &event["cluster"]), (&node, &cluster), "{id}: {path}");
    }
}

/// Sends lines through rsyslog in its forward format, and returns what became of `events` events
/// and `rejected` rejections.
fn through_rsyslog(head: &str, more: &str, lines: &[u8], events: usize, rejected: usize) -> Ended {
    let (port, target) = (free_port(), free_port());
    let daemon = Daemon::start(&daemon_config(target, more), &[target]);
    // No rule set of its own: rsyslog reports repetitions to the default one only.
    let input = format!("input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n");
    let action = forward(target, "RSYSLOG_SyslogProtocol23Format", Transport::Lines);
    let rsyslogd = Rsyslogd::start(&format!("{head}{input}{action}\n"), &[port]);
    send(port, lines);
    // The last line says that all before it went through.
    let mut last = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let end = "<14>1 2026-01-27T14:12:23Z groot-1 qumulo - - - ::1,\"x\",api,fs_open,ok,1,\"/end\",\"\"\n";
    last.write_all(end.as_bytes()).unwrap();
    daemon.wait_for_lines("events.jsonl", events + 1);
    drop(rsyslogd);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.events("events.jsonl").len(), events + 1, "{}", ended.log);
    let counts = ended.account("sources.relay")["rejected"].as_object().unwrap();
    let sum: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sum, rejected as u64, "{counts:?}\n{}", ended.log);
    ended
}

const CONTROL: &[u8] =
    b"<14>1 2026-01-27T14:12:23Z groot-1 qumulo - - - ::1,\"x\",nfs3,fs_read_data,ok,3,\"/tab\there a#011b \xe9\",\"\"\r\n";

#[test]
fn control_characters_are_taken_as_rsyslog_wrote_them() {
    let ended = through_rsyslog(RSYSLOG_HEAD, "", CONTROL, 1, 0);
    let event = &ended.events("events.jsonl")[0];
    assert_eq!(event["path"], "/tab#011here a#011b \u{fffd}");
    // The exact bytes stand beside it.
    assert_eq!(event["path_base64"], "L3RhYiMwMTFoZXJlIGEjMDExYiDp");
}

#[test]
fn control_characters_come_back_where_the_configuration_says_so() {
    let more = "decoder.rsyslog_escapes = true";
    let ended = through_rsyslog(RSYSLOG_HEAD, more, CONTROL, 1, 0);
    assert_eq!(ended.events("events.jsonl")[0]["path"], "/tab\there a\tb \u{fffd}");
}

fn long_line() -> Vec<u8> {
    let path = "/0123456789".repeat(900);
    let body = format!("::1,\"x\",nfs3,fs_read_data,ok,3,\"{path}\",\"\"");
    format!("<14>1 2026-01-27T14:12:23Z groot-1 qumulo - - - {body}\n").into_bytes()
}

#[test]
fn a_long_line_passes_a_relay_that_lets_it() {
    let ended = through_rsyslog(RSYSLOG_HEAD, "", &long_line(), 1, 0);
    assert_eq!(ended.events("events.jsonl")[0]["path"], "/0123456789".repeat(900));
}

#[test]
fn neither_half_of_a_line_that_a_relay_cut_makes_an_event() {
    let head = RSYSLOG_HEAD.replace("maxMessageSize=\"256k\"", "maxMessageSize=\"8k\"");
    let ended = through_rsyslog(&head, "", &long_line(), 0, 2);
    let rejected = &ended.account("sources.relay")["rejected"];
    assert_eq!((&rejected["truncated"], &rejected["not_audit"]), (&1.into(), &1.into()));
}

#[test]
fn a_repeated_message_is_one_event() {
    let line = b"<14>1 2026-01-27T14:12:23Z groot-1 qumulo - - - ::1,\"x\",nfs3,fs_read_data,ok,3,\"/again\",\"\"\n";
    let head = format!("$RepeatedMsgReduction on\n{RSYSLOG_HEAD}");
    let ended = through_rsyslog(&head, "", &line.repeat(4), 2, 0);
    let paths: Vec<Value> =
        ended.events("events.jsonl").iter().map(|event| event["path"].clone()).collect();
    assert_eq!(paths, ["/again", "/again", "/end"]);
}
