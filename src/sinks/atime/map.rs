//! Where the names of the cluster lie beneath the root: decided when a file is named to the system,
//! and not before. Until then a rename is one event, whatever it does to mapped directories.

use super::config::Config;
use crate::event::Reason;
use crate::sinks::access::{check_components, is_within};

/// The mapped directories, in the order in which they are tried.
#[derive(Debug, Clone)]
pub(super) struct Map {
    routes: Vec<Route>,
}

/// A mapping, in bytes ready to compare.
#[derive(Debug, Clone)]
struct Route {
    /// `ifs/data`; empty for `/`.
    from: Vec<u8>,
    /// `archive/2024`; empty for the root.
    to: Vec<u8>,
}

/// Where a name lies beneath the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot<'a> {
    /// The directory that the front of the name is mapped to; empty for the root.
    directory: &'a [u8],
    /// The rest of the name; empty for the directory itself.
    rest: &'a [u8],
}

impl Spot<'_> {
    /// Appends the name beneath the root, checked: no slash at its ends, and empty for the root.
    ///
    /// # Errors
    /// [`Reason::PathEscape`] where the name could lead elsewhere than its letters say: then
    /// nothing is appended. This is the last door before the system is called, also for names
    /// that renames have made.
    pub(super) fn append(&self, out: &mut Vec<u8>) -> Result<(), Reason> {
        check_components(self.rest)?;
        out.extend_from_slice(self.directory);
        if !self.directory.is_empty() && !self.rest.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(self.rest);
        Ok(())
    }

    /// The name beneath the root.
    ///
    /// # Errors
    /// As [`Self::append`] says.
    pub(super) fn key(&self) -> Result<Vec<u8>, Reason> {
        let mut key = Vec::with_capacity(self.directory.len() + 1 + self.rest.len());
        self.append(&mut key)?;
        Ok(key)
    }
}

impl Map {
    /// The map that a configuration asks for.
    pub(super) fn new(config: &Config) -> Self {
        let route =
            |from: &str, to: &str| Route { from: from.as_bytes().into(), to: to.as_bytes().into() };
        let listed =
            config.map.iter().map(|mapping| route(mapping.from.trimmed(), mapping.to.trimmed()));
        let stripped = config.strip_prefix.iter().map(|prefix| route(prefix.trimmed(), ""));
        let mut routes: Vec<_> = listed.chain(stripped).collect();
        if routes.is_empty() {
            routes.push(route("", ""));
        }
        Self { routes }
    }

    /// Where a name lies, by the first mapping that fits.
    ///
    /// # Errors
    /// [`Reason::Unmapped`] where none fits, [`Reason::Snapshot`] where it lies in a snapshot.
    pub(super) fn spot<'a>(&'a self, name: &'a [u8]) -> Result<Spot<'a>, Reason> {
        let route = self.routes.iter().find(|route| is_within(name, &route.from));
        let Route { from, to } = route.ok_or(Reason::Unmapped)?;
        let rest = &name[from.len()..];
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        if to.is_empty() && is_within(rest, b".snapshot") {
            return Err(Reason::Snapshot);
        }
        Ok(Spot { directory: to, rest })
    }

    /// Whether a name, or anything beneath it, is mapped.
    pub(super) fn concerns(&self, name: &[u8]) -> bool {
        let meets = |from: &[u8]| is_within(name, from) || is_within(from, name);
        self.routes.iter().any(|route| meets(&route.from))
    }

    /// All names beneath the root that show a directory of the cluster, or a part of it.
    pub(super) fn shown<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
        let own = self.spot(name).and_then(|spot| spot.key()).ok();
        let parts = self.beneath(name).filter_map(|part| self.spot(part).ok()?.key().ok());
        own.into_iter().chain(parts)
    }

    /// The mapped directories that lie in a directory of the cluster.
    pub(super) fn beneath<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
        let all = self.routes.iter().map(|route| route.from.as_slice());
        all.filter(move |from| from.len() > name.len() && is_within(from, name))
    }
}
