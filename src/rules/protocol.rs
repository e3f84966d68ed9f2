//! Protocol names, whose spelling differs between releases.

use super::error::nearest;

/// The families that are known, in the order in which messages name them.
const KNOWN: [&str; 6] = ["nfs", "smb", "s3", "ftp", "api", "internal"];

/// The beginning of a protocol's name: `nfs`, `nfs4`, `nfsv4.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProtocolName {
    /// Without the `v` before a version.
    plain: Vec<u8>,
}

impl ProtocolName {
    /// Reads a name as it stands in a rule.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let letters = text.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let family = letters.strip_suffix('v').unwrap_or(letters);
        let sound = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        if text.is_empty() || !sound {
            return Err(format!("{text:?} is no protocol: write its beginning, such as \"nfs\""));
        }
        let known = KNOWN.iter().any(|&known| text.starts_with(known));
        if !known && let Some(known) = nearest(family, KNOWN, 1) {
            return Err(format!("no protocol begins with {text:?}; did you mean {known:?}?"));
        }
        Ok(Self { plain: plain(text.as_bytes()).collect() })
    }

    /// Whether the name of an event's protocol begins with it. A version must end where it ends
    /// here: `nfs4` is the beginning of `nfsv4.1`, not of `nfs41`.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let mut rest = plain(name);
        if !self.plain.iter().all(|&byte| rest.next() == Some(byte)) {
            return false;
        }
        let digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
        !(digit(self.plain.last().copied()) && digit(rest.next()))
    }
}

/// A name's bytes without a `v` that stands before a digit and after something else.
fn plain(name: &[u8]) -> impl Iterator<Item = u8> {
    let digit_follows = |place: usize| name.get(place + 1).is_some_and(u8::is_ascii_digit);
    let marks_version =
        move |place: usize| place > 0 && name[place] == b'v' && digit_follows(place);
    (0..name.len()).filter(move |&place| !marks_version(place)).map(|place| name[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_versions_match_in_every_spelling() {
        for (pattern, yes, no) in [
            ("nfs", &["nfs", "nfs3", "nfsv3", "nfsv4.1"][..], &["smb", "nf", "", "xnfs"][..]),
            ("nfs3", &["nfs3", "nfsv3"], &["nfs", "nfs4", "nfs30", "nfsv30"]),
            ("nfsv3", &["nfs3", "nfsv3"], &["nfs4"]),
            ("nfs4", &["nfs4", "nfsv4", "nfsv4.1", "nfs4.2"], &["nfs3", "nfs41"]),
            ("nfsv4.1", &["nfsv4.1", "nfs4.1"], &["nfs4", "nfs4.11", "nfs4.2"]),
            ("smb", &["smb", "smb2", "smb3"], &["s3", "sm"]),
            ("smb2", &["smb2", "smb2.1"], &["smb", "smb3"]),
            ("s3", &["s3"], &["s", "smb3", "s33"]),
            ("api", &["api"], &["ap"]),
            ("internal", &["internal"], &["api"]),
            ("gopher", &["gopher", "gopher1"], &["nfs"]),
        ] {
            let parsed = ProtocolName::parse(pattern).unwrap();
            for name in yes {
                assert!(parsed.matches(name.as_bytes()), "{pattern} should match {name}");
            }
            for name in no {
                assert!(!parsed.matches(name.as_bytes()), "{pattern} should not match {name}");
            }
        }
    }

    #[test]
    fn slips_are_refused() {
        for (text, said) in [
            ("nsf", "did you mean \"nfs\"?"),
            ("nsf3", "did you mean \"nfs\"?"),
            ("NFS", "did you mean \"nfs\"?"),
            ("nfs*", "is no protocol: write its beginning"),
            ("", "is no protocol"),
        ] {
            let message = ProtocolName::parse(text).unwrap_err();
            assert!(message.contains(said), "{text}: {message}");
        }
    }
}
