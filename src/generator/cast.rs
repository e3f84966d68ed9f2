//! Numbers of the generator that are known to fit.

/// An index or length that is below [`super::FILES_MAX`] or another 32-bit limit.
pub(super) fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("the tree's tables have fewer than 2^32 entries")
}

/// The whole part of a number that is not negative and below 2^32.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
#[expect(clippy::cast_sign_loss, reason = "callers pass no negative number")]
pub(super) fn floor(number: f64) -> u32 {
    number as u32
}
