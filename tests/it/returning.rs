//! Sinks that hang, and are changed, taken out and brought back: whoever has a name has its queue,
//! and no event is lost or counted twice.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::daemon::{Daemon, free_port, lines, send};
use crate::reload::{ADMIN, APPLIED, message, reload};

/// A daemon whose events go to a file and, if it is there, to the sink `hung`.
fn config(port: u16, hung: &str) -> String {
    let names = if hung.is_empty() { "'ok'" } else { "'ok', 'hung'" };
    format!(
        "{}\nspool.directory = '{{dir}}/spool'\n\
         sources.in = {{ type = 'syslog', listen = 'tcp://127.0.0.1:{port}' }}\n\
         [[rules]]\nname = 'all'\nsinks = [{names}]\n\
         [sinks.ok]\ntype = 'file'\npath = '{{dir}}/ok'\n\
         format = {{ template = \"{{path}}\\n\" }}\n{hung}",
        ADMIN.replace("2m", "1s")
    )
}

/// The sink `hung`, which writes to a path of the directory.
fn hung(path: &str, interval: &str) -> String {
    format!(
        "[sinks.hung]\ntype = 'file'\npath = '{{dir}}/{path}'\nflush_interval = '{interval}'\n\
         format = {{ template = \"{{path}}\\n\" }}\n"
    )
}

/// Both ends of a FIFO, so that a writer never finds it without a reader.
struct Fifo {
    end: std::fs::File,
    read: Vec<u8>,
}

impl Fifo {
    fn at(path: &Path) -> Self {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let end = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        Self { end: end.unwrap(), read: Vec::new() }
    }

    /// Reads until nothing has come for a second.
    fn drain(&mut self) {
        let mut last = Instant::now();
        let mut piece = vec![0; 1 << 16];
        while last.elapsed() < Duration::from_secs(1) {
            match self.end.read(&mut piece) {
                Ok(length) => {
                    self.read.extend_from_slice(&piece[..length]);
                    last = Instant::now();
                }
                Err(_empty) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn numbers(&self) -> Vec<u32> {
        let text = String::from_utf8(self.read.clone()).unwrap();
        text.lines().map(number).collect()
    }
}

fn number(line: &str) -> u32 {
    line.rsplit('/').next().unwrap().parse().unwrap()
}

/// A path of 100 bytes, so that few events fill a FIFO.
fn events(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| message(&format!("/{:0>90}/{number}", 0))).collect()
}

/// What becomes of 3,000 events while the sink `hung` goes through these configurations.
fn through(steps: &[(&str, u64)]) {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    let mut fifo = Fifo::at(&directory.path().join("fifo"));
    let first = config(port, &hung("fifo", "50ms"));
    let daemon = Daemon::start_in(directory, &first, &[port]);
    send(port, events(0..3_000).as_bytes());
    daemon.wait_for_lines("ok", 3_000);
    for (step, milliseconds) in steps {
        reload(&daemon, &config(port, step), APPLIED);
        std::thread::sleep(Duration::from_millis(*milliseconds));
    }
    fifo.drain();
    let ended = daemon.stop();
    ended.assert_balanced();
    let account = ended.account("sinks.hung").clone();
    assert_eq!(account["rejected"].get("spool_damaged"), None, "{account}\n{}", ended.log);
    assert!(account["in_flight"].as_u64().is_some(), "{account}");
    // What is left on the disk comes in the next process.
    let directory = ended.directory;
    let daemon = Daemon::start_in(directory, &config(port, steps[steps.len() - 1].0), &[port]);
    fifo.drain();
    let ended = daemon.stop();
    ended.assert_settled();
    let account = ended.account("sinks.hung");
    assert_eq!(account["rejected"].as_object().map(|map| map.len()), Some(0), "{account}");
    fifo.drain();
    let mut written = fifo.numbers();
    if let Ok(true) = ended.directory.path().join("else").try_exists() {
        let lines = lines(&ended.directory.path().join("else"));
        written.extend(lines.iter().map(|line| number(line)));
    }
    written.sort_unstable();
    written.dedup();
    let missing: Vec<u32> = (0..3_000).filter(|number| !written.contains(number)).collect();
    assert!(missing.is_empty(), "{} missing, from {:?}", missing.len(), missing.first());
}

#[test]
fn a_sink_that_was_changed_while_it_hung_is_taken_out_and_comes_back() {
    let (before, changed) = (hung("fifo", "50ms"), hung("fifo", "60ms"));
    through(&[(&changed, 1_800), ("", 500), (&before, 1_500)]);
}

#[test]
fn a_sink_that_hangs_is_taken_out_and_comes_back_twice() {
    let before = hung("fifo", "50ms");
    through(&[("", 100), (&before, 1_500), ("", 300), (&before, 500)]);
}

#[test]
fn a_sink_that_hangs_comes_back_elsewhere() {
    let (changed, elsewhere) = (hung("fifo", "60ms"), hung("else", "50ms"));
    through(&[(&changed, 1_800), ("", 500), (&elsewhere, 1_500)]);
}
