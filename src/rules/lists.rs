//! Many short lists of numbers in one piece of memory.

/// Lists of numbers, by index.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Where each list ends; it begins where the one before it ends.
    ends: Vec<u32>,
    numbers: Vec<u32>,
}

impl Lists {
    /// The lists, each without repetitions.
    pub(super) fn new(lists: &[Vec<u32>]) -> Self {
        let mut packed = Self::default();
        for list in lists {
            let mut list = list.clone();
            list.sort_unstable();
            list.dedup();
            packed.numbers.extend(list);
            let end = u32::try_from(packed.numbers.len());
            packed.ends.push(end.expect("a configuration has fewer than 2^32 patterns"));
        }
        packed
    }

    /// One list; empty where there is none of this index.
    #[inline]
    pub(super) fn get(&self, index: usize) -> &[u32] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.numbers[start as usize..end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_out_as_they_went_in() {
        let lists = Lists::new(&[vec![], vec![3, 1, 3], vec![], vec![7]]);
        let all: Vec<_> = (0..5).map(|index| lists.get(index).to_vec()).collect();
        assert_eq!(all, [vec![], vec![1, 3], vec![], vec![7], vec![]]);
    }
}
