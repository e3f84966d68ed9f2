//! The name of a file within its directory.

/// The last component of a path, without the slash that ends the path of a directory; empty for the
/// root.
pub(super) fn file_name(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let start = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
    &path[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_last_component() {
        for (path, name) in [
            (&b"/a/b.mov"[..], &b"b.mov"[..]),
            (b"/a/b/", b"b"),
            (b"/caf\xe9", b"caf\xe9"),
            (b"/a//", b""),
            (b"/", b""),
            (b"", b""),
            (b"bare", b"bare"),
        ] {
            assert_eq!(file_name(path), name, "{}", path.escape_ascii());
        }
    }
}
