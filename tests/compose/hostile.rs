//! Lines as nobody should send them, by several senders, to the port that is published.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::files::{atime, long_ago};
use crate::images;
use crate::project::Project;

/// The header and the beginning of a body.
const HEAD: &[u8] = b"<14>1 2026-01-27T14:12:23.123456789Z tank-1 qumulo - - - \
                      10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\"";

/// The time in it, in nanoseconds since 1970.
const TIME: i128 = 1_769_523_143_123_456_789;

/// Names of files that exist, and how they are written in a line.
const NAMES: [(&[u8], &[u8]); 7] = [
    (b"comma, quote \" and space", b"comma, quote \"\" and space"),
    (b"tab\there", b"tab\there"),
    (b"a#011b", b"a#011b"),
    (b"back\\slash\\", b"back\\slash\\"),
    (b"latin-\xfc-1", b"latin-\xfc-1"),
    ("schön 🐚".as_bytes(), "schön 🐚".as_bytes()),
    (b"\x1b[31mred\x7f", b"\x1b[31mred\x7f"),
];

/// A line about a path.
fn line(path: &[u8]) -> Vec<u8> {
    [HEAD, b"/", path, b"\",\"\"\n"].concat()
}

/// Lines that must do nothing, and leave the next one alone.
fn hostile() -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = [
        &b"../outside"[..],
        b"../../../../etc/passwd",
        b"link/outside",
        b"out-link",
        b"a\0b",
        b"",
        b"////",
        b"./.././.",
    ]
    .into_iter()
    .map(line)
    .collect();
    lines.push(line(&vec![b'x'; 300_000]));
    lines.push(line(&b"d/".repeat(20_000)));
    let others: [&[u8]; 8] = [
        b"\n\n\n",
        b"<14>1 2026-01-27T14:12:23Z tank-1 qumulo - - - 10.0.0.9,\"ann\",nfs3,fs_read_data,ok,7,\n",
        b"<999999999999>1 x\n",
        b"hello, world\n",
        b"\xff\xfe\xfd\xfc\n",
        b"<14>1 2026-13-45T99:99:99Z tank-1 qumulo - - - 10.0.0.9,\"a\",nfs3,fs_read_data,ok,7,\"/plain\",\"\"\n",
        b"%s%n%x${jndi:ldap://x}`reboot`$(reboot)\n",
        b"<14>1 2026-01-27T14:12:23Z ../../../tank-1 qumulo - - - ;rm -rf /\n",
    ];
    lines.extend(others.map(<[u8]>::to_vec));
    lines
}

/// The file of a name in the project's tree, last read in 1970.
fn file(project: &Project, name: &[u8]) -> PathBuf {
    let path = project.tree().join(OsStr::from_bytes(name));
    fs::write(&path, "").unwrap();
    long_ago(&path);
    path
}

fn connect(project: &Project) -> TcpStream {
    TcpStream::connect(("127.0.0.1", project.port())).unwrap()
}

#[test]
fn hostile_lines_touch_nothing_and_good_ones_between_them_arrive() {
    let project = Project::up_with(&[("QATIME_ARCHIVE", "yes")]);
    let outside = project.tree().parent().unwrap().join("outside");
    fs::write(&outside, "").unwrap();
    long_ago(&outside);
    std::os::unix::fs::symlink("..", project.tree().join("link")).unwrap();
    let symbolic = project.tree().join("out-link");
    std::os::unix::fs::symlink("../outside", &symbolic).unwrap();
    let plain = file(&project, b"plain");
    let files: Vec<_> = NAMES.iter().map(|(name, _)| file(&project, name)).collect();
    let over_udp = file(&project, b"udp");
    let counted = file(&project, b"line\nfeed");

    let mut stream = connect(&project);
    for (bad, (_, written)) in hostile().iter().zip(NAMES.iter().cycle()) {
        stream.write_all(bad).unwrap();
        stream.write_all(&line(written)).unwrap();
    }
    // A message with its length, in which a line feed is a byte of the name.
    let message = line(b"line\nfeed");
    let frame = [format!("{} ", message.len() - 1).as_bytes(), message.trim_ascii_end()].concat();
    stream.write_all(&frame).unwrap();
    // Lengths that lie, and a line that ends where it should not.
    connect(&project).write_all(b"99999999999999999999 <14>1 x\n").unwrap();
    connect(&project).write_all(b"4000000 <14>1 2026-01-27T14:12:23Z").unwrap();
    let cut = line(b"plain");
    connect(&project).write_all(&cut[..cut.len() - 8]).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in [line(b"udp"), b"\0".to_vec(), vec![b'<'; 60_000]] {
        socket.send_to(&datagram, ("127.0.0.1", project.port())).unwrap();
    }

    let good = || files.iter().chain([&over_udp, &counted]);
    project.wait_until("the good ones arrive", || good().all(|path| atime(path) == TIME));
    for path in [&outside, &plain] {
        assert_eq!(atime(path), 0, "{}", path.display());
    }
    for service in ["qatime", "rsyslog"] {
        assert_eq!(project.inspect(service, ".RestartCount"), "0", "{}", project.log(service));
    }
    // However a node calls itself, its lines stay in the archive's directory.
    let archive = ["exec", "-T", "rsyslog", "find", "/var/log/qumulo", "-mindepth", "2"];
    assert_eq!(project.compose(&archive), "");

    project.compose(&["stop"]);
    let ledger = project.ledger();
    let source = &ledger["sources"][0];
    assert_eq!(source["in_flight"], 0, "{ledger}");
    assert!(source["received"].as_u64().unwrap() > 30, "{ledger}");
    project.down();
}

#[test]
fn syslog_ng_is_understood() {
    let project = Project::up();
    let image = "qatime-test-syslog-ng";
    images::docker(&["build", "--quiet", "--tag", image, "tests/compose/syslog-ng"]);
    let path = file(&project, b"from syslog-ng");
    let log = project.tree().join("cluster.log");
    fs::write(&log, line(b"from syslog-ng")).unwrap();

    let mount = format!("{}:/var/log/cluster.log:ro", log.display());
    let address = project.address();
    let (host, port) = (format!("RECEIVER={}", address.ip()), format!("PORT={}", address.port()));
    let container = images::docker(&[
        "run",
        "--detach",
        "--rm",
        "--network",
        "host",
        "-v",
        &mount,
        "-e",
        &host,
        "-e",
        &port,
        image,
    ]);
    project.wait_until("the access time is set", || atime(&path) != 0);
    images::docker(&["kill", &container]);
    // syslog-ng writes microseconds.
    assert_eq!(atime(&path), TIME / 1000 * 1000);
    project.down();
}
