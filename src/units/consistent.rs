//! What keys of one table say together.

/// A key that does not go with others of its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Which key is to be changed, from the table: `server.database`, `map[1].from`.
    pub key: String,
    /// The keys beside it that it does not go with. Where one of them is wrong by itself, nothing
    /// is said of the contradiction.
    pub with: Vec<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Contradiction {
    /// A key that does not go with others.
    #[must_use]
    pub fn new(key: impl Into<String>, with: &[&str], message: impl Into<String>) -> Self {
        let with = with.iter().map(|&key| key.to_owned()).collect();
        Self { key: key.into(), with, message: message.into() }
    }

    /// What is said of a table, as said of the table that has it at `key`.
    #[must_use]
    pub fn beneath(key: &str, found: Vec<Self>) -> Vec<Self> {
        let whole = |found: Self| Self {
            key: format!("{key}.{}", found.key),
            with: found.with.iter().map(|other| format!("{key}.{other}")).collect(),
            ..found
        };
        found.into_iter().map(whole).collect()
    }
}

/// A table whose keys are right one by one, but may not go together.
///
/// Each key is checked by the type that reads it; what only several keys together tell is said
/// here, all of it, so that building a part finds nothing wrong with its configuration.
pub trait Consistent {
    /// Everything that does not go together.
    fn contradictions(&self) -> Vec<Contradiction> {
        Vec::new()
    }
}
