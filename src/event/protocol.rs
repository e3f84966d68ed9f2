//! The protocol by which a client reached the cluster.

/// The family of a protocol. Spellings differ between releases (`nfs`, `nfs3`, `nfsv4.1`, `smb`,
/// `smb2`), so families are told by their beginning; the text as sent is kept beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The REST API.
    Api,
    /// FTP.
    Ftp,
    /// The cluster itself.
    Internal,
    /// NFS of any version.
    Nfs,
    /// S3.
    S3,
    /// SMB of any version.
    Smb,
    /// A protocol that this release does not know; it passes like any other.
    #[default]
    Unknown,
}

impl Protocol {
    /// The family of a protocol's text.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Self {
        match text {
            [b's', b'm', b'b', ..] => Self::Smb,
            [b'n', b'f', b's', ..] => Self::Nfs,
            [b'a', b'p', b'i', ..] => Self::Api,
            [b'i', b'n', b't', b'e', b'r', b'n', b'a', b'l', ..] => Self::Internal,
            [b's', b'3', ..] => Self::S3,
            [b'f', b't', b'p', ..] => Self::Ftp,
            _ => Self::Unknown,
        }
    }
}
