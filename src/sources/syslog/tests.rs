//! The syslog source on real sockets.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::event::{FrameEnd, Reason};
use crate::sources::harness::{Harness, payloads, until};

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

/// A source whose configuration is the only one from now on.
fn begin(sockets: &Sockets, name: &str, text: &str) -> Syslog {
    let mut preparation = sockets.prepare();
    let source = config(text).prepare(name, &mut preparation).unwrap();
    sockets.commit(preparation).unwrap().run();
    source
}

/// A source that listens on a free TCP port, and its address.
fn tcp(options: &str) -> (Syslog, SocketAddr) {
    let source = config(&format!("listen = \"tcp://127.0.0.1:0\"\n{options}"));
    let source = source.bind("tested").unwrap();
    let ListenAddress::Tcp(address) = source.addresses()[0] else { panic!("TCP was asked for") };
    (source, address)
}

fn run(source: Syslog) -> Harness {
    Harness::run(Box::new(source))
}

fn reset_on_close(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

/// Waits until the other end has closed the connection, in order or not.
async fn closed(mut stream: TcpStream) {
    let read = move || stream.read(&mut [0]).is_ok_and(|bytes| bytes > 0);
    assert!(!tokio::task::spawn_blocking(read).await.unwrap(), "the daemon never writes");
}

#[tokio::test]
async fn both_framings_come_through_tcp() {
    let (source, address) = tcp("");
    let mut harness = run(source);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"<14>one\n7 <14>two\n\n<14>three\r\n<14>four").unwrap();
    drop(client);
    let mut frames = harness.frames(3).await;
    while frames.len() < 4 {
        frames.extend(harness.frames(1).await);
    }
    assert_eq!(payloads(&frames), ["<14>one", "<14>two", "<14>three", "<14>four"]);
    let ends: Vec<_> = frames.iter().map(|seen| seen.end).collect();
    let (delimited, counted) = (FrameEnd::Delimited, FrameEnd::Counted);
    assert_eq!(ends, [delimited, counted, delimited, FrameEnd::Unterminated]);
    let (rest, report) = harness.stop().await;
    assert_eq!((rest.len(), report.received, report.rejected.total()), (0, 4, 0));
    assert_eq!(report.bytes, 7 + 7 + 9 + 8);
}

#[tokio::test]
async fn a_sender_that_writes_byte_by_byte_is_understood() {
    let (source, address) = tcp("");
    let mut harness = run(source);
    let sender = tokio::task::spawn_blocking(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_nodelay(true).unwrap();
        for byte in b"<14>slow\n10 <14>slower<14>slowest\n" {
            client.write_all(&[*byte]).unwrap();
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(harness.frames(1).await);
    }
    sender.await.unwrap();
    assert_eq!(payloads(&seen), ["<14>slow", "<14>slower", "<14>slowest"]);
    harness.stop().await;
}

#[tokio::test]
async fn a_large_stream_comes_whole_and_in_order() {
    let (source, address) = tcp("");
    let mut harness = run(source);
    let sender = tokio::task::spawn_blocking(move || {
        let lines: Vec<u8> =
            (0..50_000).flat_map(|number| format!("<14>line {number}\n").into_bytes()).collect();
        TcpStream::connect(address).unwrap().write_all(&lines).unwrap();
    });
    let mut count = 0;
    while count < 50_000 {
        for seen in harness.frames(1).await {
            assert_eq!(seen.payload, format!("<14>line {count}"));
            count += 1;
        }
    }
    sender.await.unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn frames_that_break_off_are_rejected_as_truncated() {
    let (source, address) = tcp("");
    let connections = Arc::clone(&source.state.connections);
    let mut harness = run(source);
    // A reset within a line.
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"<14>whole\n<14>1 half").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>whole"]);
    reset_on_close(&client);
    drop(client);
    harness.rejected(Reason::Truncated, 1).await;
    // An orderly end within a counted message.
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"90 <14>1 half").unwrap();
    drop(client);
    harness.rejected(Reason::Truncated, 2).await;
    until(|| connections.open() == 0).await;
    let (rest, report) = harness.stop().await;
    assert_eq!((rest.len(), report.received), (0, 3));
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_open() {
    let (source, address) = tcp("connections_max = 2");
    let connections = Arc::clone(&source.state.connections);
    let mut harness = run(source);
    let mut first = TcpStream::connect(address).unwrap();
    let mut second = TcpStream::connect(address).unwrap();
    first.write_all(b"<14>first\n").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>first"]);
    until(|| connections.open() == 2).await;
    closed(TcpStream::connect(address).unwrap()).await;
    assert_eq!((connections.refused(), connections.open()), (1, 2));
    // Those that are open are not disturbed, and a free place is taken again.
    second.write_all(b"<14>second\n").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>second"]);
    drop(first);
    until(|| connections.open() == 1).await;
    TcpStream::connect(address).unwrap().write_all(b"<14>third\n").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>third"]);
    harness.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (source, address) = tcp("idle_timeout = \"20ms\"");
    let harness = run(source);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"<14>half").unwrap();
    closed(client).await;
    harness.rejected(Reason::Truncated, 1).await;
    harness.stop().await;
}

#[tokio::test]
async fn a_connection_that_wants_too_much_memory_is_closed_alone() {
    let (source, address) = tcp("frames_pending_bytes_max = \"160 KiB\"");
    let state = Arc::clone(&source.state);
    let mut harness = run(source);
    let mut modest = TcpStream::connect(address).unwrap();
    modest.write_all(b"<14>modest").unwrap();
    until(|| state.budget.used_bytes() > 0).await;
    let mut greedy = TcpStream::connect(address).unwrap();
    // The answer may come before all is written.
    drop(greedy.write_all(&[b'x'; 512 << 10]));
    harness.rejected(Reason::BufferFull, 1).await;
    closed(greedy).await;
    until(|| state.budget.used_bytes() < 1024).await;
    modest.write_all(b" and well\n").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>modest and well"]);
    until(|| state.budget.used_bytes() == 0).await;
    harness.stop().await;
}

#[tokio::test]
async fn two_thousand_idle_connections_hold_little() {
    const CONNECTIONS: usize = 2000;
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let (source, address) = tcp("connections_max = 2000\nframes_pending_bytes_max = \"1 MiB\"");
    let state = Arc::clone(&source.state);
    let mut harness = run(source);
    let opened = tokio::task::spawn_blocking(move || {
        let open = |number| {
            let mut client = TcpStream::connect(address).unwrap();
            write!(client, "<14>1 - tank-1 qumulo - - - {number:100}").unwrap();
            client
        };
        (0..CONNECTIONS).map(open).collect::<Vec<_>>()
    });
    let clients = opened.await.unwrap();
    let sent_bytes = CONNECTIONS * (b"<14>1 - tank-1 qumulo - - - ".len() + 100);
    until(|| state.budget.used_bytes() >= sent_bytes).await;
    assert!(state.budget.used_bytes() <= 2 * sent_bytes, "{}", state.budget.used_bytes());
    // All of them can still finish what they began.
    let finish = |clients: Vec<TcpStream>| {
        clients.iter().for_each(|mut client| client.write_all(b"!\n").unwrap())
    };
    let finished = tokio::task::spawn_blocking(move || finish(clients));
    let mut seen = BTreeSet::new();
    while seen.len() < CONNECTIONS {
        seen.extend(harness.frames(1).await.into_iter().map(|seen| seen.payload));
    }
    finished.await.unwrap();
    let (_, report) = harness.stop().await;
    assert_eq!((report.received, report.rejected.total()), (CONNECTIONS as u64, 0));
    assert_eq!(state.budget.used_bytes(), 0);
}

#[tokio::test]
async fn udp_datagrams_are_one_message_each() {
    let source = config("listen = \"udp://127.0.0.1:0\"\nframe_bytes_max = 100").bind("tested");
    let source = source.unwrap();
    let ListenAddress::Udp(address) = source.addresses()[0] else { panic!("UDP was asked for") };
    let harness = run(source);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..100 {
        client.send_to(format!("<14>{number}\n\0").as_bytes(), address).unwrap();
    }
    for ignored in [&b""[..], b"\n"] {
        client.send_to(ignored, address).unwrap();
    }
    client.send_to(&[b'x'; 60_000], address).unwrap();
    harness.rejected(Reason::FrameTooLong, 1).await;
    let (rest, report) = harness.stop().await;
    let expected: Vec<_> = (0..100).map(|number| format!("<14>{number}")).collect();
    assert_eq!(payloads(&rest), expected);
    assert!(rest.iter().all(|seen| seen.end == FrameEnd::Datagram));
    assert_eq!((report.received, report.rejected.total()), (101, 1));
    assert!(report.bytes > 60_000, "the whole length counts, not what fitted: {}", report.bytes);
}

#[tokio::test]
async fn what_arrived_before_the_order_to_stop_is_read() {
    let (source, address) = tcp("");
    let mut client = TcpStream::connect(address).unwrap();
    let lines: String = (0..2000).map(|number| format!("<14>{number}\n")).collect();
    client.write_all(lines.as_bytes()).unwrap();
    client.write_all(b"<14>rest").unwrap();
    let mut broken = TcpStream::connect(address).unwrap();
    broken.write_all(b"50 <14>broken").unwrap();
    let (seen, report) = Harness::run_stopped(Box::new(source)).end().await;
    assert_eq!(seen.len(), 2001);
    assert_eq!(
        (seen[1999].payload.as_str(), seen[2000].payload.as_str()),
        ("<14>1999", "<14>rest")
    );
    assert_eq!(report.rejected.of(Reason::Truncated), 1);
    closed(client).await;
}

#[tokio::test]
async fn datagrams_that_arrived_before_the_order_to_stop_are_read() {
    let source = config("listen = \"udp://127.0.0.1:0\"").bind("tested").unwrap();
    let ListenAddress::Udp(address) = source.addresses()[0] else { panic!("UDP was asked for") };
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..50 {
        client.send_to(format!("<14>{number}").as_bytes(), address).unwrap();
    }
    let (seen, _) = Harness::run_stopped(Box::new(source)).end().await;
    assert_eq!(seen.len(), 50);
}

#[tokio::test]
async fn sockets_outlive_the_source_that_bound_them() {
    let sockets = Sockets::default();
    let old = begin(&sockets, "old", "listen = \"tcp://127.0.0.1:0\"");
    let ListenAddress::Tcp(address) = old.addresses()[0] else { panic!("TCP was asked for") };
    let new = begin(&sockets, "new", "listen = \"tcp://127.0.0.1:0\"");
    run(old).stop().await;
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"<14>again\n").unwrap();
    let mut harness = run(new);
    assert_eq!(harness.payloads(1).await, ["<14>again"]);
    harness.stop().await;
}

#[tokio::test]
async fn datagrams_that_the_system_dropped_are_counted() {
    const SENT: u64 = 500;
    let source = config("listen = \"udp://127.0.0.1:0\"\nudp_buffer_bytes = 1024").bind("tested");
    let source = source.unwrap();
    let ListenAddress::Udp(address) = source.addresses()[0] else { panic!("UDP was asked for") };
    let connections = Arc::clone(&source.state.connections);
    let mut harness = run(source);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"<14>running", address).unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>running"]);
    // The source's task has no turn before the next await, and the buffer takes but a few.
    for _ in 0..SENT {
        client.send_to(&[b'x'; 1000], address).unwrap();
    }
    let (rest, _) = harness.stop().await;
    assert!(connections.datagrams_dropped() > 0);
    assert_eq!(rest.len() as u64 + connections.datagrams_dropped(), SENT);
}

/// A source on sockets of both kinds in a directory.
fn unix(directory: &Path, options: &str) -> Result<Syslog, BuildError> {
    let directory = directory.display();
    let listen = format!("listen = [\"unix://{directory}/s\", \"unix-dgram://{directory}/d\"]");
    config(&format!("{listen}\n{options}")).bind("tested")
}

#[tokio::test]
async fn sockets_in_the_file_system_take_streams_and_datagrams() {
    let directory = tempfile::tempdir().unwrap();
    let (stream, datagram) = (directory.path().join("s"), directory.path().join("d"));
    // Left behind by processes that are gone.
    drop((UnixListener::bind(&stream).unwrap(), UnixDatagram::bind(&datagram).unwrap()));
    let source = unix(directory.path(), "socket_mode = 0o622").unwrap();
    for path in [&stream, &datagram] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o622, "{}", path.display());
    }
    let mut harness = run(source);
    UnixStream::connect(&stream).unwrap().write_all(b"<14>stream\n").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>stream"]);
    let client = UnixDatagram::unbound().unwrap();
    let long = "x".repeat(100_000);
    for message in ["<14>datagram", &long] {
        client.send_to(message.as_bytes(), &datagram).unwrap();
        assert_eq!(harness.payloads(1).await, [message]);
    }
    harness.stop().await;
    assert!(!stream.exists() && !datagram.exists(), "the sockets' files are removed");
}

#[test]
fn an_address_that_cannot_be_had_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let text = |result: Result<Syslog, BuildError>| result.unwrap_err().to_string();
    let other_port = |text: String, address: &dyn std::fmt::Display| {
        let expected = format!(
            "sources.tested: address {address} is in use; stop the other daemon or choose another"
        );
        assert!(text.starts_with(&expected), "{text}");
    };
    let (_holder, taken) = tcp("");
    let again = config(&format!("listen = \"tcp://{taken}\"")).bind("tested");
    other_port(text(again), &format_args!("tcp://{taken}"));
    let _holder = UnixListener::bind(directory.path().join("s")).unwrap();
    let path = directory.path().join("s");
    other_port(text(unix(directory.path(), "")), &format_args!("unix://{}", path.display()));
    assert!(path.exists(), "a socket in use is left alone");

    std::fs::write(directory.path().join("file"), "precious").unwrap();
    for (listen, part) in [
        (format!("unix://{}/file", directory.path().display()), "exists and is not a socket"),
        (format!("unix://{}/no/s", directory.path().display()), "create it or choose another"),
        ("tcp://192.0.2.1:0".to_owned(), "is not an address of this machine"),
    ] {
        let text = text(config(&format!("listen = \"{listen}\"")).bind("tested"));
        assert!(text.contains(part), "{text}");
    }
    let empty = toml::from_str::<Config>("listen = []").unwrap_err().to_string();
    assert!(empty.contains("name one at least"), "{empty}");
}

#[test]
fn the_configuration_refuses_what_cannot_work() {
    for (key, part) in [
        ("frame_bytes_max = 10", "from 64 B to 1 GiB"),
        ("frame_bytes_max = \"2 GiB\"", "from 64 B to 1 GiB"),
        ("connections_max = 0", "from 1 to 1000000"),
        ("socket_mode = 660", "in octal"),
        ("port = 514", "unknown field `port`"),
        ("idle_timeout = 5", "expected"),
    ] {
        let text = format!("listen = 'udp://127.0.0.1:0'\n{key}");
        let error = toml::from_str::<Config>(&text).unwrap_err();
        assert!(error.to_string().contains(part), "{key}: {error}");
        assert!(error.to_string().contains("line 2"), "{key}: {error}");
    }
    let defaults = config("listen = \"udp://127.0.0.1:0\"");
    assert_eq!(defaults.frame_bytes_max.bytes(), 1 << 20);
    assert_eq!((defaults.connections_max.get(), defaults.socket_mode), (1024, None));
}

/// A source on a stream socket, a datagram socket and ports in and beside a directory.
fn listen(addresses: &[String], options: &str) -> String {
    format!("listen = {addresses:?}\n{options}")
}

#[tokio::test]
async fn who_waits_at_an_address_that_leaves_is_served_and_the_rest_goes_over() {
    let sockets = Sockets::default();
    let two = "listen = [\"tcp://127.0.0.1:0\", \"tcp://127.0.0.1:0\", \"udp://127.0.0.1:0\"]";
    let old = begin(&sockets, "old", two);
    let [ListenAddress::Tcp(stays), ListenAddress::Tcp(leaves), ListenAddress::Udp(udp)] =
        old.addresses()[..]
    else {
        panic!("{:?}", old.addresses())
    };
    // All of it waits in the system's queues: nobody runs.
    let clients = [stays, leaves].map(|address| TcpStream::connect(address).unwrap());
    for (client, text) in clients.iter().zip(["<14>stays", "<14>leaves"]) {
        let mut client = client;
        client.write_all(text.as_bytes()).unwrap();
    }
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..50 {
        datagrams.send_to(format!("<14>{number}").as_bytes(), udp).unwrap();
    }
    let new = begin(&sockets, "new", &format!("listen = \"tcp://{stays}\""));
    let (seen, report) = Harness::run_retired(Box::new(old)).end().await;
    let mut seen = payloads(&seen);
    seen.sort_unstable();
    let mut expected: Vec<_> = (0..50).map(|number| format!("<14>{number}")).collect();
    expected.push("<14>leaves".to_owned());
    expected.sort_unstable();
    assert_eq!((seen, report.received), (expected.iter().map(String::as_str).collect(), 51));
    let mut harness = run(new);
    let mut client = &clients[0];
    client.write_all(b" and goes on\n").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>stays and goes on"]);
    harness.stop().await;
}

#[tokio::test]
async fn connections_find_their_source_through_several_reloads() {
    let sockets = Sockets::default();
    let first = begin(&sockets, "one", "listen = \"tcp://127.0.0.1:0\"");
    let address = first.addresses()[0].clone();
    let ListenAddress::Tcp(at) = address else { panic!("TCP was asked for") };
    let first_state = Arc::clone(&first.state);
    let mut harness = run(first);
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(b"<14>one\n<14>tw").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>one"]);
    let second = begin(&sockets, "two", &format!("listen = \"tcp://{at}\""));
    let third = begin(&sockets, "three", &format!("listen = \"tcp://0.0.0.0:{}\"", at.port()));
    // The second gives what it gets to the third at once, whether it comes early or late.
    let (second, old) = (Harness::run_retired(Box::new(second)), harness.retire());
    let third_state = Arc::clone(&third.state);
    let mut harness = run(third);
    client.write_all(b"o\n").unwrap();
    assert_eq!(harness.payloads(1).await, ["<14>two"]);
    assert_eq!((first_state.connections.open(), third_state.connections.open()), (0, 1));
    old.await.unwrap();
    assert_eq!(second.end().await.1.received, 0);
    harness.stop().await;
    closed(client).await;
}

#[test]
fn a_preparation_that_is_dropped_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let unix = |name: &str| format!("unix://{}", path(name).display());
    let sockets = Sockets::default();
    let live = [unix("live"), "udp://127.0.0.1:0".to_owned()];
    let source = begin(&sockets, "one", &listen(&live, "udp_buffer_bytes = 65536"));
    let udp = &source.sockets[1].listener;
    let buffer = || rustix::net::sockopt::socket_recv_buffer_size(udp).unwrap();
    let (before, mode) = (buffer(), path("live").metadata().unwrap().permissions().mode());
    drop(UnixListener::bind(path("stale")).unwrap());
    let inode = std::os::unix::fs::MetadataExt::ino(&path("stale").metadata().unwrap());
    let next = [live[0].clone(), live[1].clone(), unix("stale"), unix("new")];
    let next = config(&listen(&next, "udp_buffer_bytes = 131072\nsocket_mode = 0o606"));
    let mut preparation = sockets.prepare();
    let built = next.prepare("one", &mut preparation).unwrap();
    assert!(path("new").exists());
    // Nobody gets in before it has taken effect.
    assert!(UnixStream::connect(path("new")).is_err());
    drop((built, preparation));
    let after = std::os::unix::fs::MetadataExt::ino(&path("stale").metadata().unwrap());
    assert_eq!((buffer(), inode), (before, after));
    assert_eq!(path("live").metadata().unwrap().permissions().mode(), mode);
    let names = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names, 2, "live and stale");
    // The same takes effect where it is committed.
    let mut preparation = sockets.prepare();
    let _built = next.prepare("one", &mut preparation).unwrap();
    let overtaken = sockets.prepare();
    sockets.commit(preparation).unwrap().run();
    assert!(buffer() > before);
    assert_eq!(path("live").metadata().unwrap().permissions().mode() & 0o777, 0o606);
    assert!(UnixStream::connect(path("stale")).is_ok() && UnixStream::connect(path("new")).is_ok());
    // One that began before knows that it is late.
    let error = sockets.commit(overtaken).unwrap_err().0.to_string();
    assert!(error.contains("reload again"), "{error}");
}

#[test]
fn a_path_is_one_address_by_whatever_name_and_comes_back_where_it_was_removed() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().join("here");
    std::fs::create_dir(&here).unwrap();
    std::os::unix::fs::symlink(&here, directory.path().join("there")).unwrap();
    let unix = |way: &str| format!("unix://{}/{way}/s", directory.path().display());
    let sockets = Sockets::default();
    let one = begin(&sockets, "one", &listen(&[unix("here")], ""));
    let mut preparation = sockets.prepare();
    let twice = config(&listen(&[unix("here"), unix("there")], ""));
    let error = twice.prepare("one", &mut preparation).unwrap_err().to_string();
    assert!(error.contains("named twice"), "{error}");
    let mut preparation = sockets.prepare();
    let datagrams = unix("there").replace("unix:", "unix-dgram:");
    let other = config(&listen(&[datagrams], ""));
    let error = other.prepare("one", &mut preparation).unwrap_err().to_string();
    assert!(error.contains("cannot take the place"), "{error}");
    let two = begin(&sockets, "two", &listen(&[unix("there")], ""));
    let _waits = UnixStream::connect(here.join("s")).unwrap();
    drop(one);
    assert!(here.join("s").exists(), "it is the second one's now");
    // Somebody has removed the file: a reload makes it anew.
    std::fs::remove_file(here.join("s")).unwrap();
    let three = begin(&sockets, "three", &listen(&[unix("here")], ""));
    drop(two);
    let _waits = UnixStream::connect(here.join("s")).unwrap();
    drop((three, sockets));
    assert!(!here.join("s").exists());
}

#[test]
fn a_free_port_stays_with_its_source() {
    let sockets = Sockets::default();
    let free = |options: &str| config(&format!("listen = \"udp://127.0.0.1:0\"\n{options}"));
    let mut preparation = sockets.prepare();
    let build = |name: &str, options: &str, preparation: &mut Preparation| {
        free(options).prepare(name, preparation).unwrap().addresses()
    };
    let one = build("one", "", &mut preparation);
    let two = build("two", "", &mut preparation);
    sockets.commit(preparation).unwrap().run();
    assert_ne!(one, two);
    let mut preparation = sockets.prepare();
    preparation.keep("one");
    assert_eq!(build("two", "frame_bytes_max = 100", &mut preparation), two);
    assert!(!build("three", "", &mut preparation).contains(&one[0]));
    sockets.commit(preparation).unwrap().run();
    let mut preparation = sockets.prepare();
    let both = [build("two", "", &mut preparation), build("one", "", &mut preparation)];
    assert_eq!(both, [two, one]);
}

#[tokio::test]
async fn what_is_not_read_at_the_end_of_the_grace_period_is_counted() {
    let (source, address) = tcp("");
    let harness = run(source);
    // The worker takes nothing, and its channel is full before all of it is read.
    let lines = b"<14>a line of a client that nobody has the time for\n".repeat(2000);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(&lines).unwrap();
    client.write_all(b"<14>half").unwrap();
    harness.order_to_stop();
    closed(client).await;
    // The first buffers are read, and make room in the system's queue for the rest.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let report = harness.give_up().await;
    assert_eq!(report.rejected.of(Reason::Truncated), 1, "{report:?}");
    assert!(report.rejected.of(Reason::ShutDown) > 100, "{report:?}");
    assert_eq!(report.received, 2001, "{report:?}");
    // Each frame but the half one has lost its LF.
    assert_eq!(report.bytes + 2000, lines.len() as u64 + 8, "{report:?}");
}
