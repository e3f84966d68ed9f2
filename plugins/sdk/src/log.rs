//! The log of the daemon. Under `cargo test` it is standard error.

use std::fmt;

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Each step, for who writes the filter.
    Trace,
    /// Details, for who writes the filter.
    Debug,
    /// What an operator wants to know once.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

/// Whether messages of a level are written at all.
#[must_use]
pub fn enabled(level: Level) -> bool {
    #[cfg(target_family = "wasm")]
    return crate::guest::log_enabled(level);
    #[cfg(not(target_family = "wasm"))]
    return level >= Level::Info;
}

/// Writes a message if its level is enabled. The macros [`trace!`](crate::trace), [`debug!`](crate::debug),
/// [`info!`](crate::info), [`warn!`](crate::warn) and [`error!`](crate::error) are shorter. The host cuts a message
/// after 4 KiB, escapes control characters, and drops and counts what is too much.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if enabled(level) {
        #[cfg(target_family = "wasm")]
        crate::guest::log_write(level, &message.to_string());
        #[cfg(not(target_family = "wasm"))]
        eprintln!("{level:?}: {message}");
    }
}

/// Writes to the log at level trace.
#[macro_export]
macro_rules! trace {
    ($($message:tt)*) => { $crate::log::write($crate::log::Level::Trace, format_args!($($message)*)) };
}

/// Writes to the log at level debug.
#[macro_export]
macro_rules! debug {
    ($($message:tt)*) => { $crate::log::write($crate::log::Level::Debug, format_args!($($message)*)) };
}

/// Writes to the log at level info.
#[macro_export]
macro_rules! info {
    ($($message:tt)*) => { $crate::log::write($crate::log::Level::Info, format_args!($($message)*)) };
}

/// Writes to the log at level warn.
#[macro_export]
macro_rules! warn {
    ($($message:tt)*) => { $crate::log::write($crate::log::Level::Warn, format_args!($($message)*)) };
}

/// Writes to the log at level error.
#[macro_export]
macro_rules! error {
    ($($message:tt)*) => { $crate::log::write($crate::log::Level::Error, format_args!($($message)*)) };
}
