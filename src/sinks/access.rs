//! What an event means to a sink that keeps times of accesses, and whose accesses count.
//!
//! It is decided here, once, for all who ask: names are checked and cut to what they name, times
//! are clamped. A name that is made of others later (by a mapping, by a rename) comes in by the
//! same door again: [`Name::read`].

use schemars::JsonSchema;
use serde::Deserialize;

use crate::event::{EventRef, Operation, Protocol, Reason, Timestamp};
use crate::rules::{Network, parse_client};
use crate::units::{DAY, Duration, MINUTE, SECOND, Within};

/// How far ahead of this machine's clock an event may be.
pub(super) type FutureMax = Within<Duration, 0, { 3650 * DAY }, { 5 * MINUTE }>;

/// For how long a rename is kept in mind.
pub(super) type ReorderWindow = Within<Duration, 0, DAY, { 10 * SECOND }>;

/// The path of a file on the cluster, checked: absolute, without a component that is empty, `.` or
/// `..`, without NUL, and not of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    path: &'a [u8],
}

impl<'a> Name<'a> {
    /// The one door by which names come in.
    ///
    /// # Errors
    /// [`Reason::Unmapped`] where the path is not absolute, [`Reason::Snapshot`] where it is that
    /// of a snapshot, [`Reason::PathEscape`] where it could lead elsewhere than its letters say.
    pub(super) fn read(path: &'a [u8]) -> Result<Self, Reason> {
        let Some(absolute) = path.strip_prefix(b"/") else { return Err(Reason::Unmapped) };
        let bytes = absolute.strip_suffix(b"/").unwrap_or(absolute);
        if is_within(bytes, b".snapshot") {
            return Err(Reason::Snapshot);
        }
        // A slash, and nothing after it: `//`.
        if bytes.is_empty() && !absolute.is_empty() {
            return Err(Reason::PathEscape);
        }
        check_components(bytes)?;
        Ok(Self { path })
    }

    /// The path as it was written: with the slash at its end, where it has one.
    pub(super) const fn path(self) -> &'a [u8] {
        self.path
    }

    /// Without slashes at its ends; empty for the root.
    pub(super) fn bytes(self) -> &'a [u8] {
        let end = self.path.len() - usize::from(self.path.len() > 1 && self.is_directory());
        &self.path[1..end]
    }

    /// Whether it ends in a slash: nothing but a directory has this name.
    pub(super) fn is_directory(self) -> bool {
        self.path.ends_with(b"/")
    }
}

/// What an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The file was used.
    Access {
        /// The file: that of a stream, where a stream was used.
        name: Name<'a>,
        /// The name as it was written, where it looks like that of a stream and may be a file's own
        /// all the same: whoever can look should look for that first.
        whole: Option<Name<'a>>,
        /// Where a symbolic link leads was read: it counts for the link itself.
        link: bool,
    },
    /// Nothing: a rename that changes no name.
    Nothing,
    /// The file is gone, or out of reach.
    Remove {
        /// The file or directory.
        name: Name<'a>,
        /// Whether all beneath goes with it.
        tree: bool,
        /// [`Reason::Deleted`], or [`Reason::Unmapped`] where it went to no absolute path.
        why: Reason,
    },
    /// The file has another name. A file that had it before is gone.
    Rename {
        /// The old name.
        from: Name<'a>,
        /// The new name.
        to: Name<'a>,
        /// Whether it is a directory's, which takes along all beneath it.
        tree: bool,
    },
}

/// What an event asks for, and as of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// What.
    pub(super) meaning: Meaning<'a>,
    /// The event's time, unless that lies too far in the future.
    pub(super) time: Timestamp,
    /// Whether it did, so that the time is this machine's.
    pub(super) clamped: bool,
}

/// Whose accesses count, and for which time.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// Clients whose accesses do not count.
    pub(super) ignored: Vec<Network>,
    /// What an `fs_write_metadata` event means.
    pub(super) write_metadata: WriteMetadata,
    /// How far ahead of this machine's clock an event may be.
    pub(super) future_max: Duration,
}

impl Policy {
    /// What an event asks for that comes at `now`, or why it is none of this sink's.
    pub(super) fn request<'a>(
        &self,
        event: EventRef<'a>,
        now: Timestamp,
    ) -> Result<Request<'a>, Reason> {
        if !event.is_ok() {
            return Err(Reason::NotOk);
        }
        if event.path().is_empty() {
            return Err(Reason::NoPath);
        }
        if !self.ignored.is_empty() && self.ignores(event.client()) {
            return Err(Reason::IgnoredClient);
        }
        let meaning = self.meaning(event)?;
        let latest = now.saturating_add_nanos(self.future_max.nanos());
        let clamped = event.time() > latest;
        let time = if clamped { now } else { event.time() };
        Ok(Request { meaning, time, clamped })
    }

    fn meaning<'a>(&self, event: EventRef<'a>) -> Result<Meaning<'a>, Reason> {
        let path = event.path();
        match event.operation() {
            Operation::FsDelete => {
                let name = Name::read(path)?;
                Ok(Meaning::Remove { name, tree: name.is_directory(), why: Reason::Deleted })
            }
            Operation::FsRename => rename(Name::read(path)?, event.target()),
            Operation::FsTreeDelete | Operation::TreeDeleteStart => {
                Ok(Meaning::Remove { name: Name::read(path)?, tree: true, why: Reason::Deleted })
            }
            Operation::FsWriteMetadata if self.write_metadata == WriteMetadata::Ignore => {
                Err(Reason::OwnEcho)
            }
            operation => {
                let smb = event.protocol() == Protocol::Smb;
                let stream = if smb { Stream::find(path)? } else { None };
                let file = stream.map_or(path, |stream| &path[..stream.at]);
                let is_doubtful = stream.is_some_and(|stream| !stream.has_type);
                let whole = is_doubtful.then(|| Name::read(path)).transpose()?;
                let link = operation == Operation::FsReadLink;
                Ok(Meaning::Access { name: Name::read(file)?, whole, link })
            }
        }
    }

    fn ignores(&self, client: &[u8]) -> bool {
        let address = parse_client(client);
        address.is_some_and(|address| self.ignored.iter().any(|known| known.contains(address)))
    }
}

fn rename<'a>(from: Name<'a>, target: &'a [u8]) -> Result<Meaning<'a>, Reason> {
    if target.is_empty() {
        return Err(Reason::NoTarget);
    }
    let to = match Name::read(target) {
        Ok(to) => to,
        // It went where no path leads.
        Err(Reason::Unmapped) => {
            let tree = from.is_directory();
            return Ok(Meaning::Remove { name: from, tree, why: Reason::Unmapped });
        }
        Err(reason) => return Err(reason),
    };
    let (old, new) = (from.bytes(), to.bytes());
    // No file system lets a directory go into itself, or take the place of one that it lies in.
    if is_within(old, new) || is_within(new, old) {
        return Ok(Meaning::Nothing);
    }
    Ok(Meaning::Rename { from, to, tree: from.is_directory() || to.is_directory() })
}

/// The name of an alternate data stream in a path: `summary` of `/report.doc:summary` or
/// `/report.doc:summary:$DATA`.
///
/// Only SMB has streams, and a client that uses SMB cannot name a file with a colon: one that was
/// made over NFS has U+F13B in its place there. But whether the log writes the name of the client
/// or that of the cluster is not known, and a time on the wrong file is worse than none. So a colon
/// proves nothing unless the stream's type follows, and counts only where what follows looks like
/// the name of a stream: it does not begin with a digit, and has no further colon. `10:30.log`,
/// `x::y` and `a:b:c` are names.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// Where the path of its file ends.
    at: usize,
    /// Whether its type (`:$DATA`) is given: then it is nothing else.
    has_type: bool,
}

impl Stream {
    fn find(path: &[u8]) -> Result<Option<Self>, Reason> {
        let start = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
        let Some(colon) = memchr::memchr(b':', &path[start..]) else { return Ok(None) };
        let (at, stream) = (start + colon, &path[start + colon + 1..]);
        let end = memchr::memchr(b':', stream);
        let has_type = end.is_some_and(|end| {
            let kind = &stream[end + 1..];
            kind.starts_with(b"$") && !kind.contains(&b':')
        });
        let is_name = stream.first().is_none_or(u8::is_ascii_digit) || end.is_some();
        match (has_type || !is_name, colon) {
            (false, _) => Ok(None),
            // What is left would be the directory.
            (true, 0) => Err(Reason::PathEscape),
            (true, _) => Ok(Some(Self { at, has_type })),
        }
    }
}

/// Whether a path is a directory or lies in it. Both are without a slash at their end.
pub(super) fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || directory.is_empty())
}

/// Refuses what could lead elsewhere than its letters say.
pub(super) fn check_components(name: &[u8]) -> Result<(), Reason> {
    if name.is_empty() {
        return Ok(());
    }
    let mut start = 0;
    for end in memchr::memchr2_iter(b'/', 0, name).chain([name.len()]) {
        let wrong = matches!(&name[start..end], b"" | b"." | b"..");
        if wrong || name.get(end) == Some(&0) {
            return Err(Reason::PathEscape);
        }
        start = end + 1;
    }
    Ok(())
}

/// What an `fs_write_metadata` event means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteMetadata {
    /// Nothing: rejected as `own_echo`.
    #[default]
    Ignore,
    /// An access. Own addresses must stand in `ignore_clients` then, or each update calls for
    /// another.
    Touch,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Batch, Record};

    /// What one event means at second 1000, in words.
    fn meaning(
        policy: &Policy,
        line: (Operation, Protocol, &str, &str, i64),
        client: &str,
    ) -> String {
        let (operation, protocol, path, target, seconds) = line;
        let mut batch = Batch::new(Vec::new());
        let mut record = Record::default();
        record.time = Timestamp::from_nanos(seconds * 1_000_000_000);
        (record.operation, record.protocol, record.ok) = (operation, protocol, true);
        record.path = batch.push_side(path.as_bytes());
        record.target = batch.push_side(target.as_bytes());
        record.client = batch.push_side(client.as_bytes());
        batch.push(record);
        let text = |name: Name<'_>| String::from_utf8(name.bytes().to_vec()).unwrap();
        let request = policy.request(batch.event(0), Timestamp::from_nanos(1_000_000_000_000));
        match request.map(|request| (request.meaning, request.time.unix_seconds())) {
            Err(reason) => reason.to_string(),
            Ok((Meaning::Access { name, whole, link }, time)) => {
                let whole = whole.map(|whole| format!("{} or ", text(whole)));
                let whole = whole.unwrap_or_default();
                format!("{} {whole}{}@{time}", if link { "link" } else { "use" }, text(name))
            }
            Ok((Meaning::Nothing, time)) => format!("nothing@{time}"),
            Ok((Meaning::Remove { name, tree, why }, time)) => {
                format!("{why} {}{}@{time}", text(name), if tree { "/" } else { "" })
            }
            Ok((Meaning::Rename { from, to, tree }, time)) => {
                let slash = if tree { "/" } else { "" };
                format!("{} -> {}{slash}@{time}", text(from), text(to))
            }
        }
    }

    fn policy(ignored: &[&str]) -> Policy {
        let ignored = ignored.iter().map(|text| text.parse().unwrap()).collect();
        let future_max = "5s".parse().unwrap();
        Policy { ignored, write_metadata: WriteMetadata::Ignore, future_max }
    }

    #[test]
    fn each_event_has_one_meaning() {
        use Operation::{FsDelete, FsReadData, FsReadLink, FsRename, FsTreeDelete};
        use Protocol::{Nfs, Smb};
        for (line, expected) in [
            ((FsReadData, Nfs, "/a/b", "", 7), "use a/b@7"),
            ((FsReadData, Nfs, "/", "", 7), "use @7"),
            ((FsReadData, Nfs, "/a/", "", 1005), "use a@1005"),
            ((FsReadData, Nfs, "/a", "", 1006), "use a@1000"),
            ((FsReadLink, Nfs, "/a", "", 7), "link a@7"),
            ((FsReadData, Nfs, "", "", 7), "no_path"),
            ((FsReadData, Nfs, "a", "", 7), "unmapped"),
            ((FsReadData, Nfs, "/a/..", "", 7), "path_escape"),
            ((FsReadData, Nfs, "/.snapshot/1/a", "", 7), "snapshot"),
            ((FsDelete, Nfs, "/a", "", 1006), "deleted a@1000"),
            ((FsDelete, Smb, "/a:s", "", 7), "deleted a:s@7"),
            ((FsDelete, Nfs, "/a/", "", 7), "deleted a/@7"),
            ((FsTreeDelete, Nfs, "/a", "", 7), "deleted a/@7"),
            ((FsRename, Nfs, "/a", "/b", 1006), "a -> b@1000"),
            ((FsRename, Nfs, "/a", "/b/", 7), "a -> b/@7"),
            ((FsRename, Nfs, "/a", "", 7), "no_target"),
            ((FsRename, Nfs, "/a", "/..", 7), "path_escape"),
            ((FsRename, Nfs, "/a", "/.snapshot/b", 7), "snapshot"),
            ((FsRename, Nfs, "/a", "b", 7), "unmapped a@7"),
            ((FsRename, Nfs, "b", "/a", 7), "unmapped"),
            ((FsRename, Nfs, "/a", "/a/", 7), "nothing@7"),
            ((FsRename, Nfs, "/a/", "/a/b/", 7), "nothing@7"),
            ((FsRename, Nfs, "/a/b", "/a", 7), "nothing@7"),
            ((FsRename, Nfs, "/a/b/", "/", 7), "nothing@7"),
            ((FsRename, Smb, "/a:s", "/a:t", 7), "a:s -> a:t@7"),
        ] {
            assert_eq!(meaning(&policy(&[]), line, ""), expected, "{line:?}");
        }
    }

    #[test]
    fn a_streams_file_is_checked_like_any_other() {
        for (path, expected) in [
            ("/f:s", "use f:s or f@7"),
            ("/d/f:s:$DATA", "use d/f@7"),
            ("/f::$DATA", "use f@7"),
            ("/f:1:$data", "use f@7"),
            ("/d:e/f", "use d:e/f@7"),
            ("/10:30.log", "use 10:30.log@7"),
            ("/x::y", "use x::y@7"),
            ("/a:b:c", "use a:b:c@7"),
            ("/a:", "use a:@7"),
            ("/..:x", "path_escape"),
            ("/.:x", "path_escape"),
            ("/d/..:x:$DATA", "path_escape"),
            ("/:x", "path_escape"),
            ("/d/:x", "path_escape"),
            ("/.snapshot:x", "snapshot"),
        ] {
            let line = |protocol| (Operation::FsReadData, protocol, path, "", 7);
            let found = meaning(&policy(&[]), line(Protocol::Smb), "");
            assert_eq!(found, expected, "{path}");
            let plain = meaning(&policy(&[]), line(Protocol::Nfs), "");
            assert_eq!(plain, format!("use {}@7", &path[1..]));
        }
    }

    #[test]
    fn clients_are_ignored_as_rules_would_match_them() {
        let policy =
            policy(&["10.0.0.0/8", "::ffff:192.0.2.0/120", "fe80::1", "::ffff:172.16.0.0/108"]);
        let line = (Operation::FsReadData, Protocol::Nfs, "/a", "", 7);
        for client in
            ["10.9.9.9", "192.0.2.7", "::ffff:192.0.2.7", "fe80::1%eth0", "fe80::1", "172.31.0.1"]
        {
            assert_eq!(meaning(&policy, line, client), "ignored_client", "{client}");
        }
        for client in ["11.0.0.1", "192.0.3.7", "fe80::2%eth0", "nobody", "", "172.32.0.1"] {
            assert_eq!(meaning(&policy, line, client), "use a@7", "{client}");
        }
        assert!("10.0.0.5/8".parse::<Network>().is_err());
    }
}
