//! What a part occupies: two parts that use the same wait for each other, or get in each other's
//! way.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// A resource of a part, and the key of its table that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The key, for messages: `path`.
    pub key: &'static str,
    /// What it is.
    pub place: Place,
    /// Whether several parts may use it at once. A part that replaces another waits for it in
    /// either case.
    pub shared: bool,
}

/// What a part occupies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory with everything beneath it.
    Directory(PathBuf),
    /// A file, FIFO or device.
    File(PathBuf),
    /// A key of a Redis, or what all its keys begin with.
    RedisKey {
        /// Its servers, as the configuration names them.
        servers: Vec<String>,
        /// The key.
        key: String,
    },
    /// Standard input.
    StandardInput,
    /// Standard output.
    StandardOutput,
}

impl Resource {
    /// A resource for one part alone.
    #[must_use]
    pub const fn own(key: &'static str, place: Place) -> Self {
        Self { key, place, shared: false }
    }

    /// A resource that several parts may use at once.
    #[must_use]
    pub const fn shared(key: &'static str, place: Place) -> Self {
        Self { key, place, shared: true }
    }

    /// Whether two parts use something in common: the same place, or one within the other. The
    /// one that begins waits for the one that ends.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.place.overlaps(&other.place)
    }

    /// Whether two parts cannot both have it.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        !(self.shared && other.shared) && self.place.is_same(&other.place)
    }
}

impl Place {
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(one), Self::Directory(other)) => {
                is_within(one, other) || is_within(other, one)
            }
            (Self::Directory(directory), Self::File(file))
            | (Self::File(file), Self::Directory(directory)) => is_within(file, directory),
            _ => self.is_same(other),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Directory(one) | Self::File(one),
                Self::Directory(other) | Self::File(other),
            ) => plain(one) == plain(other),
            (
                Self::RedisKey { servers, key },
                Self::RedisKey { servers: other_servers, key: other_key },
            ) => key == other_key && servers.iter().any(|server| other_servers.contains(server)),
            _ => self == other,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::File(path) => write!(formatter, "{}", path.display()),
            Self::RedisKey { servers, key } => {
                write!(formatter, "{key} at {}", servers.join(", "))
            }
            Self::StandardInput => formatter.write_str("standard input"),
            Self::StandardOutput => formatter.write_str("standard output"),
        }
    }
}

/// Whether a path is that of a directory, or of something beneath it.
fn is_within(path: &Path, directory: &Path) -> bool {
    plain(path).starts_with(plain(directory))
}

/// A path without `.` and `..`, from the root on. No link is followed, since no file system is
/// asked: two names of one directory count as two.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Place {
        Place::File(path.into())
    }

    fn directory(path: &str) -> Place {
        Place::Directory(path.into())
    }

    fn redis(servers: &[&str], key: &str) -> Place {
        let servers = servers.iter().map(|&server| server.to_owned()).collect();
        Place::RedisKey { servers, key: key.to_owned() }
    }

    #[test]
    fn places_overlap_where_parts_can_meet() {
        for (one, other, overlap, same) in [
            (file("/a/b"), file("/a/b"), true, true),
            (file("/a/./x/../b/"), file("/a//b"), true, true),
            (file("/a/b"), file("/a/bc"), false, false),
            (file("a"), file("./a"), true, true),
            (directory("/mnt/q"), directory("/mnt/q/projects"), true, false),
            (directory("/mnt/q"), directory("/mnt/qq"), false, false),
            (directory("/mnt/q"), file("/mnt/q/audit.log"), true, false),
            (file("/mnt/q/audit.log"), directory("/"), true, false),
            (directory("/mnt/q/x"), file("/mnt/q"), false, false),
            (redis(&["a", "b"], "k"), redis(&["b"], "k"), true, true),
            (redis(&["a"], "k"), redis(&["b"], "k"), false, false),
            (redis(&["a"], "k"), redis(&["a"], "l"), false, false),
            (Place::StandardOutput, Place::StandardOutput, true, true),
            (Place::StandardOutput, Place::StandardInput, false, false),
        ] {
            for (one, other) in [(&one, &other), (&other, &one)] {
                assert_eq!(one.overlaps(other), overlap, "{one} {other}");
                assert_eq!(one.is_same(other), same, "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_shared_excludes_nobody_and_is_waited_for_nevertheless() {
        let own = Resource::own("path", file("/a"));
        let shared = Resource::shared("path", file("/a"));
        assert!(own.excludes(&own) && own.excludes(&shared) && !shared.excludes(&shared));
        assert!(shared.overlaps(&shared));
    }
}
