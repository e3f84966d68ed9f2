//! No line names anything outside of the root to the system, whatever its bytes are: seen by
//! tracing the calls of the real program.

use std::fs;
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use super::{OLD, make};
use crate::daemon::{Daemon, need};

/// What hostile paths are made of.
const PARTS: &[&str] = &[
    "/",
    "/",
    "/",
    "//",
    ".",
    "..",
    "../",
    "/..",
    "/.",
    ":",
    ":x",
    "..:x",
    ".:$DATA",
    "::$DATA",
    "/a",
    "/d/a",
    "/d/d/a",
    "/ifs/data/a",
    "a",
    "b",
    "d",
    "link",
    "up",
    ".snapshot",
    "/ifs",
    "/ifs/data",
    "/p",
    "\\",
    "\\..",
    "..\\",
    "%2e",
    "\u{e9}",
    "\u{202e}",
    " ",
    "\t",
    "*",
    "~",
    "-rf",
    "\"\"",
    ",",
    "x:y:z",
];
const OPERATIONS: &[&str] = &[
    "fs_read_data",
    "fs_read_data",
    "fs_list_directory",
    "fs_read_link",
    "fs_write_data",
    "fs_rename",
    "fs_rename",
    "fs_delete",
    "fs_tree_delete",
    "tree_delete_start",
    "fs_open",
];
const PROTOCOLS: &[&str] = &["smb2", "smb3", "nfs3", "nfs4", "api", "ftp", "internal", ""];

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn path(&mut self, number: usize) -> String {
        let slash = if self.below(8) > 0 { "/" } else { "" };
        let parts = self.below(7);
        let path = (0..parts).fold(slash.to_owned(), |path, _| path + self.one(PARTS));
        // Others must not all be the same few.
        if self.below(2) > 0 { format!("{path}{number}") } else { path }
    }

    fn lines(&mut self, many: usize) -> String {
        let line = |number: usize| {
            let operation = self.one(OPERATIONS);
            // What is removed is removed early: `/` is among it.
            let earliest = if operation.contains("delete") { 0 } else { 1000 };
            let time = 1_769_500_000 + earliest + number % 1000;
            let time = jiff::Timestamp::from_second(time.try_into().unwrap()).unwrap();
            format!(
                "<14>1 {time} tank-1 qumulo - - - 10.0.0.9,\"ann\",{},{operation},ok,{number},\
                 \"{}\",\"{}\"\n",
                self.one(PROTOCOLS),
                self.path(number),
                self.path(number),
            )
        };
        (0..many).map(line).collect()
    }
}

/// What is between the first quotes after a place, as strace prints it.
fn quoted(call: &str) -> Option<&str> {
    let start = call.find(", \"")? + 3;
    let rest = &call[start..];
    let mut escaped = false;
    let end = rest.char_indices().find(|(_, letter)| {
        let is_end = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        is_end
    })?;
    Some(&rest[..end.0])
}

/// What is wrong with a call of one of the sink's threads, if anything.
fn fault(call: &str, root: &str) -> Option<&'static str> {
    let name = call.split('(').next()?;
    let arguments = &call[name.len() + 1..];
    if name == "openat" && arguments.starts_with("AT_FDCWD") {
        return (quoted(call) != Some(root)).then_some("opens another root");
    }
    let directory = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'))?.0;
    let is_root = directory == root;
    if !is_root && !directory.starts_with(&format!("{root}/")) {
        return Some("begins outside of the root");
    }
    let path = quoted(call).unwrap_or_default();
    let climbs = path.starts_with('/') || path.split('/').any(|part| part == "..");
    if climbs {
        return Some("climbs");
    }
    match name {
        "openat2" => (!call.contains("RESOLVE_BENEATH") || !call.contains("RESOLVE_NO_SYMLINKS"))
            .then_some("may be led out"),
        _ if path.contains('/') => Some("names more than an entry of its directory"),
        _ if matches!(path, "." | "") && !is_root => Some("names its directory"),
        _ if path.is_empty() => None,
        _ => (!call.contains("AT_SYMLINK_NOFOLLOW")).then_some("follows links"),
    }
}

/// How many calls the sink's threads made, and how many of them set a time.
fn try_hostile_lines(keys: &str, seed: u64) -> (usize, usize) {
    need("strace");
    let directory = TempDir::new().unwrap();
    let place = directory.path().canonicalize().unwrap();
    for file in ["../outside/f", "a", "b", "d/a", "d/d/a", "ifs/data/a", "x:y:z"] {
        make(&place, file);
    }
    std::os::unix::fs::symlink("../outside", place.join("root/link")).unwrap();
    std::os::unix::fs::symlink("..", place.join("root/d/up")).unwrap();
    let trace = place.join("trace");
    let root = place.join("root");
    let root = root.to_str().unwrap();
    let config = format!(
        "sources.in = {{ type = 'stdin' }}\n[[rules]]\nname = 'all'\nsinks = 'out'\n\
         [sinks.out]\ntype = 'atime'\nroot = '{root}'\nthreads = 2\n\
         write_metadata = 'touch'\n{keys}\n"
    );
    let tracer = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-Y",
        "-s",
        "65535",
        "-e",
        "signal=none",
        "-e",
        "trace=%file",
        "-o",
        trace.to_str().unwrap(),
    ];
    let (daemon, mut pipe) = Daemon::start_on_pipe_in(directory, &config, &tracer);
    pipe.write_all(Chance(seed).lines(3000).as_bytes()).unwrap();
    drop(pipe);
    let ended = daemon.end();
    ended.assert_settled();
    let trace = fs::read_to_string(trace).unwrap();
    let own = trace.lines().filter_map(|line| {
        let (process, call) = line.split_once("> ")?;
        process.contains("<atime-out-").then(|| call.trim_start())
    });
    // The rest of a call, or a look at what the kernel can do, names nothing; and the allocator
    // asks how many processors there are.
    let silent = ["<... ", ">, NULL", "\"/sys/devices/system/cpu/online\""];
    let names = |call: &&str| !silent.iter().any(|silent| call.contains(silent));
    let calls: Vec<_> = own.filter(names).collect();
    let set = calls.iter().filter(|call| call.starts_with("utimensat")).count();
    let made = calls.len();
    for call in calls {
        assert_eq!(fault(call, root), None, "{call}");
    }
    let untouched = |path: &Path| {
        let time = filetime::FileTime::from_last_access_time(&fs::metadata(path).unwrap());
        assert_eq!(time, OLD, "{}", path.display());
    };
    untouched(&place.join("outside/f"));
    untouched(&place.join("outside"));
    (made, set)
}

#[test]
fn no_call_leaves_the_root_whatever_a_line_says() {
    let all = [
        try_hostile_lines("flush_interval = '0s'", 1),
        try_hostile_lines("flush_interval = '1h'\nreorder_window = '1h'", 2),
        try_hostile_lines("strip_prefix = '/ifs'\nflush_interval = '0s'", 3),
        try_hostile_lines("map = [{ from = '/p', to = '/d' }, { from = '/', to = '/d/d' }]", 4),
    ];
    let (made, set) = all.into_iter().fold((0, 0), |(a, b), (made, set)| (a + made, b + set));
    assert!(made > 500 && set > 5, "{all:?}");
}
