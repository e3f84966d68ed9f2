//! A set of prefixes or suffixes, looked up together in one walk over the text.

use std::collections::VecDeque;

/// Marks a node at which no entry ends.
const NONE: u32 = u32::MAX;

/// From which end of a text a [`Trie`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// From its start: the entries are prefixes.
    Front,
    /// From its end: the entries are suffixes.
    Back,
}

/// Prefixes or suffixes with a number each. A walk costs as many steps as entries branch on the
/// way, no matter how many there are.
#[derive(Debug)]
pub(super) struct Trie {
    end: End,
    nodes: Vec<Node>,
    /// The byte by which each node is entered, so that the children of one are a slice to search.
    entries: Vec<u8>,
    labels: Vec<u8>,
}

#[derive(Debug)]
struct Node {
    label_start: u32,
    label_length: u32,
    children_start: u32,
    children: u32,
    value: u32,
}

/// Sorted texts that share their first `depth` bytes: what one node is built from.
struct Group {
    node: usize,
    range: std::ops::Range<usize>,
    depth: usize,
}

impl Trie {
    /// A trie over distinct texts and their numbers.
    pub(super) fn new(end: End, texts: Vec<(Vec<u8>, u32)>) -> Self {
        let mut sorted = texts;
        if end == End::Back {
            sorted.iter_mut().for_each(|(text, _)| text.reverse());
        }
        sorted.sort_unstable();
        let mut trie = Self { end, nodes: Vec::new(), entries: Vec::new(), labels: Vec::new() };
        trie.push_node(&[]);
        let mut groups = VecDeque::from([Group { node: 0, range: 0..sorted.len(), depth: 0 }]);
        while let Some(group) = groups.pop_front() {
            trie.build_children(&sorted, group, &mut groups);
        }
        trie
    }

    fn build_children(
        &mut self,
        sorted: &[(Vec<u8>, u32)],
        group: Group,
        groups: &mut VecDeque<Group>,
    ) {
        let Group { node, mut range, depth } = group;
        if let Some((text, value)) = sorted.get(range.start)
            && text.len() == depth
        {
            self.nodes[node].value = *value;
            range.start += 1;
        }
        self.nodes[node].children_start = index(self.nodes.len());
        while !range.is_empty() {
            let (first, _) = &sorted[range.start];
            let same =
                sorted[range.clone()].partition_point(|(text, _)| text[depth] == first[depth]);
            let child = range.start..range.start + same;
            // Between two sorted texts all share what the two share.
            let (last, _) = &sorted[child.end - 1];
            let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
            let child_node = self.push_node(&first[depth..shared]);
            groups.push_back(Group { node: child_node, range: child, depth: shared });
            self.nodes[node].children += 1;
            range.start += same;
        }
    }

    /// Adds a node that is entered by a label, given in the order in which it is read.
    fn push_node(&mut self, label: &[u8]) -> usize {
        let label_start = index(self.labels.len());
        self.labels.extend_from_slice(label);
        if self.end == End::Back {
            self.labels[label_start as usize..].reverse();
        }
        self.entries.push(label.first().copied().unwrap_or_default());
        self.nodes.push(Node {
            label_start,
            label_length: index(label.len()),
            children_start: 0,
            children: 0,
            value: NONE,
        });
        self.nodes.len() - 1
    }

    /// Calls `found` with the number of each entry that `text` begins (or ends) with.
    #[inline]
    pub(super) fn walk(&self, text: &[u8], mut found: impl FnMut(u32)) {
        let mut rest = text;
        let mut node = &self.nodes[0];
        loop {
            if node.value != NONE {
                found(node.value);
            }
            let next = match self.end {
                End::Front => rest.first(),
                End::Back => rest.last(),
            };
            let Some(&byte) = next else { return };
            let start = node.children_start as usize;
            let entries = &self.entries[start..start + node.children as usize];
            // Most nodes have few children: a call would cost more than it saves.
            let child = if entries.len() <= 16 {
                entries.iter().position(|&entry| entry == byte)
            } else {
                memchr::memchr(byte, entries)
            };
            let Some(child) = child else { return };
            node = &self.nodes[start + child];
            let label_start = node.label_start as usize;
            let label = &self.labels[label_start..label_start + node.label_length as usize];
            let stripped = match self.end {
                End::Front => rest.strip_prefix(label),
                End::Back => rest.strip_suffix(label),
            };
            let Some(stripped) = stripped else { return };
            rest = stripped;
        }
    }
}

/// An offset within a trie, whose texts come from a configuration file.
fn index(offset: usize) -> u32 {
    u32::try_from(offset).expect("the patterns of a configuration are shorter than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_entries_on_the_way_are_found() {
        let entries = ["", "/a", "/a/", "/ab", "/abc/d", "\u{e9}", "b"];
        let texts = || entries.iter().map(|text| text.as_bytes().to_vec()).zip(0..).collect();
        let front = Trie::new(End::Front, texts());
        let back = Trie::new(End::Back, texts());
        for text in ["", "/", "/a", "/abc/d/e", "/abc", "\u{e9}a", "x/a/", "x/ab", "bb", "/abc/x"] {
            for (trie, end) in [(&front, End::Front), (&back, End::Back)] {
                let mut found = Vec::new();
                trie.walk(text.as_bytes(), |value| found.push(value));
                found.sort_unstable();
                let expected: Vec<u32> = (0..)
                    .zip(entries)
                    .filter(|(_, entry)| match end {
                        End::Front => text.starts_with(entry),
                        End::Back => text.ends_with(entry),
                    })
                    .map(|(value, _)| value)
                    .collect();
                assert_eq!(found, expected, "{text:?} from {end:?}");
            }
        }
    }

    #[test]
    fn an_empty_trie_finds_nothing() {
        Trie::new(End::Front, Vec::new()).walk(b"/a", |_| panic!("nothing to find"));
    }
}
