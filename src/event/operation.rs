//! The operations that the audit stream names.

use std::fmt;

/// Declares the operations once: variant, name on the wire.
macro_rules! operations {
    ($($variant:ident = $name:literal,)*) => {
        /// What a client did. The list is that of Qumulo's page "How Audit Logging Works" for the
        /// file system and for connections; REST operations and those of newer releases are
        /// [`Operation::Unknown`], and their name is kept as text.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Operation {
            /// Not in this list; the event keeps the name as sent.
            #[default]
            Unknown,
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Operation {
            /// All that have a name, in alphabetical order.
            pub const NAMED: &[Self] = &[$(Self::$variant,)*];

            /// The operation of a name on the wire.
            #[must_use]
            #[inline]
            pub fn from_bytes(name: &[u8]) -> Self {
                let candidate = SLOTS[slot(name)];
                if candidate.as_str().as_bytes() == name { candidate } else { Self::Unknown }
            }

            /// The name on the wire; empty for [`Operation::Unknown`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Unknown => "",
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

operations! {
    AuditModifySyslogConfig = "audit_modify_syslog_config",
    BeginAuditModifySyslogConfig = "begin_audit_modify_syslog_config",
    ClusterRestart = "cluster_restart",
    FsCopyChunk = "fs_copy_chunk",
    FsCreate = "fs_create",
    FsCreateDirectories = "fs_create_directories",
    FsCreateDirectory = "fs_create_directory",
    FsCreateFile = "fs_create_file",
    FsCreateHardLink = "fs_create_hard_link",
    FsCreateStream = "fs_create_stream",
    FsCreateSymlink = "fs_create_symlink",
    FsDelete = "fs_delete",
    FsFsstat = "fs_fsstat",
    FsListDirectory = "fs_list_directory",
    FsOpen = "fs_open",
    FsReadData = "fs_read_data",
    FsReadLink = "fs_read_link",
    FsReadMetadata = "fs_read_metadata",
    FsReadUserMetadata = "fs_read_user_metadata",
    FsRename = "fs_rename",
    FsSetQuota = "fs_set_quota",
    FsTreeDelete = "fs_tree_delete",
    FsWriteData = "fs_write_data",
    FsWriteFileLock = "fs_write_file_lock",
    FsWriteMetadata = "fs_write_metadata",
    FsWriteUserMetadata = "fs_write_user_metadata",
    FtpLogin = "ftp_login",
    NfsMount = "nfs_mount",
    RemoteSyslogShutdown = "remote_syslog_shutdown",
    RemoteSyslogStartup = "remote_syslog_startup",
    RestLogin = "rest_login",
    ShareConnect = "share_connect",
    Smb2NotifyReq = "smb2_notify_req",
    SmbCloseHandle = "smb_close_handle",
    SmbCloseSession = "smb_close_session",
    SmbCreateShare = "smb_create_share",
    SmbDeleteShare = "smb_delete_share",
    SmbLogin = "smb_login",
    SmbModifyShare = "smb_modify_share",
    TreeDeleteCancel = "tree_delete_cancel",
    TreeDeleteStart = "tree_delete_start",
}

/// How many places [`SLOTS`] has; a power of two.
const SLOT_COUNT: usize = 128;

/// The operations, each at the place of its name; so one comparison settles a name.
const SLOTS: [Operation; SLOT_COUNT] = slots();

/// The place of a name, from its length, its third to sixth and its last four bytes; every name
/// has at least seven. The factor is found by trying: where a new operation shares the place of
/// another, the build fails, and another odd number must be tried.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the low bits of a length matter")]
const fn slot(name: &[u8]) -> usize {
    let [_, _, a, b, c, d, _, ..] = name else { return 0 };
    let [.., w, x, y, z] = name else { return 0 };
    let length = (name.len() as u32).wrapping_mul(0x9E37_79B1);
    let last = u32::from_le_bytes([*w, *x, *y, *z]).wrapping_add(length);
    let mixed = (u32::from_le_bytes([*a, *b, *c, *d]) ^ last).wrapping_mul(0xB387_42AD);
    (mixed >> (32 - SLOT_COUNT.trailing_zeros())) as usize
}

const fn slots() -> [Operation; SLOT_COUNT] {
    let mut slots = [Operation::Unknown; SLOT_COUNT];
    let mut index = 0;
    while index < Operation::NAMED.len() {
        let operation = Operation::NAMED[index];
        let place = slot(operation.as_str().as_bytes());
        assert!(matches!(slots[place], Operation::Unknown), "two names share a place");
        slots[place] = operation;
        index += 1;
    }
    slots
}

impl Operation {
    /// Whether an event of it means nothing without its target: a rename, hard link or copy.
    #[must_use]
    pub const fn needs_target(self) -> bool {
        matches!(self, Self::FsCopyChunk | Self::FsCreateHardLink | Self::FsRename)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A set of operations, as one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperationSet(u64);

const _: () = assert!(Operation::NAMED.len() < 64, "an operation set is one 64-bit word");

impl OperationSet {
    /// Every operation, the unknown ones too.
    pub const ALL: Self = Self(u64::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub const fn insert(&mut self, operation: Operation) {
        self.0 |= 1 << operation as u8;
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn contains(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u8) != 0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<Operation> for OperationSet {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        let mut set = Self::NONE;
        for operation in operations {
            set.insert(operation);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again() {
        for &operation in Operation::NAMED {
            assert_eq!(Operation::from_bytes(operation.as_str().as_bytes()), operation);
        }
        assert_eq!(Operation::from_bytes(b"fs_read_datas"), Operation::Unknown);
        assert_eq!(Operation::from_bytes(b""), Operation::Unknown);
        assert_eq!(Operation::from_bytes(b"fs_"), Operation::Unknown);
        assert_eq!(Operation::from_bytes(b"FS_READ_DATA"), Operation::Unknown);
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set: OperationSet = [Operation::FsReadData, Operation::Unknown].into_iter().collect();
        assert!(set.contains(Operation::FsReadData) && set.contains(Operation::Unknown));
        assert!(!set.contains(Operation::FsDelete));
        assert!(OperationSet::ALL.contains(Operation::FsDelete));
    }
}
