//! The handle by which a plugin knows the batch.

/// What the handle of a batch stands for; the batch itself is in [`super::guest::Guest`].
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum BatchHandle {}
