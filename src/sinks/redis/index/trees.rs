//! Since when directories have their names: what came late, or comes again, of the files that were
//! in them before counts for nothing. It is kept in Redis, and a copy of it here, since any path
//! may lie in any of them.

use hashbrown::HashMap;

use super::calls::{Forgotten, run, senseless};
use super::keys::{Layout, Micros, Since};
use crate::redis::{Client, Commands, Value};
use crate::sinks::DeliverError;

/// The directories that were renamed, replaced or removed.
#[derive(Debug)]
pub(super) struct Trees {
    since: HashMap<Box<[u8]>, Since>,
    newest: Since,
    /// How often something was noted in Redis when the copy was made; `None` where there is none.
    version: Option<i64>,
}

impl Default for Trees {
    fn default() -> Self {
        Self { since: HashMap::new(), newest: Since::FIRST, version: None }
    }
}

impl Trees {
    /// Forgets the copy: it is made anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sees that the copy is as Redis has it, whose version is this.
    pub(super) fn refresh(
        &mut self,
        version: i64,
        layout: &Layout,
        client: &mut Client,
    ) -> Result<(), DeliverError> {
        if self.version == Some(version) {
            return Ok(());
        }
        self.clear();
        let (keys, slot) = layout.trees();
        for key in keys {
            let Value::Array(all) = client.ask(slot, &[b"HGETALL", &key])? else {
                return Err(senseless());
            };
            for pair in all.chunks_exact(2) {
                let [Value::BulkString(path), Value::BulkString(text)] = pair else {
                    return Err(senseless());
                };
                // Beside the directories, when the first of them was noted.
                if let (false, Some(since)) = (path.is_empty(), Since::read(text)) {
                    self.insert(path, since);
                }
            }
        }
        self.version = Some(version);
        Ok(())
    }

    /// Sees that there is a copy.
    fn load(&mut self, layout: &Layout, client: &mut Client) -> Result<(), DeliverError> {
        if self.version.is_some() {
            return Ok(());
        }
        let mut commands = Commands::default();
        layout.ask_version(&mut commands);
        let mut version = None;
        run((layout, client), &commands, |_, answer| version = read_number(&answer))?;
        self.refresh(version.ok_or_else(senseless)?, layout, client)
    }

    fn insert(&mut self, path: &[u8], since: Since) {
        self.newest = self.newest.max(since);
        if let Some(known) = self.since.get_mut(path) {
            *known = since.max(*known);
        } else {
            self.since.insert(path.into(), since);
        }
    }

    /// Notes that directories have other files since a moment. Then the copy has what others noted
    /// before, too.
    pub(super) fn mark(
        &mut self,
        paths: &[&[u8]],
        since: Since,
        layout: &Layout,
        client: &mut Client,
    ) -> Result<Forgotten, DeliverError> {
        let mut commands = Commands::default();
        layout.begin_mark(3 * paths.len(), &mut commands);
        for path in paths {
            since.write(&mut commands);
            commands.arg(path);
        }
        let mut answer = None;
        run((layout, client), &commands, |_, value| answer = read_mark(&value))?;
        let (version, went, early) = answer.ok_or_else(senseless)?;
        paths.iter().for_each(|path| self.insert(path, since));
        let is_known = self.version.is_some_and(|known| (known..=known + 1).contains(&version));
        // Where others have noted something meanwhile, or old ones went, the copy is made anew.
        self.version = (is_known && !went).then_some(version);
        self.load(layout, client)?;
        Ok(Forgotten(early))
    }

    /// Whether an access at this time is after everything that is known of directories.
    pub(super) fn are_before(&self, access: Micros) -> bool {
        access.whole > self.newest.micros()
    }

    /// Since when a path has its file, as far as the directories tell that it lies in.
    pub(super) fn since(&self, path: &[u8]) -> Since {
        if self.since.is_empty() {
            return Since::FIRST;
        }
        let slashes = memchr::memchr_iter(b'/', path);
        let known = slashes.filter_map(|slash| self.since.get(&path[..=slash]));
        known.copied().max().unwrap_or(Since::FIRST)
    }
}

/// The number of an answer; 0 where there is none yet.
pub(super) fn read_number(answer: &Value) -> Option<i64> {
    match answer {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Value::Nil => Some(0),
        _ => None,
    }
}

fn read_mark(answer: &Value) -> Option<(i64, bool, u64)> {
    let Value::Array(values) = answer else { return None };
    let [Value::Int(version), Value::Int(went), Value::Int(early)] = values[..] else {
        return None;
    };
    Some((version, went != 0, u64::try_from(early).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_as_old_as_the_newest_directory_above_it() {
        let at = |whole| Since::new(Micros { whole, rest: 0 }, 1);
        let mut trees = Trees::default();
        assert_eq!(trees.since(b"/a/x"), Since::FIRST);
        trees.insert(b"/a/", at(5));
        trees.insert(b"/a/b/", at(3));
        trees.insert(b"/a/", at(4));
        for (path, since) in [
            (&b"/a/x"[..], at(5)),
            (b"/a/", at(5)),
            (b"/a/b/c", at(5)),
            (b"/a", Since::FIRST),
            (b"/ab/", Since::FIRST),
        ] {
            assert_eq!(trees.since(path), since, "{}", path.escape_ascii());
        }
        assert!(trees.are_before(Micros { whole: 6, rest: 0 }));
        assert!(!trees.are_before(Micros { whole: 5, rest: 999 }));
    }
}
