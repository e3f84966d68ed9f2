//! How a filter's plugin can fail on events.

use std::fmt;

/// Declares the kinds once: variant, name in metrics and logs, meaning.
macro_rules! fault_kinds {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $name:literal,)*) => {
        /// How a plugin failed on an event. What becomes of the event is `on_fault`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum FaultKind {
            $($(#[doc = $meaning])+ $variant,)*
        }

        impl FaultKind {
            /// All, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many there are: the length of a table indexed by `kind as usize`.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+).trim_ascii(),)*
                }
            }
        }
    };
}

fault_kinds! {
    /// The plugin abstained: it could not tell.
    Abstained = "abstained",
    /// The answer does not fit the batch, or breaks a limit.
    BadAnswer = "bad_answer",
    /// The plugin did not answer in time.
    Deadline = "deadline",
    /// The plugin called the host more often than it may, or with what is no batch.
    HostCalls = "host_calls",
    /// The plugin wanted more memory than it may have.
    Memory = "memory",
    /// The plugin panicked or aborted.
    Panic = "panic",
    /// The plugin answered with an error.
    Refused = "refused",
    /// The plugin did what WebAssembly forbids: a wild access, a division by zero, too deep a
    /// recursion.
    Trap = "trap",
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_each_has_a_meaning() {
        assert!(FaultKind::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
        assert!(FaultKind::ALL.iter().all(|kind| kind.meaning().ends_with('.')));
    }
}
