//! The mixes of operations.

use std::str::FromStr;

use super::ChoiceError;
use crate::event::Operation;

/// A mix of operations, with the tree and the clients that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Mostly questions for attributes (a measured NFS site): 6 % reads and listings.
    Getattr,
    /// The mix of SPEC SFS 2008 as audit lines: 21 % reads and listings.
    Sfs,
    /// A measured video archive over SMB on three busy nodes: 11 % reads and listings.
    Surveillance,
    /// A scanner that lists every directory of the tree, over and over.
    Walk,
}

use Operation::{
    FsCreateDirectory, FsCreateFile, FsDelete, FsFsstat, FsListDirectory, FsOpen, FsReadData,
    FsReadLink, FsReadMetadata, FsRename, FsWriteData, FsWriteMetadata,
};

/// Kibana dashboard of a video archive (Qumulo/auditlogs-elasticsearch), 4,219,321 lines.
const SURVEILLANCE: &[(Operation, f64)] = &[
    (FsReadMetadata, 19.49),
    (FsDelete, 17.49),
    (FsCreateFile, 16.56),
    (FsWriteData, 16.48),
    (FsWriteMetadata, 15.67),
    (FsReadData, 9.41),
    (FsOpen, 2.0),
    (FsListDirectory, 1.5),
    (FsCreateDirectory, 1.0),
    (FsFsstat, 0.4),
];

/// SPEC SFS 2008, with LOOKUP, GETATTR and ACCESS as reads of metadata. Renames are not in it, but
/// in every real stream.
const SFS: &[(Operation, f64)] = &[
    (FsReadMetadata, 60.8),
    (FsReadData, 18.0),
    (FsWriteData, 10.0),
    (FsWriteMetadata, 4.0),
    (FsListDirectory, 3.0),
    (FsCreateFile, 1.0),
    (FsDelete, 1.0),
    (FsFsstat, 1.0),
    (FsReadLink, 1.0),
    (FsRename, 0.2),
];

/// M. Eisler's figures of one customer.
const GETATTR: &[(Operation, f64)] = &[
    (FsReadMetadata, 84.8),
    (FsFsstat, 5.0),
    (FsReadData, 4.0),
    (FsWriteData, 3.0),
    (FsListDirectory, 2.0),
    (FsWriteMetadata, 1.0),
    (FsRename, 0.2),
];

/// What goes on beside the walk itself, which is pairs of listing and metadata per directory.
const WALK: &[(Operation, f64)] = SFS;

impl Profile {
    /// Each operation with its weight; of [`Profile::Walk`], only what the walker does not do.
    pub(super) const fn mix(self) -> &'static [(Operation, f64)] {
        match self {
            Self::Getattr => GETATTR,
            Self::Sfs => SFS,
            Self::Surveillance => SURVEILLANCE,
            Self::Walk => WALK,
        }
    }

    /// How many clients there are.
    pub(super) const fn clients(self) -> u32 {
        match self {
            Self::Surveillance => 40,
            Self::Getattr | Self::Sfs | Self::Walk => 400,
        }
    }

    /// Percent of events that are a walker's.
    pub(super) const fn walk_percent(self) -> u32 {
        if matches!(self, Self::Walk) { 95 } else { 0 }
    }

    /// All of them, with the names that people type.
    pub const ALL: [(&'static str, Self); 4] = [
        ("getattr", Self::Getattr),
        ("sfs", Self::Sfs),
        ("surveillance", Self::Surveillance),
        ("walk", Self::Walk),
    ];
}

impl FromStr for Profile {
    type Err = ChoiceError;

    fn from_str(word: &str) -> Result<Self, ChoiceError> {
        let known = Self::ALL.into_iter().find(|(name, _)| *name == word);
        known.map(|(_, profile)| profile).ok_or_else(|| ChoiceError {
            word: word.to_owned(),
            choices: "getattr, sfs, surveillance, walk",
        })
    }
}
