//! Directories that a thread keeps open, so that the next file in them costs one look-up less.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::sinks::access::is_within;

/// A directory, and when it was opened.
type Opened = (Rc<OwnedFd>, Instant);

/// Open directories, by their path beneath the root.
///
/// There are two generations: what is used comes into the young one; when that has half of the
/// limit, the old one is closed and they change places. So what was used last stays, without a
/// list to keep in order.
#[derive(Debug)]
pub(super) struct Parents {
    half_max: usize,
    ttl: Duration,
    /// Files often come by directory: the last one is found without a hash.
    last: Option<(Vec<u8>, Opened)>,
    young: HashMap<Box<[u8]>, Opened>,
    old: HashMap<Box<[u8]>, Opened>,
}

impl Parents {
    /// None; `max` at most, each for so long.
    pub(super) fn new(max: usize, ttl: Duration) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { half_max: (max / 2).max(1), ttl, last: None, young, old }
    }

    /// A directory that is open, and since when, unless that is too long ago.
    pub(super) fn get(&mut self, path: &[u8], now: Instant) -> Option<Opened> {
        let ttl = self.ttl;
        let fits = |(_, since): &Opened| now.saturating_duration_since(*since) < ttl;
        if let Some((last, opened)) = &self.last
            && last == path
        {
            return Some(opened.clone()).filter(fits);
        }
        if let Some(opened) = self.young.get(path).cloned() {
            self.remember_last(path, &opened);
            return Some(opened).filter(fits);
        }
        let opened = self.old.remove(path).filter(fits)?;
        self.insert(path, opened.clone());
        Some(opened)
    }

    /// Keeps a directory.
    pub(super) fn keep(&mut self, path: &[u8], directory: &Rc<OwnedFd>, now: Instant) {
        self.insert(path, (Rc::clone(directory), now));
    }

    fn insert(&mut self, path: &[u8], opened: Opened) {
        self.remember_last(path, &opened);
        if let Some(known) = self.young.get_mut(path) {
            *known = opened;
            return;
        }
        if self.young.len() >= self.half_max {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(path.into(), opened);
    }

    fn remember_last(&mut self, path: &[u8], opened: &Opened) {
        match &mut self.last {
            Some((last, known)) => {
                last.clear();
                last.extend_from_slice(path);
                known.clone_from(opened);
            }
            last => *last = Some((path.to_vec(), opened.clone())),
        }
    }

    /// Closes one directory.
    pub(super) fn forget_exactly(&mut self, path: &[u8]) {
        self.last = None;
        self.young.remove(path);
        self.old.remove(path);
    }

    /// Closes a directory and all that lie in it.
    pub(super) fn forget_within(&mut self, directory: &[u8]) {
        let elsewhere = |path: &[u8]| !directory.is_empty() && !is_within(path, directory);
        self.last = None;
        self.young.retain(|path, _| elsewhere(path));
        self.old.retain(|path, _| elsewhere(path));
    }

    /// Closes all.
    pub(super) fn clear(&mut self) {
        self.last = None;
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn directory() -> Rc<OwnedFd> {
        Rc::new(File::open("/").unwrap().into())
    }

    #[test]
    fn what_was_used_last_stays_and_the_rest_is_closed() {
        let now = Instant::now();
        let mut parents = Parents::new(8, Duration::from_secs(1));
        let first = directory();
        parents.keep(b"first", &first, now);
        let others: Vec<_> = (0..50_u8).map(|_| directory()).collect();
        for (number, other) in (0_u8..).zip(&others) {
            parents.keep(&[number], other, now);
            assert!(parents.get(b"first", now).is_some());
        }
        let open = others.iter().filter(|other| Rc::strong_count(other) > 1).count();
        assert!((3..=8).contains(&open), "{open}");
        assert!(parents.get(&[49], now).is_some() && parents.get(&[0], now).is_none());
        parents.clear();
        assert!(others.iter().all(|other| Rc::strong_count(other) == 1));
        assert_eq!(Rc::strong_count(&first), 1);
    }

    #[test]
    fn directories_are_forgotten_with_all_in_them() {
        let now = Instant::now();
        let names: [&[u8]; 6] = [b"", b"a", b"a/b", b"a/b/c", b"ab", b"b"];
        for (gone, left) in [
            (b"a".as_slice(), vec![true, false, false, false, true, true]),
            (b"a/b", vec![true, true, false, false, true, true]),
            (b"", vec![false; 6]),
        ] {
            let mut parents = Parents::new(100, Duration::from_secs(1));
            names.iter().for_each(|name| parents.keep(name, &directory(), now));
            parents.forget_within(gone);
            assert_eq!(names.map(|name| parents.get(name, now).is_some()).to_vec(), left);
        }
    }

    #[test]
    fn directories_have_an_age() {
        let now = Instant::now();
        let ttl = Duration::from_secs(1);
        let mut parents = Parents::new(100, ttl);
        parents.keep(b"a", &directory(), now);
        parents.keep(b"b", &directory(), now);
        for name in [b"a", b"b"] {
            assert!(parents.get(name, now + ttl / 2).is_some());
            assert!(parents.get(name, now + ttl).is_none(), "use does not make younger");
        }
    }
}
