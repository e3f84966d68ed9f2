//! The columns of a batch by name: what plugins ask for, and what they may edit.

use super::EventRef;

/// Declares text columns once: variant, name, accessor, whether it can be edited.
macro_rules! columns {
    ($($variant:ident = $name:literal: $accessor:ident, $editable:literal;)*) => {
        /// A text column.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Column {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Column {
            /// All, in the order in which events are written.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in plugins, templates and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Whether a filter may put other bytes in its place.
            #[must_use]
            pub const fn is_editable(self) -> bool {
                match self {
                    $(Self::$variant => $editable,)*
                }
            }

            /// Its value in an event; empty where the event does not have it.
            #[must_use]
            #[inline]
            pub fn of(self, event: EventRef<'_>) -> &[u8] {
                match self {
                    $(Self::$variant => event.$accessor(),)*
                }
            }
        }
    };
}

columns! {
    Node = "node": node, true;
    Cluster = "cluster": cluster, false;
    Client = "client": client, true;
    User = "user": user, true;
    UserSid = "user_sid": user_sid, true;
    UserAuthId = "user_auth_id": user_auth_id, true;
    Protocol = "protocol": protocol_name, true;
    Operation = "operation": operation_name, true;
    Status = "status": status, true;
    FileId = "file_id": file_id, true;
    Path = "path": path, true;
    Target = "target": target, true;
    Raw = "raw": raw, false;
}

impl Column {
    /// The column of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|column| column.as_str() == name)
    }
}

/// A number column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberColumn {
    /// `time`: when the operation completed, in nanoseconds since 1970, UTC.
    Time,
    /// `received`: when the message was received, in nanoseconds since 1970, UTC.
    Received,
    /// `offset`: where in the file it began, in bytes.
    Offset,
    /// `size`: how much it read or wrote, in bytes.
    Size,
    /// `file_size`: the size of the file, in bytes.
    FileSize,
}

impl NumberColumn {
    /// All, in the order in which events are written.
    pub const ALL: &[Self] =
        &[Self::Time, Self::Received, Self::Offset, Self::Size, Self::FileSize];

    /// Its name in plugins, templates and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Received => "received",
            Self::Offset => "offset",
            Self::Size => "size",
            Self::FileSize => "file_size",
        }
    }

    /// The column of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|column| column.as_str() == name)
    }

    /// Its value in an event. A size beyond 2^63 bytes counts as absent.
    #[must_use]
    pub fn of(self, event: EventRef<'_>) -> Option<i64> {
        let bytes = |size: Option<u64>| size.and_then(|size| i64::try_from(size).ok());
        match self {
            Self::Time => Some(event.time().as_nanos()),
            Self::Received => Some(event.received().as_nanos()),
            Self::Offset => bytes(event.io_sizes().offset),
            Self::Size => bytes(event.io_sizes().size),
            Self::FileSize => bytes(event.io_sizes().file_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_columns() {
        assert!(Column::ALL.iter().all(|c| Column::from_name(c.as_str()) == Some(*c)));
        assert!(NumberColumn::ALL.iter().all(|c| NumberColumn::from_name(c.as_str()) == Some(*c)));
        assert_eq!(Column::from_name("time"), None);
        assert_eq!(NumberColumn::from_name("path"), None);
    }
}
