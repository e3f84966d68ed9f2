//! The node that logged a message, and the cluster that it belongs to.

use std::ops::Range;

use crate::event::Record;

use super::scan;

/// How many bytes of a host name are kept: the longest that DNS allows (RFC 1035, section 2.3.4).
const NODE_BYTES_MAX: usize = 255;

/// Sets the node, cut where it is over-long, and how much of it is the cluster's name.
#[inline]
pub(super) fn set(record: &mut Record, text: &[u8], node: Range<usize>) {
    let end = node.end.min(node.start + NODE_BYTES_MAX);
    record.node = scan::span(node.start, end);
    record.cluster_length = cluster_length(&text[node.start..end]);
}

/// The length of the cluster's name: what stands before the last `-<digits>` of the first label,
/// since nodes are called `<cluster>-<number>`. 0 where there is none; an address has none.
#[inline]
fn cluster_length(node: &[u8]) -> u8 {
    let label = match scan::near(node, 0, b'.') {
        Some(dot) => &node[..dot],
        None => node,
    };
    let number = label.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match label[..label.len() - number] {
        [ref cluster @ .., b'-'] if number > 0 && scan::near(cluster, 0, b':').is_none() => {
            u8::try_from(cluster.len()).unwrap_or(0)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_what_stands_before_the_node_number() {
        let long = [b'a'; 253];
        let long_name = [&long[..], b"-1"].concat();
        for (node, cluster) in [
            (&b"tank-3"[..], &b"tank"[..]),
            (b"cs-fil-q-k144-1", b"cs-fil-q-k144"),
            (b"tank-12.example.com", b"tank"),
            (b"tank.rack-3", b""),
            (b"my-machine", b""),
            (b"tank", b""),
            (b"tank-", b""),
            (b"-3", b""),
            (b"3", b""),
            (b"10.0.0.1", b""),
            (b"2001:db8::7", b""),
            (b"fe80::1%eth-0", b""),
            (b"-", b""),
            (b"", b""),
            (&long_name, &long),
        ] {
            let length = usize::from(cluster_length(node));
            assert_eq!(&node[..length], cluster, "{}", String::from_utf8_lossy(node));
        }
    }
}
