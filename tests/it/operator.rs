//! What the operator sees of a daemon, and asks of it: the admin listener, `qatime status` and
//! `qatime reload`.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::daemon::{DEADLINE, Daemon, free_port, need, send};

mod exposition;

use exposition::Exposition;

/// What the admin listener answers within, however busy the machine is, rather than at a time-out.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A source on a port, and an admin listener on a socket and another port.
fn config(source: u16, admin: u16) -> String {
    format!(
        r#"
        grace = "1s"
        spool.directory = ""
        admin.listen = ["unix://{{dir}}/admin.sock", "tcp://127.0.0.1:{admin}"]
        sources.cluster = {{ type = "syslog", listen = "tcp://127.0.0.1:{source}" }}
        [[rules]]
        name = 'the "reads"\'
        when.operation = "fs_read_data"
        sinks = "out"
        [sinks.out]
        type = "file"
        path = "{{dir}}/out"
        "#
    )
}

/// A message about a file.
fn message(operation: &str, path: &str) -> String {
    let head = "<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,\"ann\",nfs3,";
    format!("{head}{operation},ok,7,\"{path}\",\"\"\n")
}

/// What comes back for the bytes of a request: code, head and body.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> (u16, String, String) {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (code, head.to_ascii_lowercase(), body.to_owned())
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Gets a page, at once.
pub(crate) fn get(port: u16, path: &str) -> (u16, String) {
    let asked = Instant::now();
    let request = format!("GET {path} HTTP/1.1\r\nHost: q\r\n\r\n");
    let (code, _, body) = exchange(connect(port), request.as_bytes());
    assert!(asked.elapsed() < AT_ONCE, "{path} took {:?}", asked.elapsed());
    (code, body)
}

fn metrics(port: u16) -> Exposition {
    let (code, page) = get(port, "/metrics");
    assert_eq!(code, 200);
    Exposition::parse(&page)
}

fn status(port: u16) -> Value {
    serde_json::from_str(&get(port, "/status").1).unwrap()
}

/// The program, told where the daemon answers.
fn qatime(arguments: &[&str], admin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(arguments).env("QATIME_ADMIN", admin).stdin(Stdio::null());
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn socket_of(daemon: &Daemon) -> String {
    format!("unix://{}", daemon.path("admin.sock").display())
}

fn rewrite(daemon: &Daemon, from: &str, to: &str) {
    let path = daemon.path("qatime.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Answers as a daemon would that was taken over, `times` times; gives its address.
fn lies(body: String, times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(times) {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 4096]).unwrap();
            let head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length:";
            write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    address
}

#[test]
fn what_a_daemon_says_drives_no_terminal() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let mut said = status(admin);
    daemon.stop();
    let hostile = "\u{1b}[2J\u{9b}31m\r\u{202e}\u{2028}\u{7}x";
    for place in ["/version", "/sinks/0/name", "/configuration/file", "/configuration/loaded"] {
        *said.pointer_mut(place).unwrap() = hostile.into();
    }
    let drives =
        |char: char| (char.is_control() && char != '\n') || matches!(char, '\u{202e}' | '\u{2028}');
    for arguments in [&["status"][..], &["status", "--json"], &["reload"], &["status", "--ready"]] {
        let answer = qatime(arguments, &lies(said.to_string(), 2));
        let (out, err) = (stdout(&answer), stderr(&answer));
        assert!(!out.contains(drives) && !err.contains(drives), "{arguments:?}: {out:?} {err:?}");
        if arguments == ["status", "--json"] {
            assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), said);
        }
    }
}

#[test]
fn the_metrics_are_the_ledger() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let reads: String =
        (0..70).map(|number| message("fs_read_data", &format!("/{number}"))).collect();
    let others: String = (0..20).map(|_| message("fs_open", "/x")).collect();
    let junk = "<14>1 junk\n".repeat(10);
    send(source, format!("{reads}{others}{junk}").as_bytes());
    daemon.wait_for_lines("out", 70);
    let page = metrics(admin);
    let of_source = |name: &str| page.value(name, &[("source", "cluster")]);
    assert_eq!(of_source("qatime_events_received_total"), 100.0);
    assert_eq!(of_source("qatime_events_routed_total"), 70.0);
    assert_eq!(of_source("qatime_events_unmatched_total"), 20.0);
    let junk = [("source", "cluster"), ("reason", "not_audit")];
    assert_eq!(page.value("qatime_events_rejected_total", &junk), 10.0);
    assert_eq!(of_source("qatime_events_in_flight"), 0.0);
    assert_eq!(page.value("qatime_rule_matched_total", &[("rule", r#"the "reads"\"#)]), 70.0);
    let of_sink = |name: &str| page.value(name, &[("sink", "out")]);
    assert_eq!(of_sink("qatime_sink_routed_total"), 70.0);
    assert_eq!(of_sink("qatime_events_delivered_total"), 70.0);
    assert_eq!(of_sink("qatime_sink_up"), 1.0);
    assert_eq!(of_sink("qatime_queue_events"), 0.0);
    assert_eq!(page.value("qatime_ready", &[]), 1.0);
    assert_eq!(page.value("qatime_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(page.value("qatime_start_time_seconds", &[]) > 1.7e9);
    let status = status(admin);
    let ended = daemon.stop();
    ended.assert_settled();
    // Each account of the ledger, number by number, but for its name.
    for (shelf, label, account) in [
        ("sources", "source", ended.account("sources.cluster")),
        ("sinks", "sink", ended.account("sinks.out")),
    ] {
        for (key, value) in account.as_object().unwrap().iter().filter(|(key, _)| *key != "name") {
            assert_eq!(status[shelf][0][key], *value, "{shelf} {key}");
        }
        let rejected = account["rejected"].as_object().unwrap();
        let name = account["name"].as_str().unwrap().split_once('.').unwrap().1;
        let shown = page.sum("qatime_events_rejected_total", &[(label, name)]);
        let rejected: f64 = rejected.values().map(|count| count.as_f64().unwrap()).sum();
        assert_eq!(shown, rejected);
    }
    assert_eq!(status["rules"][0]["matched"], 70);
}

#[test]
fn a_bad_file_changes_nothing_and_everybody_says_so() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let file = daemon.path("qatime.toml");
    let file = file.to_str().unwrap();
    let good = fs::read_to_string(file).unwrap();
    assert_eq!(get(admin, "/readyz"), (200, "ready\n".to_owned()));
    rewrite(&daemon, "type = \"file\"", "type = \"fiel\"");
    rewrite(&daemon, "grace = \"1s\"", "grace = \"soon\"");
    let check = qatime(&["check", "--config", file], "");
    let reload = qatime(&["reload"], &socket_of(&daemon));
    assert_eq!(reload.status.code(), Some(78), "{}", stderr(&reload));
    assert_eq!(stdout(&reload), stdout(&check));
    assert!(stdout(&reload).contains("grace: \"soon\" is not a duration"), "{}", stdout(&reload));
    // As JSON, what `check` has is within. The daemon is found by its file, however wrong that is.
    let check = qatime(&["check", "--json", "--config", file], "");
    let reload = qatime(&["reload", "--json", "--config", file], "");
    assert_eq!(reload.status.code(), Some(78), "{}", stderr(&reload));
    let reloaded: Value = serde_json::from_slice(&reload.stdout).unwrap();
    assert_eq!(reloaded["result"], "refused");
    assert_eq!(reloaded["diagnosis"], serde_json::from_slice::<Value>(&check.stdout).unwrap());
    let (code, ready) = get(admin, "/readyz");
    assert_eq!(code, 200);
    for words in ["older than the file", file, "was refused", "grace: \"soon\" is not a duration"] {
        assert!(ready.contains(words), "{words}\n{ready}");
    }
    let page = metrics(admin);
    assert_eq!(page.value("qatime_configuration_stale", &[]), 1.0);
    assert_eq!(page.value("qatime_reloads_total", &[("result", "refused")]), 2.0);
    assert!(page.value("qatime_configuration_last_failed_reload_timestamp_seconds", &[]) > 1.7e9);
    assert!(daemon.log().contains("grace: \\\"soon\\\" is not a duration"), "{}", daemon.log());
    assert!(daemon.log().contains("the daemon runs as before"), "{}", daemon.log());
    let shown = stdout(&qatime(&["status"], &socket_of(&daemon)));
    assert!(shown.contains("! the running rules are older than the file"), "{shown}");
    // It runs on; and nothing is said any more once the old text is back.
    send(source, message("fs_read_data", "/a").as_bytes());
    daemon.wait_for_lines("out", 1);
    fs::write(file, good).unwrap();
    daemon.wait_until("ready without remarks", || get(admin, "/readyz").1 == "ready\n");
    let reload = qatime(&["reload"], &socket_of(&daemon));
    assert_eq!(reload.status.code(), Some(0), "{}", stderr(&reload));
    assert!(stdout(&reload).contains("is fine: 1 source, 1 rule, 1 sink"), "{}", stdout(&reload));
    // Another text that is right is another generation.
    rewrite(&daemon, "\"fs_read_data\"", "\"fs_open\"");
    let reload = qatime(&["reload"], &socket_of(&daemon));
    assert_eq!(reload.status.code(), Some(0), "{}", stderr(&reload));
    let generation = status(admin)["generation"].as_u64().unwrap();
    assert!(stdout(&reload).contains(&format!("generation {generation}\n")) && generation > 1);
    send(source, [message("fs_open", "/b"), message("fs_read_data", "/c")].concat().as_bytes());
    daemon.wait_for_lines("out", 2);
    let page = metrics(admin);
    assert_eq!(page.value("qatime_generation", &[]), generation as f64);
    assert_eq!(page.value("qatime_events_received_total", &[("source", "cluster")]), 3.0);
    assert_eq!(page.value("qatime_events_delivered_total", &[("sink", "out")]), 2.0);
    assert_eq!(page.value("qatime_configuration_stale", &[]), 0.0);
    assert!(page.value("qatime_configuration_last_good_reload_timestamp_seconds", &[]) > 1.7e9);
    daemon.stop().assert_settled();
}

#[test]
fn sighup_reloads_as_well_and_a_file_that_is_gone_is_no_reason_to_stop() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    rewrite(&daemon, "grace = \"1s\"", "grace = 5");
    daemon.signal(Signal::HUP);
    let refused = || metrics(admin).value("qatime_reloads_total", &[("result", "refused")]) == 1.0;
    daemon.wait_until("a refusal", refused);
    fs::remove_file(daemon.path("qatime.toml")).unwrap();
    let reload = qatime(&["reload"], &socket_of(&daemon));
    assert_eq!(reload.status.code(), Some(1));
    assert!(stderr(&reload).contains("cannot read the configuration"), "{}", stderr(&reload));
    let cannot_read = || get(admin, "/readyz").1.contains("the file cannot be read: No such file");
    daemon.wait_until("a remark", cannot_read);
    assert_eq!(get(admin, "/readyz").0, 200);
    daemon.stop().assert_settled();
}

#[test]
fn a_watched_file_is_reloaded_once_for_each_change() {
    let (source, admin) = (free_port(), free_port());
    let config = format!("watch = \"50ms\"\n{}", config(source, admin));
    let daemon = Daemon::start(&config, &[source, admin]);
    let refused = || metrics(admin).value("qatime_reloads_total", &[("result", "refused")]);
    for (number, (from, to)) in [("\"1s\"", "\"1x\""), ("\"1x\"", "\"1y\"")].into_iter().enumerate()
    {
        rewrite(&daemon, from, to);
        daemon.wait_until("a refusal", || refused() > number as f64);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(refused(), number as f64 + 1.0, "{}", daemon.log());
        let said =
            daemon.log().matches(&format!("\\\"{}\\\" is not", to.trim_matches('"'))).count();
        assert_eq!(said, 1, "{}", daemon.log());
    }
    daemon.stop().assert_settled();
}

#[test]
fn it_answers_while_a_sink_hangs_and_says_so() {
    let (source, admin) = (free_port(), free_port());
    let config = config(source, admin).replace(
        "path = \"{dir}/out\"",
        "path = \"{dir}/fifo\"\nqueue = { events_max = 10, wait_max = \"10ms\" }",
    );
    // The daemon finds a FIFO that somebody has open and nobody reads.
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let config = config.replace("{dir}/fifo", fifo.to_str().unwrap());
    let _reader: File = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let daemon = Daemon::start(&config, &[source, admin]);
    let lines: String = (0..100).map(|_| message("fs_read_data", &"/x".repeat(500))).collect();
    let stalled = || {
        let mut stream = connect(source);
        stream.write_all(lines.as_bytes()).unwrap();
        get(admin, "/readyz").0 == 503
    };
    daemon.wait_until("a stalled sink", stalled);
    let (_, ready) = get(admin, "/readyz");
    assert!(
        ready.starts_with("not ready\n- the sink out is stalled: its queue is full"),
        "{ready}"
    );
    let page = metrics(admin);
    let of_sink = |name: &str| page.value(name, &[("sink", "out")]);
    assert_eq!((of_sink("qatime_sink_stalled"), of_sink("qatime_sink_up")), (1.0, 0.0));
    assert!(of_sink("qatime_queue_events") >= 10.0);
    assert!(of_sink("qatime_queue_bytes") > 0.0);
    assert!(of_sink("qatime_queue_oldest_age_seconds") > 0.0);
    let lost =
        page.value("qatime_events_rejected_total", &[("sink", "out"), ("reason", "queue_full")]);
    assert!(lost > 0.0);
    assert_eq!(get(admin, "/healthz"), (200, "ok\n".to_owned()));
    let check = qatime(&["status", "--ready"], &socket_of(&daemon));
    assert_eq!((check.status.code(), stdout(&check)), (Some(1), ready));
    let shown = qatime(&["status"], &format!("tcp://localhost:{admin}"));
    assert_eq!(shown.status.code(), Some(1), "{}", stderr(&shown));
    assert!(stdout(&shown).contains("stalled") && stdout(&shown).contains("queue_full"));
    // It is still there while the daemon waits for the sink at its end.
    daemon.signal(Signal::TERM);
    daemon.wait_until("the word", || get(admin, "/readyz").1.contains("it is stopping"));
    let ended = daemon.end();
    ended.assert_balanced();
    assert_eq!(ended.status.code(), Some(1));
}

#[test]
fn who_sends_slowly_keeps_nobody_out() {
    let (source, admin) = (free_port(), free_port());
    let config = format!("admin.connections_max = 8\n{}", config(source, admin));
    let daemon = Daemon::start(&config, &[source, admin]);
    let slow = || {
        let mut stream = connect(admin);
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").unwrap();
        stream
    };
    let mut held: Vec<TcpStream> = (0..50).map(|_| slow()).collect();
    for _ in 0..20 {
        held.push(slow());
        assert_eq!(get(admin, "/readyz").0, 200);
    }
    // The first were closed to make room; the last are when their time is over.
    let asked = Instant::now();
    for mut stream in held {
        let mut answer = Vec::new();
        // The end may be a reset.
        let _ended = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    daemon.stop().assert_settled();
}

#[test]
fn a_thousand_scrapes_leave_nothing_open() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let open = || fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    metrics(admin);
    let before = open();
    let memory = daemon.memory_bytes("VmRSS");
    for _ in 0..1_000 {
        assert_eq!(get(admin, "/metrics").0, 200);
    }
    daemon.wait_until("descriptors", || open() <= before);
    let grown = daemon.memory_bytes("VmRSS").saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes");
    daemon.stop().assert_settled();
}

#[test]
fn requests_that_nobody_should_send_are_answered_with_what_there_is() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let over_tcp = |request: &str| exchange(connect(admin), request.as_bytes());
    let (code, head, body) = over_tcp("HEAD /metrics HTTP/1.1\r\nHost: q\r\n\r\n");
    assert_eq!((code, body.as_str()), (200, ""));
    assert!(head.contains("content-type: application/openmetrics-text"), "{head}");
    let (code, _, body) = over_tcp("GET / HTTP/1.0\r\n\r\n");
    assert!(code == 200 && body.contains("GET /readyz"), "{body}");
    let (code, _, body) = over_tcp("GET /metric HTTP/1.1\r\nHost: q\r\n\r\n");
    assert!(code == 404 && body.contains("there is no /metric here; there are:"), "{body}");
    let (code, head, _) =
        over_tcp("POST /status HTTP/1.1\r\nHost: q\r\nContent-Length: 3\r\n\r\nabc");
    assert!(code == 405 && head.contains("allow: get, head"), "{head}");
    let (code, _, body) = over_tcp("POST /reload HTTP/1.1\r\nHost: q\r\nContent-Length: 0\r\n\r\n");
    assert!(code == 403 && body.contains("on unix sockets only"), "{body}");
    let refused = qatime(&["reload"], &format!("tcp://127.0.0.1:{admin}"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("on unix sockets only"), "{}", stderr(&refused));
    let over_unix = UnixStream::connect(daemon.path("admin.sock")).unwrap();
    let (code, head, _) = exchange(over_unix, b"GET /reload HTTP/1.1\r\nHost: q\r\n\r\n");
    assert!(code == 405 && head.contains("allow: post"), "{head}");
    assert_eq!(over_tcp("<14>1 what is this\n\n").0, 400);
    let long = format!("GET / HTTP/1.1\r\nHost: q\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = connect(admin);
    // It may hang up before all was sent.
    let _sent = stream.write_all(long.as_bytes());
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(get(admin, "/healthz").0, 200);
    assert_eq!(metrics(admin).value("qatime_reloads_total", &[("result", "applied")]), 0.0);
    daemon.stop().assert_settled();
}

#[test]
fn the_socket_is_the_daemons_own_and_goes_with_it() {
    let (source, admin) = (free_port(), free_port());
    let config = config(source, admin).replace("{dir}/admin.sock", "{dir}/new/admin.sock");
    let daemon = Daemon::start(&config, &[source, admin]);
    let socket = daemon.path("new/admin.sock");
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode() & 0o022, 0);
    // Another daemon that wants the same place is refused, and the first does not notice.
    let other = config.replace("{dir}/new", socket.parent().unwrap().to_str().unwrap());
    let other = other.replace(&source.to_string(), &free_port().to_string());
    let (code, log) = Daemon::start(&other, &[]).refusal();
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("admin cannot be set up") && log.contains("is in use"), "{log}");
    let ready = qatime(&["status", "--ready"], &format!("unix://{}", socket.display()));
    assert_eq!(ready.status.code(), Some(0), "{}", stderr(&ready));
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(!ended.directory.path().join("new/admin.sock").exists());
}

/// The program with this directory for its sockets, and no address named. The port that it would take
/// by itself is one of the test's: daemons of other tests may have the usual one.
fn in_runtime_directory(directory: &Path, port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(arguments).env("RUNTIME_DIRECTORY", directory).env_remove("QATIME_ADMIN");
    command.env("QATIME_ADMIN_TCP", format!("127.0.0.1:{port}"));
    command.current_dir(directory.parent().unwrap());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_default_place_that_another_daemon_has_is_only_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let (runtime, port) = (directory.path().join("run"), free_port());
    let file = directory.path().join("qatime.toml");
    let text = config(free_port(), 0).replace("{dir}", directory.path().to_str().unwrap());
    let text: String =
        text.lines().filter(|line| !line.contains("admin.listen")).collect::<Vec<_>>().join("\n");
    fs::write(&file, &text).unwrap();
    let named = ["--config", file.to_str().unwrap()];
    let status = || in_runtime_directory(&runtime, port, &["status", "--ready"]).output().unwrap();
    let absent = status();
    assert_eq!(absent.status.code(), Some(1));
    assert!(stderr(&absent).contains("no daemon answers at unix://"), "{}", stderr(&absent));
    // The socket of a daemon that died is in nobody's way.
    fs::create_dir(&runtime).unwrap();
    drop(UnixListener::bind(runtime.join("admin.sock")).unwrap());
    assert_eq!(status().status.code(), Some(1));
    let run = ["run", named[0], named[1]];
    let mut first =
        in_runtime_directory(&runtime, port, &run).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while status().status.code() != Some(0) {
        assert!(started.elapsed() < DEADLINE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = directory.path().join("second.toml");
    let small = "sources.x = { type = \"stdin\" }\nsinks.s = { type = \"stdout\" }\n\
                 rules = [{ name = \"r\", sinks = \"s\" }]\n";
    fs::write(&second, small).unwrap();
    let second = second.to_str().unwrap();
    let ended =
        in_runtime_directory(&runtime, port, &["run", "--config", second]).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("no admin listener here"), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("admin.sock is in use"), "{}", stderr(&ended));
    // The first one's socket is still its own.
    assert_eq!(status().status.code(), Some(0));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_daemon_without_listener_and_an_address_that_is_none_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("qatime.toml");
    fs::write(&file, "admin.listen = []\n[[rules\n").unwrap();
    let file = file.to_str().unwrap();
    let nowhere = qatime(&["status", "--config", file], "");
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("gives the daemon no address"), "{}", stderr(&nowhere));
    fs::write(file, "admin.listen = 'tcp://127.0.0.1:9514'\n").unwrap();
    let reload = qatime(&["reload", "--config", file], "");
    assert_eq!(reload.status.code(), Some(1));
    assert!(stderr(&reload).contains("a reload needs one of unix://"), "{}", stderr(&reload));
    let wrong = qatime(&["status"], "localhost");
    assert_eq!(wrong.status.code(), Some(64));
    assert!(stderr(&wrong).contains("is not the address of a daemon"), "{}", stderr(&wrong));
    let wrong = qatime(&["status", "--admin", "http://x:1"], "");
    assert_eq!(wrong.status.code(), Some(64));
    // Something else answers there.
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
    });
    let strange = qatime(&["status"], &format!("tcp://127.0.0.1:{port}"));
    answering.join().unwrap();
    assert_eq!(strange.status.code(), Some(1));
    assert!(stderr(&strange).contains("is no daemon of qatime"), "{}", stderr(&strange));
}

#[test]
fn a_sink_that_cannot_deliver_is_named_with_its_reason_until_it_can() {
    let (source, admin) = (free_port(), free_port());
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let config = config(source, admin).replace("{dir}/out", fifo.to_str().unwrap());
    let daemon = Daemon::start(&config, &[source, admin]);
    daemon.wait_until("an outage", || status(admin)["sinks"][0]["outage"].is_object());
    let shown = status(admin);
    let outage = &shown["sinks"][0]["outage"];
    assert!(outage["cause"].as_str().unwrap().contains("no process reads the FIFO"), "{outage}");
    let reason = outage["reason"].as_str().unwrap();
    let labels = [("sink", "out"), ("reason", reason)];
    let page = metrics(admin);
    assert_eq!(page.value("qatime_sink_outage", &labels), 1.0);
    assert!(page.value("qatime_sink_failures_total", &labels) >= 1.0);
    assert_eq!(page.value("qatime_sink_up", &[("sink", "out")]), 0.0);
    // Nothing is lost yet.
    let (code, ready) = get(admin, "/readyz");
    assert!(code == 200 && ready.contains("- the sink out has been retrying since 2"), "{ready}");
    let text = stdout(&qatime(&["status"], &socket_of(&daemon)));
    assert!(text.contains(reason), "{text}");
    let _reader: File = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    daemon.wait_until("its end", || get(admin, "/readyz").1 == "ready\n");
    let page = metrics(admin);
    assert_eq!(page.value("qatime_sink_up", &[("sink", "out")]), 1.0);
    assert_eq!(page.sum("qatime_sink_outage", &labels), 0.0);
    daemon.stop().assert_settled();
}

#[test]
fn a_status_that_is_watched_shows_rates() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(["status", "--watch", "100ms", "--admin", &socket_of(&daemon)]);
    let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The first has none to compare with.
    let of_source = lines.filter(|line| line.starts_with("cluster "));
    let last: Vec<String> =
        of_source.take(2).map(|line| line.split_whitespace().last().unwrap().to_owned()).collect();
    assert_eq!(last, ["ok", "0"]);
    watching.kill().unwrap();
    watching.wait().unwrap();
    daemon.stop().assert_settled();
}

/// Holds a file so that whoever else opens it hangs, for 45 seconds at most: until this is dropped.
struct Holder(Child);

impl Holder {
    /// Takes a write lease on the file, and does not hear that it is to give it back.
    fn of(path: &Path) -> Self {
        const SCRIPT: &str = "\
import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR)
while True:
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        break
    except BlockingIOError:
        time.sleep(0.005)
print('held', flush=True)
sys.stdin.read()
";
        let mut command = Command::new(need("python3"));
        command.args(["-c", SCRIPT]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "held\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn who_watches_waits_for_no_file_that_hangs() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let file = daemon.path("qatime.toml");
    let holder = Holder::of(&file);
    let hangs = || get(admin, "/readyz").1.contains("its file system hangs");
    daemon.wait_until("the word that the file hangs", hangs);
    let threads = || fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().count();
    let before = threads();
    let asked = Instant::now();
    for _ in 0..50 {
        for page in ["/healthz", "/readyz", "/status", "/metrics"] {
            assert_eq!(get(admin, page).0, 200);
        }
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(threads() <= before + 1, "{} threads were {before}", threads());
    assert_eq!(metrics(admin).value("qatime_configuration_stale", &[]), 1.0);
    send(source, message("fs_read_data", "/a").as_bytes());
    daemon.wait_for_lines("out", 1);
    drop(holder);
    daemon.wait_until("no word any more", || get(admin, "/readyz").1 == "ready\n");
    let _holder = Holder::of(&file);
    daemon.wait_until("the word again", hangs);
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(ended.after < AT_ONCE, "it took {:?}", ended.after);
}

#[test]
fn a_rejected_line_comes_back_from_the_log_as_it_was() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let whole = message("fs_read_data", "/it's \\ \t here").replace("2026-01-27T", "2026-13-27T");
    let whole = whole.trim_end().as_bytes();
    let broken = b"<14>1 junk \"caf\xe9\"";
    send(source, &[whole, b"\n", broken, b"\n"].concat());
    let lines = |log: &str| {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["example"].is_string()).collect::<Vec<_>>()
    };
    daemon.wait_until("two lines of the log", || lines(&daemon.log()).len() == 2);
    let logged = lines(&daemon.log());
    let of = |reason: &str| logged.iter().find(|line| line["reason"] == reason).unwrap();
    let (of_whole, of_broken) = (of("bad_time"), of("not_audit"));
    assert_eq!(of_whole["example"].as_str().unwrap().as_bytes(), whole);
    assert!(of_whole.get("example_base64").is_none(), "{of_whole}");
    assert_eq!(of_broken["example"], "<14>1 junk \"caf\u{fffd}\"");
    let exact = STANDARD.decode(of_broken["example_base64"].as_str().unwrap()).unwrap();
    assert_eq!(exact, broken);
    // What was copied from the log is told by `explain` what the daemon said of it.
    let file = daemon.path("qatime.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.arg("explain").arg("--config").arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut explaining = command.spawn().unwrap();
    let line = format!("{}\n", of_whole["example"].as_str().unwrap());
    explaining.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let told = stdout(&explaining.wait_with_output().unwrap());
    assert!(told.contains("bad_time"), "{told}");
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!(ended.account("sources.cluster")["rejected"]["bad_time"], 1);
}

#[test]
fn a_health_check_may_last_and_ends_when_the_daemon_does() {
    let (source, admin) = (free_port(), free_port());
    let daemon = Daemon::start(&config(source, admin), &[source, admin]);
    let socket = socket_of(&daemon);
    // One who has just started is answered for at once.
    let asked = Instant::now();
    let check = qatime(&["status", "--ready", "--for", "1h"], &socket);
    assert_eq!((check.status.code(), stdout(&check)), (Some(0), String::new()));
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    let uptime = || status(admin)["uptime_seconds"].as_f64().unwrap();
    daemon.wait_until("an uptime", || uptime() > 2.0);
    let asked = Instant::now();
    let check = qatime(&["status", "--ready", "--for", "2s"], &socket);
    assert_eq!((check.status.code(), stdout(&check)), (Some(0), String::new()));
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    let lasting = Duration::from_secs_f64(uptime());
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.args(["status", "--ready", "--admin", &socket, "--for"]);
    command.arg(format!("{}ms", lasting.as_millis())).stderr(Stdio::piped());
    let check = command.spawn().unwrap();
    daemon.stop().assert_settled();
    assert_eq!(check.wait_with_output().unwrap().status.code(), Some(1));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let (source, admin) = (free_port(), free_port());
    let directory = tempfile::tempdir().unwrap();
    let config = config(source, admin).replace("{dir}", directory.path().to_str().unwrap());
    let file = directory.path().join("qatime.toml");
    fs::write(&file, config).unwrap();
    // A pipe that is full, so that the first word hangs.
    let (unread, mut log) = std::io::pipe().unwrap();
    log.write_all(&[b' '; 65_536]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qatime"));
    command.arg("run").arg("--config").arg(&file).stderr(log);
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    let mut daemon = command.spawn().unwrap();
    drop(command);
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", source)).is_err() {
        assert!(started.elapsed() < DEADLINE && daemon.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    let lines: String = (0..1000).map(|_| message("fs_read_data", "/a")).collect();
    send(source, format!("{lines}<14>1 junk\n").as_bytes());
    assert_eq!(get(admin, "/healthz").0, 200);
    assert_eq!(
        metrics(admin).value("qatime_events_received_total", &[("source", "cluster")]),
        1001.0
    );
    let told = Instant::now();
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    let status = daemon.wait().unwrap();
    assert!(status.success() && told.elapsed() < AT_ONCE, "{status:?} {:?}", told.elapsed());
    assert_eq!(crate::daemon::lines(&directory.path().join("out")).len(), 1000);
    drop(unread);
}

#[test]
fn what_ails_a_spool_is_said() {
    let (source, admin) = (free_port(), free_port());
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let spool = "spool = { directory = \"{dir}/spool\", segment_bytes = \"64 KiB\" }";
    let config = config(source, admin).replace("spool.directory = \"\"", spool);
    let config = config.replace("{dir}/out", "{dir}/fifo");
    let daemon = Daemon::start_in(directory, &config, &[source, admin]);
    let lines: String = (0..30).map(|_| message("fs_read_data", "/a")).collect();
    send(source, lines.as_bytes());
    let on_disk = || status(admin)["sinks"][0]["queue"]["spool"]["events"] == 30;
    daemon.wait_until("30 events on disk", on_disk);
    // The last record was not written to its end.
    let directory = daemon.kill();
    let folder = directory.path().join("spool/out");
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    // Beside the segment lies the note of what is settled.
    files.retain(|file| !file.file_name().unwrap().to_str().unwrap().starts_with("settled"));
    files.sort_by_key(|file| fs::metadata(file).unwrap().len());
    let segment = files.pop().unwrap();
    let length = fs::metadata(&segment).unwrap().len();
    OpenOptions::new().write(true).open(&segment).unwrap().set_len(length - 5).unwrap();
    let daemon = Daemon::start_in(directory, &config, &[source, admin]);
    let damaged = || get(admin, "/readyz").1.contains("the spool of the sink out was damaged");
    daemon.wait_until("the word of the damage", damaged);
    assert_eq!(get(admin, "/readyz").0, 200);
    let labels = [("sink", "out"), ("reason", "spool_damaged")];
    assert!(metrics(admin).value("qatime_events_rejected_total", &labels) >= 1.0);
    // Nothing can be written any more: somebody has taken the directory away.
    fs::remove_dir_all(daemon.path("spool")).unwrap();
    let lines: String = (0..500).map(|_| message("fs_read_data", &"/x".repeat(500))).collect();
    let refused = || {
        let mut stream = connect(source);
        stream.write_all(lines.as_bytes()).unwrap();
        get(admin, "/readyz").1.contains("- the spool of the sink out has been retrying since 2")
    };
    daemon.wait_until("the word of the outage", refused);
    let outage = status(admin)["sinks"][0]["spool_outage"]["reason"].as_str().unwrap().to_owned();
    let labels = [("sink", "out"), ("reason", outage.as_str())];
    assert_eq!(metrics(admin).value("qatime_spool_outage", &labels), 1.0);
    daemon.stop().assert_balanced();
}
