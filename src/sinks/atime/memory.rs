//! What a sink remembers of late, handed to the sink that takes over the same root: a reload must
//! not forget renames that late events still follow.
//!
//! Nothing is kept for longer than a sink of the root is there: the new one is built before the old
//! one ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use super::pending::Memory;

/// What the last sink of a root has left.
type Left = Mutex<Option<Memory>>;

/// A root, and what was left for it.
type Known = (PathBuf, Weak<Left>);

/// The roots for which there is a sink now.
static ROOTS: LazyLock<Mutex<Vec<Known>>> = LazyLock::new(Mutex::default);

/// What sinks of one root leave to those that follow them.
#[derive(Debug)]
pub(super) struct Legacy(Arc<Left>);

impl Legacy {
    /// That of a root.
    pub(super) fn of(root: &Path) -> Self {
        let mut roots = ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
        roots.retain(|(_, left)| left.strong_count() > 0);
        let known = roots.iter().find(|(known, _)| known == root);
        if let Some(left) = known.and_then(|(_, left)| left.upgrade()) {
            return Self(left);
        }
        let left = Arc::new(Left::default());
        roots.push((root.to_owned(), Arc::downgrade(&left)));
        Self(left)
    }

    /// Leaves something for who follows.
    pub(super) fn leave(&self, memory: Memory) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory);
    }

    /// Takes what was left, if anything was.
    pub(super) fn take(&self) -> Option<Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
