//! Senders that people have at hand: `logger`, and Python's `SysLogHandler`.

use std::process::Command;

use serde_json::Value;

use crate::daemon::{Daemon, Ended, free_port, need};

const BODY: &str = r#"10.0.0.1,"AD\alice",smb2,fs_read_data,ok,7,"/a, ""b""/żółć","""#;

fn config(port: u16) -> String {
    format!(
        r#"
        [sources.senders]
        type = "syslog"
        listen = [
          "tcp://127.0.0.1:{port}",
          "udp://127.0.0.1:{port}",
          "unix://{{dir}}/stream.sock",
          "unix-dgram://{{dir}}/datagram.sock",
        ]
        nul_separates = true
        [[rules]]
        name = "all"
        sinks = "events"
        [sinks.events]
        type = "file"
        path = "{{dir}}/events.jsonl"
        "#
    )
}

/// Runs a command and says what it said where it failed.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Waits for so many events, stops the daemon, and asserts that each has the fields of [`BODY`].
fn end(daemon: Daemon, count: usize) -> Ended {
    daemon.wait_for_lines("events.jsonl", count);
    let ended = daemon.stop();
    ended.assert_settled();
    let events = ended.events("events.jsonl");
    assert_eq!(events.len(), count);
    for event in &events {
        let fields = ["client", "user", "protocol", "operation", "status", "file_id", "path"];
        let values = fields.map(|field| event[field].as_str().unwrap_or_default());
        let path = "/a, \"b\"/żółć";
        let expected = ["10.0.0.1", "AD\\alice", "smb2", "fs_read_data", "ok", "7", path];
        assert_eq!(values, expected, "{event}");
        assert_eq!(event["target"], Value::Null);
        let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        let age = jiff::Timestamp::now().as_second() - time.as_second();
        assert!((0..600).contains(&age), "{event} is {age} s old");
    }
    ended
}

#[test]
fn logger_in_each_of_its_forms() {
    let logger = need("logger");
    let port = free_port();
    let daemon = Daemon::start(&config(port), &[port]);
    let port = port.to_string();
    let remote = ["--server", "127.0.0.1", "--port", &port];
    let (stream, datagram) = (daemon.path("stream.sock"), daemon.path("datagram.sock"));
    let stream = ["--socket", stream.to_str().unwrap(), "--socket-errors=on"];
    let datagram = ["--socket", datagram.to_str().unwrap(), "--socket-errors=on"];
    let mut count = 0;
    for format in ["--rfc5424", "--rfc5424=notime,notq", "--rfc3164"] {
        for way in [
            [&remote[..], &["--tcp"]].concat(),
            [&remote[..], &["--tcp", "--octet-count"]].concat(),
            [&remote[..], &["--udp"]].concat(),
            [&stream[..], &["--tcp"]].concat(),
            [&datagram[..], &["--udp"]].concat(),
        ] {
            // A message on standard input is not cut at 1 KiB as one on the command line is.
            let mut command = Command::new(&logger);
            // The local form has no zone; the daemon takes it as UTC.
            command.env("TZ", "UTC").args(&way).args([format, "--tag", "qumulo", "--", BODY]);
            run(&mut command);
            count += 1;
        }
    }
    let ended = end(daemon, count);
    assert_eq!(ended.account("sources.senders")["received"], count);
}

/// Sends each message through a handler on the address of each kind.
const PYTHON: &str = r#"
import logging, logging.handlers, socket, sys, time
port, stream, datagram, body = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
ways = [
    (("127.0.0.1", port), socket.SOCK_STREAM),
    (("127.0.0.1", port), socket.SOCK_DGRAM),
    (stream, socket.SOCK_STREAM),
    (datagram, socket.SOCK_DGRAM),
]
forms = [
    "1 %(asctime)s.%(msecs)03dZ groot-1 qumulo - - - %(message)s",
    "%(asctime)s.%(msecs)03dZ groot-1 qumulo: %(message)s",
]
for address, kind in ways:
    handler = logging.handlers.SysLogHandler(address, "user", kind)
    logger = logging.getLogger(str((address, kind)))
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    for form in forms:
        formatter = logging.Formatter(form, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
        logger.info("%s", body)
        logger.info("%s", body)
    handler.close()
"#;

#[test]
fn python_appends_a_nul() {
    let python = need("python3");
    let port = free_port();
    let daemon = Daemon::start(&config(port), &[port]);
    let mut command = Command::new(python);
    command.args(["-c", PYTHON, &port.to_string()]);
    command.args([daemon.path("stream.sock"), daemon.path("datagram.sock")]).arg(BODY);
    run(&mut command);
    let ended = end(daemon, 16);
    let events = ended.events("events.jsonl");
    assert!(events.iter().all(|event| event["node"] == "groot-1" && event["cluster"] == "groot"));
}
