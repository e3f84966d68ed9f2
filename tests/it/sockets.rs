//! Sockets and connections from one configuration to the next: what waits in them is not lost, and
//! a reload that is refused leaves no trace.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{DEADLINE, Daemon, Ended, free_port, lines};
use crate::reload::{APPLIED, FAILED, REFUSED, Sender, message, reload, rule};

const ADMIN: &str = "grace = \"2m\"\nadmin.listen = \"unix://{dir}/admin.sock\"\n";

/// One source with these addresses, and what else there is to say.
fn source(name: &str, listen: &[String], keys: &str) -> String {
    format!("[sources.{name}]\ntype = \"syslog\"\nlisten = {listen:?}\n{keys}\n")
}

fn tcp(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

fn udp(port: u16) -> String {
    format!("udp://127.0.0.1:{port}")
}

fn unix(name: &str) -> String {
    format!("unix://{{dir}}/{name}")
}

/// A configuration with these sources, whose events all go to the file `paths`.
fn config(sources: &[String]) -> String {
    format!("{ADMIN}{}{}", sources.concat(), rule("all", "paths", ""))
}

/// Starts a daemon on sockets to which nobody can connect to find out whether it runs.
fn start_in(directory: TempDir, config: &str) -> Daemon {
    let daemon = Daemon::start_in(directory, config, &[]);
    daemon.wait_until("it runs", || daemon.log().contains("\"running\""));
    daemon
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

fn say(mut stream: impl Write, path: &str) {
    stream.write_all(message(path).as_bytes()).unwrap();
}

/// Whether the other end has closed the connection in order, and said nothing.
fn is_closed_in_order(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.read(&mut [0]).unwrap() == 0
}

fn received(ended: &Ended, source: &str) -> u64 {
    ended.account(&format!("sources.{source}"))["received"].as_u64().unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// How many datagrams the log says that the system dropped.
fn dropped(log: &str) -> u64 {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["datagrams"].as_u64()).sum()
}

/// Reads so many lines from a pipe, each once.
fn read_lines(mut pipe: fs::File, count: usize) -> Vec<String> {
    let started = Instant::now();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    let mut seen = 0;
    while seen < count && started.elapsed() < DEADLINE {
        match pipe.read(&mut piece) {
            Ok(length) => {
                seen += piece[..length].iter().filter(|byte| **byte == b'\n').count();
                bytes.extend_from_slice(&piece[..length]);
            }
            Err(_empty) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

/// A datagram socket holds what its workers have no time for: they wait for a sink that writes to
/// a pipe that nobody reads. Then a reload takes its address away.
fn datagrams_of_an_address_that_leaves(after: impl Fn(u16) -> String) {
    const SENT: usize = 20_000;
    let (port, other) = (free_port(), free_port());
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("paths");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut pipe = fs::File::options();
    pipe.read(true).write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let pipe = pipe.open(&path).unwrap();
    let full = rule("all", "paths", "events_max = 100");
    let buffer = "udp_buffer_bytes = \"64 MiB\"";
    let listen = [udp(port), tcp(other)];
    let daemon =
        start_in(directory, &format!("{ADMIN}{}{full}", source("cluster", &listen, buffer)));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..SENT {
        let datagram = message(&format!("/{number}/{}", "x".repeat(200)));
        client.send_to(datagram.as_bytes(), ("127.0.0.1", port)).unwrap();
    }
    reload(&daemon, &format!("{ADMIN}{}{full}", after(other)), APPLIED);
    let free = || UdpSocket::bind(("127.0.0.1", port)).is_ok();
    daemon.wait_until("the address is free, although the sink is full", free);
    let read = std::thread::spawn(move || read_lines(pipe, SENT));
    let read = read.join().unwrap();
    let seen: BTreeSet<&String> = read.iter().collect();
    assert_eq!(seen.len(), read.len(), "none comes twice");
    let ended = daemon.stop();
    let known = seen.len() as u64 + dropped(&ended.log);
    assert_eq!(known, SENT as u64, "{} were read\n{}", seen.len(), ended.log);
    ended.assert_settled();
    assert_eq!(received(&ended, "cluster"), seen.len() as u64);
}

#[test]
fn datagrams_that_wait_are_read_where_a_source_loses_an_address() {
    datagrams_of_an_address_that_leaves(|other| source("cluster", &[tcp(other)], ""));
}

#[test]
fn datagrams_that_wait_are_read_where_a_source_goes() {
    datagrams_of_an_address_that_leaves(|other| source("other", &[tcp(other)], ""));
}

#[test]
fn who_waits_to_be_accepted_is_served_at_the_end_although_no_descriptor_is_left() {
    const WAITING: usize = 20;
    let port = free_port();
    let daemon = Daemon::start(&config(&[source("cluster", &[tcp(port)], "")]), &[port]);
    limit_descriptors(&daemon, descriptors(&daemon) + 20);
    let idle: Vec<_> = (0..40).map(|_| connect(port)).collect();
    daemon.wait_until("no descriptor is left", || daemon.log().contains("cannot accept"));
    let waiting: Vec<_> = (0..WAITING).map(|_| connect(port)).collect();
    for (number, stream) in waiting.iter().enumerate() {
        say(stream, &format!("/{number}"));
    }
    let ended = daemon.stop();
    ended.assert_settled();
    let seen: BTreeSet<_> = lines(&ended.directory.path().join("paths")).into_iter().collect();
    assert_eq!(seen.len(), WAITING, "{seen:?}\n{}", ended.log);
    drop(idle);
}

/// How many descriptors a daemon has open.
fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

fn limit_descriptors(daemon: &Daemon, count: usize) {
    let limit = Some(count as u64);
    let pid = Pid::from_raw(daemon.pid().try_into().unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
}

/// The names of all files in the daemon's directory.
fn names(daemon: &Daemon) -> BTreeSet<String> {
    let entries = fs::read_dir(daemon.path("")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_refused_reload_leaves_no_trace_on_sockets() {
    let port = free_port();
    let directory = TempDir::new().unwrap();
    // A process that died has left its socket's file.
    let stale = directory.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let inode = stale.metadata().unwrap().ino();
    let one = |listen: &[String], keys| source("cluster", listen, keys);
    let live = [unix("live.sock")];
    let daemon = start_in(directory, &config(&[one(&live, "socket_mode = 0o600")]));
    let live = daemon.path("live.sock");
    assert_eq!(mode(&live), 0o600);
    let stream = UnixStream::connect(&live).unwrap();
    let dgram = "unix-dgram://{dir}/new.sock".to_owned();
    let next = [unix("live.sock"), unix("stale.sock"), dgram, tcp(port)];
    let next = config(&[one(&next, "socket_mode = 0o666\nudp_buffer_bytes = 4096")]);
    let before = names(&daemon);
    let broken = next.replace("{dir}/paths", "{dir}/no/such/directory/paths");
    for _ in 0..3 {
        reload(&daemon, &broken, FAILED);
        assert_eq!(mode(&live), 0o600);
        assert_eq!(names(&daemon), before);
        assert_eq!(stale.metadata().unwrap().ino(), inode);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
    say(&stream, "/after");
    daemon.wait_for_lines("paths", 1);
    // The same can be had where nothing is wrong with it.
    reload(&daemon, &next, APPLIED);
    daemon.wait_until("the permissions change", || mode(&live) == 0o666);
    say(&stream, "/kept");
    say(&UnixStream::connect(&live).unwrap(), "/again");
    say(&UnixStream::connect(&stale).unwrap(), "/stale");
    say(&connect(port), "/tcp");
    let client = UnixDatagram::unbound().unwrap();
    client.send_to(message("/datagram").as_bytes(), daemon.path("new.sock")).unwrap();
    daemon.wait_for_lines("paths", 6);
    let ended = daemon.stop();
    ended.assert_settled();
    for name in ["live.sock", "stale.sock", "new.sock"] {
        assert!(!ended.directory.path().join(name).exists(), "{name} is removed");
    }
}

#[test]
fn a_reload_for_which_no_descriptors_are_left_changes_nothing() {
    let port = free_port();
    let daemon = Daemon::start(&config(&[source("cluster", &[tcp(port)], "")]), &[port]);
    let stream = connect(port);
    say(&stream, "/one");
    daemon.wait_for_lines("paths", 1);
    let (before, files) = (descriptors(&daemon), names(&daemon));
    limit_descriptors(&daemon, before + 40);
    let many: Vec<_> = (0..40).map(|number| unix(&format!("{number}.sock"))).collect();
    let many = [vec![tcp(port)], many].concat();
    let said = reload(&daemon, &config(&[source("cluster", &many, "")]), FAILED);
    assert!(said.contains("Too many open files") || said.contains("os error 24"), "{said}");
    say(&stream, "/two");
    daemon.wait_for_lines("paths", 2);
    daemon.wait_until("all is closed", || descriptors(&daemon) <= before);
    assert_eq!(names(&daemon), files);
    daemon.stop().assert_settled();
}

#[test]
fn an_address_that_covers_another_takes_its_place_and_nothing_is_lost_between() {
    let port = free_port();
    let listen = |ip: &str| {
        let listen = [format!("tcp://{ip}:{port}"), format!("udp://{ip}:{port}")];
        config(&[source("cluster", &listen, "udp_buffer_bytes = \"16 MiB\"")])
    };
    let daemon = Daemon::start(&listen("127.0.0.1"), &[port]);
    let stream = Sender::start(port, 0);
    let stop = Arc::new(AtomicBool::new(false));
    let datagrams = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let datagram = message(&format!("/udp/{sent}"));
                client.send_to(datagram.as_bytes(), ("127.0.0.1", port)).unwrap();
                sent += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            sent
        })
    };
    let mut connections = 0;
    for _ in 0..3 {
        for ip in ["0.0.0.0", "[::]", "0.0.0.0", "127.0.0.1", "[::]", "127.0.0.1"] {
            reload(&daemon, &listen(ip), APPLIED);
            say(&connect(port), &format!("/connection/{connections}"));
            connections += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (datagrams, stream) = (datagrams.join().unwrap(), stream.finish());
    let total = datagrams + stream + connections;
    daemon.wait_for_lines("paths", total);
    let ended = daemon.stop();
    ended.assert_settled();
    let seen: BTreeSet<_> = lines(&ended.directory.path().join("paths")).into_iter().collect();
    assert_eq!(seen.len(), total);
    assert_eq!(received(&ended, "cluster"), total as u64);
}

#[test]
fn a_source_under_another_name_goes_on_with_its_connections() {
    let port = free_port();
    let named = |name| config(&[source(name, &[tcp(port), unix("s")], "")]);
    let daemon = Daemon::start(&named("one"), &[port]);
    let mut stream = connect(port);
    let local = UnixStream::connect(daemon.path("s")).unwrap();
    say(&stream, "/one");
    say(&local, "/local");
    daemon.wait_for_lines("paths", 2);
    // A message that is half there goes along.
    let half = message("/half");
    let (begin, end) = half.split_at(half.len() / 2);
    stream.write_all(begin.as_bytes()).unwrap();
    reload(&daemon, &named("two"), APPLIED);
    stream.write_all(end.as_bytes()).unwrap();
    say(&local, "/local/two");
    say(&connect(port), "/new");
    daemon.wait_for_lines("paths", 5);
    // Once more, with other settings as well: they hold for who is connected.
    let keys = "frame_bytes_max = 200\nconnections_max = 1";
    reload(&daemon, &config(&[source("three", &[tcp(port), unix("s")], keys)]), APPLIED);
    stream.write_all(message(&"x".repeat(300)).as_bytes()).unwrap();
    say(&stream, "/three");
    say(&local, "/local/three");
    daemon.wait_for_lines("paths", 7);
    let ended = daemon.stop();
    ended.assert_settled();
    assert!(is_closed_in_order(&mut stream));
    let counts = ["one", "two", "three"].map(|name| received(&ended, name));
    assert_eq!(counts, [2, 3, 3]);
    assert_eq!(ended.account("sources.three")["rejected"]["frame_too_long"], 1);
}

#[test]
fn sources_swap_their_addresses_and_connections_go_along() {
    let (first, second) = (free_port(), free_port());
    let sources = |one, two| {
        config(&[source("one", &[tcp(one)], ""), source("two", &[tcp(two), udp(two)], "")])
    };
    let daemon = Daemon::start(&sources(first, second), &[first, second]);
    let streams = [connect(first), connect(second)];
    say(&streams[0], "/first");
    (0..2).for_each(|number| say(&streams[1], &format!("/second/{number}")));
    daemon.wait_for_lines("paths", 3);
    reload(&daemon, &sources(second, first), APPLIED);
    (0..10).for_each(|number| say(&streams[0], &format!("/first/after/{number}")));
    (0..20).for_each(|number| say(&streams[1], &format!("/second/after/{number}")));
    daemon.wait_for_lines("paths", 33);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!((received(&ended, "one"), received(&ended, "two")), (21, 12));
}

#[test]
fn a_source_is_split_and_what_leaves_is_read_to_its_end() {
    let ports = [free_port(), free_port(), free_port()];
    let whole = ports.map(tcp);
    let daemon = Daemon::start(&config(&[source("one", &whole, "")]), &ports);
    let mut streams = ports.map(connect);
    streams.iter().for_each(|stream| say(stream, "/before"));
    daemon.wait_for_lines("paths", 3);
    streams[2].write_all(message("/unfinished").trim_end().as_bytes()).unwrap();
    let split = [source("one", &whole[..1], ""), source("two", &whole[1..2], "")];
    reload(&daemon, &config(&split), APPLIED);
    // The third address is in neither.
    assert!(is_closed_in_order(&mut streams[2]));
    assert_eq!(daemon.wait_for_lines("paths", 4)[3], "/unfinished");
    daemon
        .wait_until("the port is closed", || TcpStream::connect(("127.0.0.1", ports[2])).is_err());
    streams[..2].iter().for_each(|stream| say(stream, "/after"));
    daemon.wait_for_lines("paths", 6);
    // It comes back as soon as it is wanted again.
    reload(&daemon, &config(&[source("one", &whole, "")]), APPLIED);
    streams[..2].iter().for_each(|stream| say(stream, "/again"));
    say(&connect(ports[2]), "/again");
    daemon.wait_for_lines("paths", 9);
    let ended = daemon.stop();
    ended.assert_settled();
    assert_eq!((received(&ended, "one"), received(&ended, "two")), (8, 1));
}

#[test]
fn an_address_that_two_ask_for_is_refused_with_its_place() {
    let port = free_port();
    let daemon = Daemon::start(&config(&[source("one", &[tcp(port)], "")]), &[port]);
    for sources in [
        vec![source("one", &[tcp(port), tcp(port)], "")],
        vec![source("one", &[tcp(port)], ""), source("two", &[tcp(port)], "")],
        vec![source("one", &[tcp(port), format!("tcp://[::ffff:127.0.0.1]:{port}")], "")],
    ] {
        let said = reload(&daemon, &config(&sources), REFUSED);
        assert!(said.contains("is taken by") && said.contains("qatime.toml"), "{said}");
    }
    // Each takes a free port.
    let free = ["tcp://127.0.0.1:0".to_owned(), "tcp://127.0.0.1:0".to_owned(), tcp(port)];
    reload(&daemon, &config(&[source("one", &free, "")]), APPLIED);
    say(&connect(port), "/one");
    daemon.wait_for_lines("paths", 1);
    daemon.stop().assert_settled();
}

/// A connection from another address of this machine.
fn connect_from(address: [u8; 4], port: u16) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((address, 0))).unwrap();
    rustix::net::connect(&socket, &SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    socket.into()
}

#[test]
fn who_is_none_of_the_senders_is_refused_before_anything_is_read() {
    let (stream, datagram) = (free_port(), free_port());
    let listen = [tcp(stream), udp(datagram), unix("s")];
    let senders = "senders = [\"127.0.0.2\", \"127.9.0.0/16\"]";
    let text = config(&[source("in", &listen, senders)]);
    let daemon = start_in(tempfile::tempdir().unwrap(), &text);
    let mut refused = connect(stream);
    // It may be reset before the write.
    let _reset = refused.write_all(message("/stranger").as_bytes());
    let end = refused.read(&mut [0; 1]);
    assert!(matches!(end, Err(_) | Ok(0)), "{end:?}");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let member = UdpSocket::bind("127.9.8.7:0").unwrap();
    for number in 0..50 {
        for (socket, name) in [(&stranger, "stranger"), (&member, "member")] {
            let line = message(&format!("/{name}-{number}"));
            socket.send_to(line.as_bytes(), ("127.0.0.1", datagram)).unwrap();
        }
    }
    say(connect_from([127, 0, 0, 2], stream), "/tcp");
    say(UnixStream::connect(daemon.path("s")).unwrap(), "/unix");
    let paths = daemon.wait_for_lines("paths", 52);
    assert!(paths.iter().all(|path| !path.contains("stranger")), "{paths:?}");
    // Over a reload, too; who is let in by it may send at once.
    let wider = text.replace("127.0.0.2", "127.0.0.1");
    reload(&daemon, &wider, APPLIED);
    say(connect(stream), "/tcp-now");
    daemon.wait_for_lines("paths", 53);
    let ended = daemon.stop();
    ended.assert_balanced();
    let account = ended.account("sources.in");
    assert_eq!(account["rejected"]["other_sender"], 50, "{account}");
    assert!(ended.log.contains("connection refused: its address is none of senders"));
    assert_eq!(lines(&ended.directory.path().join("paths")).len(), 53);
}

#[test]
fn senders_that_say_nothing_are_told_at_load() {
    let port = free_port();
    for (listen, senders, words) in [
        (tcp(port), "senders = []", "senders"),
        (tcp(port), "senders = \"10.0.0.5/8\"", "10.0.0.0/8"),
        (tcp(port), "senders = \"tank-1\"", "no address such as"),
        (unix("s"), "senders = \"10.0.0.0/8\"", "socket_mode"),
    ] {
        let text = config(&[source("in", &[listen], senders)]);
        let (code, log) = Daemon::start(&text, &[]).refusal();
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains(words), "{senders}: {log}");
    }
}
