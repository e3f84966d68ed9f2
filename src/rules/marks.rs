//! Sets of rules in which few are set: clearing and walking them costs by what was set, not by how
//! many rules there are.

/// The places of the bits that are set, in order.
#[derive(Debug, Clone)]
pub(super) struct Bits(pub(super) u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let place = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(place as usize)
    }
}

/// A set of numbers below a limit, 64 to a word.
#[derive(Debug)]
pub(super) struct Marks {
    words: Vec<u64>,
    /// A bit for each word that has any.
    summary: Vec<u64>,
}

impl Marks {
    /// An empty set of numbers below `limit`.
    pub(super) fn new(limit: usize) -> Self {
        let words = limit.div_ceil(64);
        Self { words: vec![0; words], summary: vec![0; words.div_ceil(64)] }
    }

    /// Empties it.
    #[inline]
    pub(super) fn clear(&mut self) {
        for (place, summary) in self.summary.iter_mut().enumerate() {
            for bit in Bits(*summary) {
                self.words[place * 64 + bit] = 0;
            }
            *summary = 0;
        }
    }

    /// Adds the numbers of a word.
    #[inline]
    pub(super) fn insert_word(&mut self, word: usize, bits: u64) {
        self.words[word] |= bits;
        self.summary[word / 64] |= 1 << (word % 64);
    }

    /// Adds a number.
    #[inline]
    pub(super) fn insert(&mut self, number: usize) {
        self.insert_word(number / 64, 1 << (number % 64));
    }

    /// The numbers of a word.
    #[inline]
    pub(super) fn word(&self, word: usize) -> u64 {
        self.words[word]
    }

    /// The words that have any, from word 64 × `place` to 64 × `place` + 63, a bit each.
    #[inline]
    pub(super) fn summary(&self, place: usize) -> u64 {
        self.summary[place]
    }

    /// Whether it is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.summary.iter().all(|&summary| summary == 0)
    }

    /// The numbers, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let words = self.words.iter().enumerate();
        words.flat_map(|(word, &bits)| Bits(bits).map(move |bit| word * 64 + bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_walked_in_order_and_cleared() {
        let numbers = [0, 63, 64, 4_095, 4_096, 9_999];
        let mut marks = Marks::new(10_000);
        assert!(marks.is_empty());
        for &number in numbers.iter().rev() {
            marks.insert(number);
        }
        assert_eq!(marks.iter().collect::<Vec<_>>(), numbers);
        assert_eq!((marks.word(0), marks.word(64), marks.word(2)), (1 | 1 << 63, 1, 0));
        assert_eq!((marks.summary(0), marks.summary(1)), (1 | 2 | 1 << 63, 1));
        assert_eq!((marks.summary(2), marks.word(156)), (1 << (156 - 128), 1 << 15));
        marks.clear();
        assert!(marks.is_empty() && marks.iter().next().is_none());
    }
}
