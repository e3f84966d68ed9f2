//! Whose an access is, on the real program: each case is the shortest history that once went to
//! the wrong file, or to none.

mod confinement;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::time::{SystemTime, UNIX_EPOCH};

use filetime::FileTime;
use serde_json::json;
use tempfile::TempDir;

use crate::daemon::{Daemon, Ended};

/// When all files were used last before a test begins.
const OLD: FileTime = FileTime::from_unix_time(1_000_000_000, 0);

/// A root, and a daemon that reads lines from a pipe and sets times beneath it.
struct Site {
    daemon: Daemon,
    pipe: ChildStdin,
    directory: PathBuf,
    /// Times of lines count from here, in seconds.
    base: i64,
}

impl Site {
    /// Files beneath `root`, or beside it where a name begins with `../`.
    fn new(files: &[&str], keys: &str) -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        files.iter().for_each(|file| make(directory.path(), file));
        let config = format!(
            r#"
            sources.in = {{ type = "stdin" }}
            [[rules]]
            name = "all"
            sinks = "out"
            [sinks.out]
            type = "atime"
            root = "{{dir}}/root"
            retry_delay = "1ms"
            {keys}
            "#
        );
        let (daemon, pipe) = Daemon::start_on_pipe_in(directory, &config, &[]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let directory = daemon.path("");
        Self { daemon, pipe, directory, base: i64::try_from(now).unwrap() - 1000 }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.join("root").join(file)
    }

    /// Gives a file another name, and makes a new one of the old name.
    fn replace(&self, from: &str, to: &str, new: &str) {
        fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
        fs::rename(self.path(from), self.path(to)).unwrap();
        make(&self.directory, new);
    }

    /// Sends a line: `read`, `rename`, `delete`, or `stream` for a read over SMB.
    fn send(&mut self, what: &str, path: &str, target: &str, time: i64) {
        let (operation, protocol) = match what {
            "read" => ("fs_read_data", "nfs3"),
            "stream" => ("fs_read_data", "smb2"),
            "rename" => ("fs_rename", "nfs3"),
            _ => ("fs_delete", "nfs3"),
        };
        let time = jiff::Timestamp::from_second(self.base + time).unwrap();
        let line = format!(
            "<14>1 {time} tank-1 qumulo - - - 10.0.0.9,\"ann\",{protocol},{operation},ok,7,\
             \"{path}\",\"{target}\"\n"
        );
        self.pipe.write_all(line.as_bytes()).unwrap();
    }

    /// Sends a read, and waits until its file has the time.
    fn read_now(&mut self, path: &str, file: &str, time: i64) {
        self.send("read", path, "", time);
        let (file, base) = (self.path(file), self.base);
        self.daemon.wait_until("an access time", || seconds(&file, base) == Some(time));
    }

    /// The times of files in the end, counted from the base; `None` where they were not set.
    fn end(self, files: &[&str]) -> (Vec<Option<i64>>, Ended) {
        drop(self.pipe);
        let ended = self.daemon.end();
        ended.assert_settled();
        let path = |file: &&str| seconds(&self.directory.join("root").join(file), self.base);
        (files.iter().map(path).collect(), ended)
    }
}

fn make(directory: &Path, file: &str) {
    let path = directory.join("root").join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "x").unwrap();
    for path in path.ancestors().take_while(|path| path.starts_with(directory)) {
        filetime::set_file_times(path, OLD, OLD).unwrap();
    }
}

fn seconds(path: &Path, base: i64) -> Option<i64> {
    let time = FileTime::from_last_access_time(&fs::metadata(path).unwrap());
    (time != OLD).then(|| time.unix_seconds() - base)
}

#[test]
fn a_name_behind_a_stream_leads_nowhere() {
    for path in ["/..:x", "/.:x", "/d/..:x", "/d/.:x", "/:x", "/d/..:x:$DATA", "/d/:x"] {
        let mut site = Site::new(&["d/f", "../beside"], "");
        site.send("stream", path, "", 5);
        let (times, ended) = site.end(&["..", ".", "d", "d/f"]);
        assert_eq!(times, [None; 4], "{path}");
        assert_eq!(ended.account("sinks.out")["rejected"], json!({ "path_escape": 1 }), "{path}");
    }
}

#[test]
fn a_directory_that_leaves_the_map_is_not_taken_for_the_new_one() {
    let keys = "strip_prefix = '/ifs/data'\nflush_interval = '0s'\nparent_ttl = '1h'\nthreads = 1";
    for moved in ["/ifs/out/d/", "/elsewhere/d/"] {
        let mut site = Site::new(&["d/f"], keys);
        site.read_now("/ifs/data/d/f", "d/f", 1);
        site.replace("d", "../out/d", "d/f");
        site.send("rename", "/ifs/data/d/", moved, 2);
        site.read_now("/ifs/data/d/f", "d/f", 3);
        let (times, _) = site.end(&["d/f", "../out/d/f"]);
        assert_eq!(times, [Some(3), Some(1)]);
    }
}

#[test]
fn a_rename_without_a_target_is_none() {
    let mut site = Site::new(&["f"], "flush_interval = '1h'");
    site.send("read", "/f", "", 5);
    site.send("rename", "/f", "", 6);
    let (times, ended) = site.end(&["f", "."]);
    assert_eq!(times, [Some(5), None]);
    // The decoder takes it for a line that was cut, before any sink sees it.
    let sources = ended.account("sources.in")["rejected"].to_string();
    let sinks = ended.account("sinks.out")["rejected"].to_string();
    assert!(sources.contains("truncated") || sinks.contains("no_target"), "{sources} {sinks}");
}

#[test]
fn a_stream_follows_its_file() {
    let mut site = Site::new(&["f", "h"], "flush_interval = '1h'");
    fs::rename(site.path("f"), site.path("g")).unwrap();
    fs::rename(site.path("h"), site.path("f")).unwrap();
    site.send("stream", "/f:s", "", 1);
    site.send("rename", "/f", "/g", 2);
    site.send("rename", "/h", "/f", 3);
    assert_eq!(site.end(&["g", "f"]).0, [Some(1), None]);
}

#[test]
fn a_file_with_a_colon_that_vanished_is_not_the_one_before_the_colon() {
    let mut site = Site::new(&["10", "note"], "");
    site.send("stream", "/10:30.log", "", 1);
    site.send("stream", "/note:old", "", 1);
    site.send("delete", "/note:old", "", 2);
    assert_eq!(site.end(&["10", "note"]).0, [None, None]);
}

#[test]
fn a_rename_from_the_future_does_not_wait_for_it() {
    let mut site = Site::new(&["b", "a"], "flush_interval = '1h'");
    site.send("rename", "/a", "/b", 5000);
    // The rename counts as of its arrival, which is before this.
    site.send("read", "/a", "", 1200);
    assert_eq!(site.end(&["a", "b"]).0, [Some(1200), None]);
}

#[test]
fn directories_that_change_places_again_and_again_keep_their_times_apart() {
    let mut site = Site::new(&["d/f", "e/f"], "flush_interval = '1h'");
    site.send("read", "/d/f", "", 1);
    site.send("read", "/e/f", "", 2);
    for swap in 0..12 {
        for (step, (from, to)) in (0..).zip([("/d/", "/t/"), ("/e/", "/d/"), ("/t/", "/e/")]) {
            site.send("rename", from, to, 10 + 3 * swap + step);
        }
    }
    assert_eq!(site.end(&["d/f", "e/f"]).0, [Some(1), Some(2)]);
}

#[test]
fn a_directory_above_a_mapped_one_takes_its_times_along() {
    let keys = "flush_interval = '1h'\n\
                map = [{ from = '/p/m', to = '/x' }, { from = '/q', to = '/y' }]";
    let mut site = Site::new(&["y/p/m/f"], keys);
    site.send("read", "/p/m/f", "", 1);
    site.send("rename", "/p/", "/q/p/", 2);
    let (times, ended) = site.end(&["y/p/m/f"]);
    assert_eq!((times, &ended.account("sinks.out")["delivered"]), (vec![Some(1)], &json!(2)));
}

#[test]
fn a_rename_that_is_told_after_the_update_is_waited_for() {
    let mut site = Site::new(&["new", "other"], "flush_interval = '0s'\nthreads = 1");
    site.send("read", "/old", "", 1);
    site.read_now("/other", "other", 2);
    site.send("rename", "/old", "/new", 2);
    let (times, ended) = site.end(&["new"]);
    assert_eq!((times, &ended.account("sinks.out")["rejected"]), (vec![Some(1)], &json!({})));
}

#[test]
fn renames_that_arrive_swapped_are_followed_in_the_order_of_their_times() {
    let orders = [[2, 3, 1], [3, 2, 1], [3, 1, 2], [1, 3, 2]];
    // To a third name, and to the first one again.
    for (order, last) in orders.into_iter().flat_map(|order| [(order, "c"), (order, "a")]) {
        let mut site = Site::new(&[last], "flush_interval = '1h'");
        for step in order {
            match step {
                1 => site.send("read", "/a", "", 1),
                2 => site.send("rename", "/a", "/b", 2),
                _ => site.send("rename", "/b", &format!("/{last}"), 3),
            }
        }
        assert_eq!(site.end(&[last]).0, [Some(1)], "{order:?} to {last}");
    }
}

#[test]
fn many_renames_are_followed_and_a_limit_is_told() {
    for (limit, expected) in [("", Some(1)), ("changes_max = 1000", None)] {
        let mut site = Site::new(&["new"], limit);
        site.send("rename", "/old", "/new", 2);
        for number in 0..20_000 {
            site.send("rename", &format!("/n{number}"), &format!("/m{number}"), 3);
        }
        site.send("read", "/old", "", 1);
        let (times, ended) = site.end(&["new"]);
        let is_told = ended.log.contains("raise changes_max");
        assert_eq!((times, is_told), (vec![expected], expected.is_none()));
    }
}

#[test]
fn clients_are_ignored_as_rules_match_them() {
    let mut site = Site::new(&["f"], "ignore_clients = '::ffff:10.0.0.0/104'");
    site.send("read", "/f", "", 5);
    let (times, ended) = site.end(&["f"]);
    assert_eq!(times, [None]);
    assert_eq!(ended.account("sinks.out")["rejected"], json!({ "ignored_client": 1 }));
}

#[test]
fn a_reload_forgets_no_rename() {
    let mut site = Site::new(&["new", "other"], "flush_interval = '0s'");
    site.send("rename", "/old", "/new", 2);
    site.read_now("/other", "other", 2);
    let file = site.daemon.path("qatime.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("flush_interval = '0s'", "flush_interval = '1ms'")).unwrap();
    site.daemon.signal(rustix::process::Signal::HUP);
    site.daemon.wait_until("the reload", || site.daemon.log().contains("\"generation\":2"));
    site.send("read", "/old", "", 1);
    assert_eq!(site.end(&["new"]).0, [Some(1)]);
}
