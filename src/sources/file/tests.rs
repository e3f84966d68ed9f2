//! The file source on real files.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::event::{FrameEnd, Reason, Timestamp};
use crate::framing::Rejection;
use crate::sources::harness::{Harness, payloads};
use crate::sources::syslog::Sockets;

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// What a reader gives: payloads, rejections, and the error.
fn read(path: &Path) -> (Vec<String>, Vec<Rejection>, Option<ReadError>) {
    let (mut frames, mut rejections, mut error) = (Vec::new(), Vec::new(), None);
    for next in Reader::open(path, Limits::default()).unwrap() {
        assert!(error.is_none(), "nothing comes after an error");
        match next {
            Ok(chunk) => {
                assert!(!chunk.is_empty());
                frames.extend(shown(&chunk));
                rejections.extend(chunk.rejections);
            }
            Err(failure) => error = Some(failure),
        }
    }
    (frames, rejections, error)
}

fn shown(chunk: &Chunk) -> Vec<String> {
    let frames = &chunk.frames;
    let payload = |frame| String::from_utf8_lossy(frames.payload(frame)).into_owned();
    frames.frames.iter().copied().map(payload).collect()
}

/// Lines that fill several reads.
fn many_lines() -> (String, Vec<String>) {
    let lines: Vec<_> = (0..20_000).map(|number| format!("<14>line {number}")).collect();
    (lines.join("\n"), lines)
}

#[test]
fn plain_and_compressed_files_read_alike() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let (text, lines) = many_lines();
    let (first, second) = text.split_at(77_777);
    let two_members = [gzip(first), gzip(second)].concat();
    for bytes in [text.clone().into_bytes(), gzip(&text), two_members] {
        fs::write(&path, &bytes).unwrap();
        let mut reader = Reader::open(&path, Limits::default()).unwrap();
        let progress = reader.progress();
        assert_eq!(progress.total_bytes(), Some(bytes.len() as u64));
        assert_eq!(progress.read_bytes(), 0);
        let modified = Timestamp::from_system(path.metadata().unwrap().modified().unwrap());
        let mut seen = Vec::new();
        for chunk in reader.by_ref().map(Result::unwrap) {
            assert_eq!(chunk.frames.stamp_reference, modified);
            seen.extend(shown(&chunk));
        }
        assert_eq!(seen, lines);
        assert_eq!(progress.read_bytes(), bytes.len() as u64);
    }
}

#[test]
fn short_files_are_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let compressed = gzip("<14>a\n");
    for (bytes, expected) in [
        (&b""[..], &[][..]),
        (b"\x1f", &["\x1f"]),
        (b"<14>a\n<14>b\n<14>c", &["<14>a", "<14>b", "<14>c"]),
        (b"\n", &[]),
        (&compressed, &["<14>a"]),
    ] {
        fs::write(&path, bytes).unwrap();
        let (frames, rejections, error) = read(&path);
        assert_eq!(frames, expected);
        assert!(rejections.is_empty() && error.is_none(), "{rejections:?} {error:?}");
    }
}

#[test]
fn a_damaged_gzip_file_gives_the_lines_before_the_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log.gz");
    let (text, lines) = many_lines();
    let whole = gzip(&text);
    let mut flipped = whole.clone();
    let crc = flipped.len() - 6;
    flipped[crc] ^= 1;
    let mut no_gzip_behind = whole.clone();
    no_gzip_behind.extend_from_slice(b"no gzip member");
    for damaged in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &flipped, &no_gzip_behind]
    {
        fs::write(&path, damaged).unwrap();
        let (frames, rejections, error) = read(&path);
        assert!(!frames.is_empty() && lines.starts_with(&frames), "{}", frames.len());
        assert_eq!(rejections.len(), 1);
        assert_eq!(rejections[0].reason, Reason::Truncated);
        let error = error.expect("the damage is reported").to_string();
        assert!(error.contains("audit.log.gz is damaged"), "{error}");
    }
}

#[tokio::test]
async fn files_are_read_once_in_order_and_then_the_source_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("b.log"), "<14>b1\n<14>b2").unwrap();
    fs::write(path("a.log.gz"), gzip("<14>a\n")).unwrap();
    fs::write(path("c[1].log"), "<14>c\n").unwrap();
    fs::create_dir(path("d.log")).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(path("b.log")).unwrap().set_modified(old).unwrap();
    let here = directory.path().display();
    let text = format!("paths = [\"{here}/[ab].log*\", \"{here}/c[1].log\", \"{here}/d*\"]");
    let error =
        config(&text).build("tested", &mut Sockets::default().prepare()).err().unwrap().to_string();
    assert!(error.contains("no file matches") && error.contains("d*"), "{error}");
    let text = format!("paths = [\"{here}/[ab].log*\", \"{here}/c[1].log\"]");
    let source = config(&text).build("tested", &mut Sockets::default().prepare()).unwrap().source;
    assert!(source.is_patient());
    let (seen, report) = Harness::run(source).end().await;
    assert_eq!(payloads(&seen), ["<14>a", "<14>b1", "<14>b2", "<14>c"]);
    assert_eq!(seen[2].end, FrameEnd::Unterminated);
    assert_eq!(seen[1].stamp_reference, Timestamp::from_system(old));
    assert!(seen[3].stamp_reference > seen[1].stamp_reference);
    assert_eq!((report.received, report.rejected.total()), (4, 0));
}

#[tokio::test]
async fn damage_in_one_file_does_not_keep_the_next_from_being_read() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("1.gz"), directory.path().join("2"));
    let whole = gzip("<14>a\n<14>b\n");
    fs::write(&one, &whole[..whole.len() - 8]).unwrap();
    fs::write(&two, "<14>c\n").unwrap();
    let text = format!("paths = \"{}/*\"", directory.path().display());
    let (seen, report) = Harness::run(
        config(&text).build("tested", &mut Sockets::default().prepare()).unwrap().source,
    )
    .end()
    .await;
    assert_eq!(payloads(&seen), ["<14>a", "<14>b", "<14>c"]);
    assert_eq!(report.rejected.of(Reason::Truncated), 1);
}

/// A follower, looked with by hand.
struct Followed {
    follower: Follower,
    book: Book,
    positions: Option<PathBuf>,
    rejected: Vec<Reason>,
}

impl Followed {
    fn new(pattern: impl AsRef<Path>, start: Start, positions: Option<&Path>) -> Self {
        let book = Book::default();
        if let Some(path) = positions {
            book.remember(positions::read(path).unwrap());
        }
        let follower = Follower::new(plan(pattern.as_ref(), start), book.clone(), Vec::new())
            .with_renamed_wait(Duration::from_secs(3600));
        let positions = positions.map(Path::to_owned);
        Self { follower, book, positions, rejected: Vec::new() }
    }

    /// What one look gives.
    fn poll(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        let rejected = &mut self.rejected;
        self.follower.find();
        let read = self.follower.read(&mut |chunk, mark| {
            seen.extend(shown(&chunk));
            rejected.extend(chunk.rejections.iter().map(|rejection| rejection.reason));
            if let Some(ticket) = self.book.hand_on(mark.number, mark.end) {
                ticket.settle();
            }
            Ok(())
        });
        read.unwrap();
        seen
    }

    fn save(&self) {
        positions::write(self.positions.as_ref().unwrap(), &self.book.memory()).unwrap();
    }
}

fn plan(pattern: &Path, start: Start) -> Plan {
    Plan {
        component: "tested".to_owned(),
        wanted: vec![Wanted::new(pattern.to_str().unwrap())],
        limits: Limits::new(64),
        start,
        poll_interval: Duration::from_millis(1),
    }
}

#[test]
fn a_growing_file_is_followed_also_before_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    // Whatever `from_start` says: what is made later is new.
    let mut followed = Followed::new(&path, Start::End, None);
    assert!(followed.poll().is_empty());
    append(&path, "<14>one\n<14>tw");
    assert_eq!(followed.poll(), ["<14>one"]);
    assert!(followed.poll().is_empty());
    append(&path, "o\n");
    assert_eq!(followed.poll(), ["<14>two"]);
}

#[test]
fn an_old_file_is_followed_from_either_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, "<14>old\n");
    let mut from_start = Followed::new(&path, Start::Beginning, None);
    let mut from_end = Followed::new(&path, Start::End, None);
    assert_eq!(from_start.poll(), ["<14>old"]);
    assert!(from_end.poll().is_empty());
    append(&path, "<14>new\n");
    assert_eq!(from_start.poll(), ["<14>new"]);
    assert_eq!(from_end.poll(), ["<14>new"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, "<14>one\n");
    let mut followed = Followed::new(&path, Start::Beginning, None);
    assert_eq!(followed.poll(), ["<14>one"]);
    let rotated = directory.path().join("a.log.1");
    append(&path, "<14>before the rotation\n");
    fs::rename(&path, &rotated).unwrap();
    // The writer has not noticed yet, and there is no new file.
    append(&rotated, "<14>after it\n");
    assert_eq!(followed.poll(), ["<14>before the rotation", "<14>after it"]);
    append(&path, "<14>new\n");
    append(&rotated, "<14>last\n<14>unterminated");
    let mut seen = followed.poll();
    seen.sort();
    assert_eq!(seen, ["<14>last", "<14>new"]);
    // Nothing comes any more: what has no delimiter is given, and the file closed.
    followed.follower = followed.follower.with_renamed_wait(Duration::ZERO);
    assert_eq!(followed.poll(), ["<14>unterminated"]);
    append(&rotated, "<14>too late\n");
    append(&path, "<14>newer\n");
    assert_eq!(followed.poll(), ["<14>newer"]);
    assert!(followed.rejected.is_empty());
}

#[test]
fn a_file_renamed_within_the_pattern_is_not_read_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (path, rotated) = (directory.path().join("a.log"), directory.path().join("a.log.1"));
    append(&path, "<14>one\n");
    let mut followed = Followed::new(directory.path().join("*"), Start::Beginning, None);
    assert_eq!(followed.poll(), ["<14>one"]);
    fs::rename(&path, &rotated).unwrap();
    append(&path, "<14>two\n");
    assert_eq!(followed.poll(), ["<14>two"]);
    append(&rotated, "<14>three\n");
    assert_eq!(followed.poll(), ["<14>three"]);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, "<14>one\n<14>cut sh");
    let mut followed = Followed::new(&path, Start::Beginning, None);
    assert_eq!(followed.poll(), ["<14>one"]);
    fs::write(&path, "<14>2\n").unwrap();
    assert_eq!(followed.poll(), ["<14>2"]);
    assert_eq!(followed.rejected, [Reason::Truncated]);
    // Also where it has grown beyond its old size by the next look.
    fs::write(&path, "<14>3 is longer than before\n<14>4\n").unwrap();
    assert_eq!(followed.poll(), ["<14>3 is longer than before", "<14>4"]);
    assert_eq!(followed.rejected.len(), 1);
}

#[test]
fn new_files_of_a_pattern_are_taken_up_and_others_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut followed = Followed::new(directory.path().join("*.log"), Start::End, None);
    assert!(followed.poll().is_empty());
    append(&directory.path().join("a.log"), "<14>a\n");
    append(&directory.path().join("b.txt"), "<14>b\n");
    fs::create_dir(directory.path().join("c.log")).unwrap();
    assert_eq!(followed.poll(), ["<14>a"]);
    fs::remove_file(directory.path().join("a.log")).unwrap();
    append(&directory.path().join("latin\u{e9}.log"), "<14>c\n");
    assert_eq!(followed.poll(), ["<14>c"]);
}

#[test]
fn positions_survive_restarts_rotation_and_doubt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let positions = directory.path().join("positions.json");
    let start = || Followed::new(&path, Start::Beginning, Some(&positions));
    append(&path, "<14>one\n<14>unfin");
    let mut followed = start();
    assert_eq!(followed.poll(), ["<14>one"]);
    followed.save();
    // What was not finished is read again as a whole.
    append(&path, "ished\n");
    let mut followed = start();
    assert_eq!(followed.poll(), ["<14>unfinished"]);
    // A line that is being skipped is not taken for a new one.
    append(&path, &"x".repeat(100));
    assert!(followed.poll().is_empty());
    followed.save();
    append(&path, "<14>not a message\n<14>two\n");
    let mut followed = start();
    assert_eq!(followed.poll(), ["<14>two"]);
    assert_eq!(followed.rejected, [Reason::FrameTooLong]);
    followed.save();
    // Renamed while nobody looked.
    append(&path, "<14>three\n");
    fs::rename(&path, directory.path().join("a.log.1")).unwrap();
    append(&path, "<14>four\n");
    let mut followed = start();
    let mut seen = followed.poll();
    seen.sort();
    assert_eq!(seen, ["<14>four", "<14>three"]);
    followed.save();
    // Written anew while nobody looked: longer than before, but not the same.
    fs::write(&path, "<14>five is long enough\n").unwrap();
    assert_eq!(start().poll(), ["<14>five is long enough"]);
}

#[test]
fn positions_of_an_older_release_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let file = directory.path().join("positions.json");
    append(&path, "<14>one\n");
    let mut followed = Followed::new(&path, Start::Beginning, Some(&file));
    followed.poll();
    followed.save();
    // That one wrote the list alone.
    let memory: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let mut list = memory["files"].clone();
    list[0].as_object_mut().unwrap().remove("created");
    fs::write(&file, list.to_string()).unwrap();
    append(&path, "<14>two\n");
    append(&directory.path().join("b.log"), "<14>new\n");
    let mut followed = Followed::new(directory.path().join("*.log"), Start::End, Some(&file));
    // A file that is found by a pattern of which there are positions is new.
    assert_eq!(followed.poll(), ["<14>two", "<14>new"]);
}

#[test]
fn a_number_that_a_new_file_was_given_is_not_mistaken_for_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let file = directory.path().join("positions.json");
    append(&path, "<14>one\n<14>two\n");
    let mut followed = Followed::new(&path, Start::End, Some(&file));
    assert!(followed.poll().is_empty());
    followed.save();
    // The same number, and longer; as after a deletion, or when it was truncated.
    fs::write(&path, "<14>another and longer than before\n").unwrap();
    let mut followed = Followed::new(&path, Start::End, Some(&file));
    assert_eq!(followed.poll(), ["<14>another and longer than before"]);
}

#[test]
fn a_file_that_was_closed_and_comes_back_is_read_on() {
    let directory = tempfile::tempdir().unwrap();
    let (path, away) = (directory.path().join("a.log"), directory.path().join("away"));
    append(&path, "<14>one\n");
    let mut followed = Followed::new(&path, Start::Beginning, None);
    assert_eq!(followed.poll(), ["<14>one"]);
    followed.follower = followed.follower.with_renamed_wait(Duration::ZERO);
    fs::rename(&path, &away).unwrap();
    assert!(followed.poll().is_empty());
    append(&away, "<14>two\n");
    fs::rename(&away, &path).unwrap();
    assert_eq!(followed.poll(), ["<14>two"]);
}

#[test]
fn positions_are_checked_without_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let here = |name: &str| directory.path().join(name);
    assert!(positions::check(&here("new")).is_ok());
    fs::write(here("broken"), "{").unwrap();
    assert!(matches!(positions::check(&here("broken")), Err(positions::Unusable::Senseless(_))));
    assert!(matches!(positions::check(directory.path()), Err(positions::Unusable::NoFile)));
    let fifo = here("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert!(matches!(positions::check(&fifo), Err(positions::Unusable::NoFile)));
    let lost = here("no").join("p");
    assert!(matches!(positions::check(&lost), Err(positions::Unusable::Directory(_))));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_followed_file_comes_through_until_the_order_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let positions = directory.path().join("positions.json");
    let text = format!(
        "paths = \"{}\"\nfollow = true\npoll_interval = \"1ms\"\npositions = \"{}\"",
        path.display(),
        positions.display()
    );
    let mut harness = Harness::run(
        config(&text).build("tested", &mut Sockets::default().prepare()).unwrap().source,
    );
    append(&path, "<14>one\n");
    assert_eq!(harness.payloads(1).await, ["<14>one"]);
    fs::rename(&path, directory.path().join("a.log.1")).unwrap();
    append(&path, "<14>two\n<14>thr");
    assert_eq!(harness.payloads(1).await, ["<14>two"]);
    let (rest, report) = harness.stop().await;
    assert_eq!((rest.len(), report.received), (0, 2));
    append(&path, "ee\n");
    let mut harness = Harness::run(
        config(&text).build("tested", &mut Sockets::default().prepare()).unwrap().source,
    );
    assert_eq!(harness.payloads(1).await, ["<14>three"]);
    harness.stop().await;
}

#[test]
fn what_cannot_be_read_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().display();
    for (text, part) in [
        (format!("paths = \"{here}/none\""), "set follow = true to wait for it"),
        (format!("paths = \"{here}/no*\""), "set follow = true to wait for one"),
        (format!("paths = \"{here}\""), "is a directory; name the files in it"),
        (format!("paths = \"{here}/a\"\nfollow = true\npositions = \"{here}/no/p\""), "directory"),
    ] {
        let error = config(&text)
            .build("tested", &mut Sockets::default().prepare())
            .map(drop)
            .expect_err(part)
            .to_string();
        assert!(error.starts_with("sources.tested: ") && error.contains(part), "{error}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_when_it_is_read() {
    for (text, part) in [
        ("paths = []", "an empty list; name one at least"),
        ("paths = ''", "the path is empty"),
        ("paths = ['/a', '/b/a[']", "\"/b/a[\" is not a pattern: invalid range pattern"),
        ("paths = '/a***'", "is not a pattern"),
        ("paths = '/a'\npositions = ''", "the path is empty"),
        ("paths = '/a'\npoll_interval = '0s'", "0s is out of range: from 1ms to 1h"),
    ] {
        let error = toml::from_str::<Config>(&format!("type = 'file'\n{text}")).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    for (text, keys) in [
        ("", &[][..]),
        ("positions = '/p'\nfrom_start = false\nfollow = true", &[]),
        ("positions = '/p'\nfrom_start = false", &["positions", "from_start"]),
    ] {
        let contradictions = config(&format!("paths = '/a'\n{text}")).contradictions();
        let found: Vec<_> = contradictions.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(found, *keys, "{text}");
    }
}
