//! Many short lists in one piece of memory.

/// Lists, by index.
#[derive(Debug)]
pub(super) struct Lists<T> {
    /// Where each list begins, and where the last one ends.
    bounds: Vec<u32>,
    entries: Vec<T>,
}

impl<T: Copy + Ord> Lists<T> {
    /// The lists, each without repetitions.
    pub(super) fn new(lists: &[Vec<T>]) -> Self {
        let mut packed = Self { bounds: vec![0], entries: Vec::new() };
        for list in lists {
            let mut list = list.clone();
            list.sort_unstable();
            list.dedup();
            packed.entries.extend(list);
            let end = u32::try_from(packed.entries.len());
            packed.bounds.push(end.expect("a configuration has fewer than 2^32 patterns"));
        }
        packed
    }

    /// One list.
    #[inline]
    pub(super) fn get(&self, index: usize) -> &[T] {
        &self.entries[self.bounds[index] as usize..self.bounds[index + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_out_as_they_went_in() {
        let lists = Lists::new(&[vec![], vec![3, 1, 3], vec![], vec![7]]);
        let all: Vec<_> = (0..4).map(|index| lists.get(index).to_vec()).collect();
        assert_eq!(all, [vec![], vec![1, 3], vec![], vec![7]]);
    }
}
