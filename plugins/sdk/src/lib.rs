//! Filters for qatime, in Rust.
//!
//! A filter is handed the audit events that reach it, in batches, and says of each one whether it
//! is kept. It can put other bytes into an event's columns and attach labels. It runs in a sandbox:
//! it reads no file, no clock and no network, and all that it does is its answer.
//!
//! # A filter
//!
//! ```
//! use qatime_plugin::{Change, Column, Event, EventFilter, SettingsError, Verdict};
//! use serde::Deserialize;
//!
//! /// Drops what a list of users did.
//! #[derive(Debug)]
//! pub struct DropUsers {
//!     users: Vec<String>,
//! }
//!
//! /// `settings = { users = ["backup", "scanner"] }` in the TOML file.
//! #[derive(Debug, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! pub struct Settings {
//!     users: Vec<String>,
//! }
//!
//! impl EventFilter for DropUsers {
//!     type Settings = Settings;
//!     const COLUMNS: &'static [Column] = &[Column::User];
//!
//!     fn new(settings: Settings) -> Result<Self, Vec<SettingsError>> {
//!         if settings.users.is_empty() {
//!             return Err(vec![SettingsError::new("/users", "names no user")]);
//!         }
//!         Ok(Self { users: settings.users })
//!     }
//!
//!     fn event(&mut self, event: Event<'_>, change: &mut Change<'_>) -> Verdict {
//!         let user = event.bytes(Column::User);
//!         if self.users.iter().any(|name| name.as_bytes() == user) {
//!             return Verdict::Discard;
//!         }
//!         if user.is_empty() {
//!             change.label("user", "unknown");
//!         }
//!         Verdict::Keep
//!     }
//! }
//!
//! qatime_plugin::export!(DropUsers);
//! ```
//!
//! The crate is a `cdylib` (the plugin) and an `rlib` (for its tests):
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//! ```
//!
//! `cargo build --release --target wasm32-unknown-unknown` makes the plugin; qatime takes the
//! `.wasm` file as it is. Its name, version and summary are the package's own name, version and
//! description.
//!
//! # Tests
//!
//! Away from WebAssembly a filter is an ordinary type, and `cargo test` runs it as such:
#![cfg_attr(not(target_family = "wasm"), doc = "[`testing`] has events to hand to it,")]
#![cfg_attr(target_family = "wasm", doc = "`testing` has events to hand to it,")]
//! and runs the files in `cases/` that `qatime plugin test` runs on the built plugin.
//!
//! # What is good to know
//!
//! - [`EventFilter`] is enough for most. [`BatchFilter`] sees a batch as columns: a buffer that holds all
//!   paths can be searched at once.
//! - Columns are bytes. File names need not be UTF-8, and a filter that guards anything compares bytes.
//! - The settings are checked when the configuration is read. An error names its place as a JSON pointer, and the
//!   operator sees it with the line in the TOML file.
//! - A panic, an error of `run`, too much memory or too much time is a fault. The instance is
//!   dropped, the batch is run again in parts on new ones, and what fails by itself is treated as the
//!   operator's `on_fault` says. The text of a panic is in the log.
//! - There is one instance a worker, and instances are replaced now and then: what a filter remembers,
//!   it remembers within one instance.
//! - `HashMap` works, with the same seed in every instance; clocks and random numbers do not exist.

mod batch;
mod filter;
pub mod log;
pub mod settings;

/// The interface as generated from `wit/`: what the host calls, and what it offers.
#[cfg(target_family = "wasm")]
#[expect(missing_docs, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "qatime_plugin::bindings",
    });
}
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use batch::{Batch, Column, ColumnError, Event, NumberColumn, TextColumn};
pub use filter::{Answer, BatchFilter, Change, Edit, EventFilter, Label, Verdict};
pub use settings::{NoSettings, SettingsError};

/// Makes a filter the plugin of this crate. Once, at the top of `src/lib.rs`; elsewhere than in
/// WebAssembly it does nothing.
#[macro_export]
macro_rules! export {
    ($filter:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::exports::qatime::plugin::filter::{
                ConfigError, Description, Guest, Outcome,
            };

            ::std::thread_local! {
                static FILTER: ::std::cell::RefCell<Option<$filter>> =
                    const { ::std::cell::RefCell::new(None) };
            }

            struct Plugin;

            impl Guest for Plugin {
                fn describe() -> Description {
                    $crate::guest::describe::<$filter>(
                        env!("CARGO_PKG_NAME"),
                        env!("CARGO_PKG_VERSION"),
                        env!("CARGO_PKG_DESCRIPTION"),
                    )
                }

                fn init(settings: String) -> Result<(), Vec<ConfigError>> {
                    FILTER.with_borrow_mut(|filter| $crate::guest::init(filter, &settings))
                }

                fn run(
                    batch: &$crate::bindings::qatime::plugin::batches::Batch,
                ) -> Result<Outcome, String> {
                    FILTER.with_borrow_mut(|filter| $crate::guest::run(filter, batch))
                }
            }

    $crate::bindings::export_bindings!(Plugin with_types_in $crate::bindings);
        };
    };
}
