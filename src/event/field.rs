//! The fields of an event, declared once: their names, what may be done with them, what rules ask
//! of them. Records, accessors, plugin columns, JSON, templates and conditions are made from it.

/// Hands the declaration of all fields to the macro `$then`, which makes code of it.
///
/// A row of `texts` is `accessor: Variant = name { kind, edits, asked }`:
///
/// - The name is that of the plugin column, of the template field, of the JSON key and of the key
///   of the condition.
/// - A `path` consists of components with slashes between them, and holds no NUL; a `text` is
///   anything else.
/// - A filter may put other bytes in place of what is `edited`, and not of what is `fixed`.
/// - `asked` makes it a condition of rules: its comment is that of the key, and its type is what
///   the key is written as (`rules::model`).
///
/// What stands under `gives` follows from the text above it, by the accessor of that name: it takes
/// no room and cannot be edited. JSON lines and entries of streams hold it where it is `written`.
///
/// A row of `sizes` is a number of bytes that JSON messages alone give.
///
/// The order is that of the keys in JSON, and that of the bits by which the segments of a spool say
/// which fields there are: a new row stands last, so that old segments can still be read.
macro_rules! with_fields {
    ($then:ident) => {
        $then! {
            texts {
                /// The host name as sent: `tank-3`.
                node: Node = node {
                    text, edited, asked {
                        /// The node, as its host name was sent: `"tank-3"`, or a glob.
                        Text
                    }
                } gives {
                    /// The cluster's name: what stands before the last `-<digits>` of the node's
                    /// first label.
                    cluster: Cluster = cluster {
                        text, written, asked {
                            /// The cluster, which is the node's name before the last hyphen:
                            /// `"tank"` of `tank-3`, or a glob.
                            Text
                        }
                    }
                };
                /// The client's address, as text.
                client: Client = client {
                    text, edited, asked {
                        /// The client's address or network, IPv4 or IPv6: `"10.0.0.7"`,
                        /// `"10.0.0.0/8"`, `"2001:db8::/32"`. An IPv4 address in IPv6 clothes
                        /// (`::ffff:10.0.0.7`) counts as IPv4, on either side.
                        Network
                    }
                };
                /// The user's name.
                user: User = user {
                    text, edited, asked {
                        /// The user as the audit stream names it: `"alice"`, `'AD\alice'`,
                        /// `"1000"`, or a glob such as `'AD\*'`. In TOML write a backslash in
                        /// single quotes.
                        Text
                    }
                };
                /// The user's security identifier (JSON only).
                user_sid: UserSid = user_sid { text, edited };
                /// The user's auth id (JSON only).
                user_auth_id: UserAuthId = user_auth_id { text, edited };
                /// The protocol's name as sent.
                protocol_name: Protocol = protocol {
                    text, edited, asked {
                        /// The protocol, by its beginning, since releases spell it differently:
                        /// `"nfs"` holds for `nfs3`, `nfsv3` and `nfsv4.1`; `"nfs4"` for `nfs4`
                        /// and `nfsv4.1`, not for `nfs3`.
                        Protocol
                    }
                };
                /// The operation's name as sent.
                operation_name: Operation = operation {
                    text, edited, asked {
                        /// The operation: `"fs_read_data"`, or a glob such as `"fs_read_*"`. A
                        /// name that is nearly that of a known operation is refused as a slip of
                        /// the pen; `{ exact = "…" }` takes it as it stands.
                        Text
                    }
                };
                /// The status as sent; `ok` or the name of an error.
                status: Status = status {
                    text, edited, asked {
                        /// How the operation ended: `"ok"`, or the name of an error such as
                        /// `"fs_no_such_entry_error"`, or a glob.
                        Text
                    }
                };
                /// The file's number, as text: it can be wider than 64 bits.
                file_id: FileId = file_id {
                    text, edited, asked {
                        /// The file's number, as a number or (where it is wider than 63 bits) as
                        /// text.
                        FileId
                    }
                };
                /// The path on the cluster, exact bytes.
                path: Path = path {
                    path, edited, asked {
                        /// The path on the cluster. In its globs `*`, `?` and brackets never match
                        /// a slash, and `**` between slashes stands for any number of directories:
                        /// `"/projects/**"` matches everything beneath `/projects/` and that
                        /// directory itself (the audit stream writes directories with a slash at
                        /// their end), `"**/*.mov"` every name that ends in `.mov`,
                        /// `"/home/*/.cache/**"` that directory of every user. Paths are bytes:
                        /// names that are not UTF-8 match too.
                        Text
                    }
                } gives {
                    /// The last component of the path: the name of the file in its directory.
                    file_name: FileName = file_name {
                        text, unwritten, asked {
                            /// The last component of the path: `".DS_Store"`, or a glob such as
                            /// `"~$*"`. That of a directory has no slash.
                            Text
                        }
                    }
                };
                /// The second path (of a rename, a link, a copy), exact bytes.
                target: Target = target {
                    path, edited, asked {
                        /// The second path of a rename, a link or a copy; written like `path`.
                        Text
                    }
                };
            }
            sizes {
                /// Where in the file a read or a write began, in bytes.
                offset: Offset {};
                /// How much it read or wrote, in bytes.
                size: Size {
                    asked {
                        /// How much was read or written: `"> 1 MiB"`, `"<= 4 KiB"`, or
                        /// `{ min = "1 MiB", max = "1 GiB" }`. Holds only for events that say it
                        /// (JSON format).
                        SizeRange
                    }
                };
                /// The size of the file, in bytes.
                file_size: FileSize {
                    asked {
                        /// How large the file is, written like `size`. Holds only for events that
                        /// say it (JSON format).
                        SizeRange
                    }
                };
            }
        }
    };
}
pub(crate) use with_fields;

/// What a word of the declaration says, as a constant.
macro_rules! is {
    (edited) => {
        true
    };
    (fixed) => {
        false
    };
    (path) => {
        true
    };
    (text) => {
        false
    };
    (unwritten) => {
        false
    };
    (written) => {
        true
    };
}

/// Makes the columns: fields by name.
macro_rules! columns {
    (
        texts {$(
            $(#[$doc:meta])*
            $text:ident: $column:ident = $name:ident {
                $kind:ident, $edits:ident $(, asked $asked:tt)?
            }
            $(gives {
                $(#[$given_doc:meta])*
                $given_text:ident: $given:ident = $given_name:ident {
                    $given_kind:ident, $written:ident $(, asked $given_asked:tt)?
                }
            })?;
        )*}
        sizes {$($(#[$size_doc:meta])* $size:ident: $size_column:ident $size_asked:tt;)*}
    ) => {
        /// A text column: what plugins ask for by name, and what they may edit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Column {
            $($(#[$doc])* $column, $($(#[$given_doc])* $given,)?)*
            /// The whole message as it came, without count or delimiter.
            Raw,
        }

        impl Column {
            /// All, in the order in which events are written.
            pub const ALL: &[Self] = &[$(Self::$column, $(Self::$given,)?)* Self::Raw];

            /// Those that a record holds beside the message, in their order. Their places are
            /// those of the bits in a spool's segments.
            pub const STORED: &[Self] = &[$(Self::$column,)*];

            /// Its name in plugins, templates, JSON and conditions.
            #[must_use]
            #[inline]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(
                        Self::$column => stringify!($name),
                        $(Self::$given => stringify!($given_name),)?
                    )*
                    Self::Raw => "raw",
                }
            }

            /// Whether a filter may put other bytes in its place.
            #[must_use]
            pub const fn is_editable(self) -> bool {
                match self {
                    $(Self::$column => is!($edits), $(Self::$given => false,)?)*
                    Self::Raw => false,
                }
            }

            /// Whether it consists of components with slashes between them, and holds no NUL.
            #[must_use]
            pub const fn is_path(self) -> bool {
                match self {
                    $(Self::$column => is!($kind), $(Self::$given => is!($given_kind),)?)*
                    Self::Raw => false,
                }
            }

            /// The column that it follows from, where it does.
            #[must_use]
            pub const fn follows(self) -> Option<Self> {
                match self {
                    $(
                        Self::$column => None,
                        $(Self::$given => Some(Self::$column),)?
                    )*
                    Self::Raw => None,
                }
            }

            /// Whether every JSON line holds it. `raw` is there only where it is asked for; other
            /// columns are left out because they follow from one that is written.
            #[must_use]
            #[inline]
            pub const fn is_written(self) -> bool {
                match self {
                    $(Self::$column => true, $(Self::$given => is!($written),)?)*
                    Self::Raw => false,
                }
            }
        }

        /// A number column.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum NumberColumn {
            /// When the operation completed, in nanoseconds since 1970, UTC.
            Time,
            /// When the message was received, in nanoseconds since 1970, UTC.
            Received,
            $($(#[$size_doc])* $size_column,)*
        }

        impl NumberColumn {
            /// All, in the order in which events are written.
            pub const ALL: &[Self] = &[Self::Time, Self::Received, $(Self::$size_column,)*];

            /// Those that are points in time.
            pub const TIMES: &[Self] = &[Self::Time, Self::Received];

            /// Those that count bytes.
            pub const SIZES: &[Self] = &[$(Self::$size_column,)*];

            /// Its name in plugins, templates, JSON and conditions.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Time => "time",
                    Self::Received => "received",
                    $(Self::$size_column => stringify!($size),)*
                }
            }
        }
    };
}

with_fields!(columns);

impl Column {
    /// The column of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|column| column.as_str() == name)
    }
}

impl NumberColumn {
    /// The column of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|column| column.as_str() == name)
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
