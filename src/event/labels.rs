//! Labels: what filters remark on events. Few events have any, so a record holds only the place of
//! its first one; an event without labels costs nothing.

/// How many labels an event can have.
pub const LABELS_MAX: usize = 32;
/// How long a label's key can be, in bytes.
pub const LABEL_KEY_BYTES_MAX: usize = 64;
/// How long a label's value can be, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 1024;

/// Whether a text can be a label's key: 1 to 64 characters of `a-z`, `0-9`, `_`, `-` and `.`.
#[must_use]
pub fn is_label_key(key: &str) -> bool {
    let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
    (1..=LABEL_KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(allowed)
}

/// The first of an event's labels; 0 for none, else its place plus one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head(u32);

impl Head {
    /// The place of the entry, where there is one.
    const fn place(self) -> Option<usize> {
        (self.0 as usize).checked_sub(1)
    }
}

/// A piece of the text of all labels.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: u32,
    length: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Piece,
    value: Piece,
    /// The event's label with the next key.
    next: Head,
}

/// The labels of a batch: a list for each event that has any, in the order of the keys.
#[derive(Debug, Default)]
pub(super) struct Labels {
    text: String,
    entries: Vec<Entry>,
}

impl Labels {
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How much memory they hold, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The labels of a list, by key.
    pub(super) fn of(&self, head: Head) -> impl Iterator<Item = (&str, &str)> {
        let entry = |head: Head| head.place().and_then(|place| self.entries.get(place));
        std::iter::successors(entry(head), move |last| entry(last.next))
            .map(|entry| (self.piece(entry.key), self.piece(entry.value)))
    }

    /// Sets a label of a list. Returns `false` where the list is full.
    ///
    /// # Panics
    /// When the text of all labels would reach 4 GiB.
    pub(super) fn set(&mut self, head: &mut Head, key: &str, value: &str) -> bool {
        let (mut before, mut next, mut length) = (None, *head, 0);
        while let Some(place) = next.place() {
            let Entry { key: other, next: after, .. } = self.entries[place];
            match self.piece(other).cmp(key) {
                std::cmp::Ordering::Less => (before, next) = (Some(place), after),
                std::cmp::Ordering::Equal => {
                    self.entries[place].value = self.keep(value);
                    return true;
                }
                std::cmp::Ordering::Greater => break,
            }
            length += 1;
        }
        if length + self.of(next).count() >= LABELS_MAX {
            return false;
        }
        let key = self.keep(key);
        let value = self.keep(value);
        self.entries.push(Entry { key, value, next });
        let entry = Head(u32::try_from(self.entries.len()).expect("fewer labels than 2^32"));
        match before {
            Some(place) => self.entries[place].next = entry,
            None => *head = entry,
        }
        true
    }

    /// A list with the labels of another batch's list.
    pub(super) fn adopt(&mut self, other: &Self, list: Head) -> Head {
        let mut head = Head::default();
        for (key, value) in other.of(list) {
            self.set(&mut head, key, value);
        }
        head
    }

    /// A list of its own with the labels of another list.
    pub(super) fn again(&mut self, list: Head) -> Head {
        let mut next = list;
        let mut head = Head::default();
        let mut before: Option<usize> = None;
        while let Some(&entry) = next.place().and_then(|place| self.entries.get(place)) {
            next = entry.next;
            let place = self.entries.len();
            self.entries.push(Entry { next: Head::default(), ..entry });
            let added = Head(u32::try_from(place + 1).expect("fewer labels than 2^32"));
            match before {
                Some(before) => self.entries[before].next = added,
                None => head = added,
            }
            before = Some(place);
        }
        head
    }

    fn piece(&self, Piece { start, length }: Piece) -> &str {
        &self.text[start as usize..start as usize + length as usize]
    }

    /// Keeps a text. As a rule all events of a batch have the same few labels, so that it is
    /// looked for in the last entry first.
    fn keep(&mut self, text: &str) -> Piece {
        if let Some(last) = self.entries.last() {
            let known = [last.key, last.value].into_iter().find(|piece| self.piece(*piece) == text);
            if let Some(known) = known {
                return known;
            }
        }
        let start = u32::try_from(self.text.len()).expect("a batch's labels stay below 4 GiB");
        let length = u32::try_from(text.len()).expect("a batch's labels stay below 4 GiB");
        self.text.push_str(text);
        Piece { start, length }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_short_and_plain() {
        for key in ["a", "charset", "a.b-c_9", &"k".repeat(64)] {
            assert!(is_label_key(key), "{key}");
        }
        for key in ["", "Charset", "a b", "ä", "a:b", &"k".repeat(65)] {
            assert!(!is_label_key(key), "{key}");
        }
    }

    #[test]
    fn a_list_has_its_limit() {
        let mut labels = Labels::default();
        let mut list = Head::default();
        for number in (0..LABELS_MAX).rev() {
            assert!(labels.set(&mut list, &format!("{number:02}"), "first"));
        }
        assert!(!labels.set(&mut list, "00.5", "one too many"));
        assert!(!labels.set(&mut list, "99", "one too many"));
        assert!(labels.set(&mut list, "31", "second"));
        let values: Vec<_> = labels.of(list).map(|(_, value)| value).collect();
        assert_eq!((values.len(), values[30], values[31]), (LABELS_MAX, "first", "second"));
    }

    #[test]
    fn what_repeats_is_kept_once() {
        let mut labels = Labels::default();
        for _ in 0..1000 {
            let mut list = Head::default();
            labels.set(&mut list, "charset", "unmapped");
        }
        assert_eq!(labels.text, "charsetunmapped");
    }

    proptest! {
        #[test]
        fn lists_are_maps(
            steps in prop::collection::vec(
                (0_usize..4, "[a-d]{1,2}", "[xy]{0,2}", any::<bool>()),
                0..80,
            )
        ) {
            let mut labels = Labels::default();
            let mut lists = [Head::default(); 4];
            let mut maps: [BTreeMap<String, String>; 4] = Default::default();
            for (list, key, value, copies) in steps {
                prop_assert!(labels.set(&mut lists[list], &key, &value));
                maps[list].insert(key, value);
                if copies {
                    lists[0] = labels.again(lists[list]);
                    maps[0] = maps[list].clone();
                }
            }
            let mut other = Labels::default();
            for (list, map) in lists.into_iter().zip(&maps) {
                let expected = || map.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                prop_assert!(labels.of(list).eq(expected()));
                let adopted = other.adopt(&labels, list);
                prop_assert!(other.of(adopted).eq(expected()));
            }
        }
    }
}
