//! Keys over which events are spread by their paths, so that a cluster's nodes share the work.

use super::{Name, Slot};
use crate::units::{Contradiction, Within};

/// How many partitions a stream or an index has: 1 to 1024, by default so many.
pub type Partitions<const DEFAULT: u64> = Within<u16, 1, 1024, DEFAULT>;

/// What is wrong with the key of a stream, where it does not leave it to the number of each
/// partition where in a cluster that lies. `keys` are how the table calls the two.
#[must_use]
pub fn untagged(keys: [&str; 2], key: &Name, partitions: Partitions<1>) -> Option<Contradiction> {
    if partitions.get() == 1 || !key.as_str().contains(['{', '}']) {
        return None;
    }
    let message = "must not have braces where there are several partitions: all of them would lie \
                   on one node of a cluster";
    Some(Contradiction::new(keys[0], &keys[1..], message))
}

/// The partition of a path, below `partitions`: FNV-1a of 64 bits, modulo. It is the same on all
/// machines and in all releases, so that all events of a file lie in one partition, in order.
#[must_use]
pub fn partition_of(path: &[u8], partitions: u16) -> u16 {
    if partitions <= 1 {
        return 0;
    }
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u16::try_from(hash % u64::from(partitions)).unwrap_or(0)
}

/// The keys of a stream's partitions, with the slot of each: `qatime` alone, or `qatime:{0}`,
/// `qatime:{1}` and so on. Only the number decides on the slot.
#[must_use]
pub fn stream_keys(key: &Name, partitions: Partitions<1>) -> Vec<(Vec<u8>, Slot)> {
    let keys = (0..partitions.get()).map(|number| match partitions.get() {
        1 => key.to_string(),
        _ => format!("{key}:{{{number}}}"),
    });
    keys.map(|key| (key.clone().into_bytes(), Slot::of(key.as_bytes()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_never_change() {
        let partitions = ["", "/", "/a", "/projects/x.mov"].map(|path| {
            [1, 2, 8, 1000].map(|partitions| partition_of(path.as_bytes(), partitions))
        });
        assert_eq!(partitions, [[0, 1, 5, 37], [0, 0, 6, 758], [0, 1, 5, 29], [0, 1, 7, 719]]);
    }

    #[test]
    fn keys_have_a_tag_only_where_there_are_several() {
        let key = "q".parse().unwrap();
        assert_eq!(stream_keys(&key, Within::preset::<1>())[0].0, b"q");
        let keys = stream_keys(&key, Within::preset::<2>());
        assert_eq!((&keys[0].0[..], &keys[1].0[..]), (&b"q:{0}"[..], &b"q:{1}"[..]));
        assert_eq!(keys[1].1, Slot::of(b"1"));
    }
}
