//! The cluster that a node belongs to.

/// The length of the cluster's name: what stands before the last `-<digits>` of the first label,
/// since nodes are called `<cluster>-<number>`. 0 where there is none, or it has more than 255
/// bytes; an address has none.
#[inline]
pub(super) fn cluster_length(node: &[u8]) -> u8 {
    let label = match node.iter().position(|byte| matches!(byte, b'.' | b':')) {
        Some(colon) if node[colon] == b':' => return 0,
        Some(dot) => &node[..dot],
        None => node,
    };
    let number = label.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match label[..label.len() - number] {
        [ref cluster @ .., b'-'] if number > 0 => u8::try_from(cluster.len()).unwrap_or(0),
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
            (b"tank-3.rack:7", b"tank"),
            (&[b"a".repeat(256), b"-1".to_vec()].concat(), b""),
        ] {
            let length = usize::from(cluster_length(node));
            assert_eq!(&node[..length], cluster, "{}", String::from_utf8_lossy(node));
        }
    }
}
