//! The host of WebAssembly plugins: runs one filter over one batch, and contains whatever it does.
//!
//! The interface is `wit/plugin.wit`. A plugin is a component, or the bare core module that a plain
//! `cargo build --target wasm32-unknown-unknown` makes, which becomes a component here.
//!
//! ```text
//! bytes ─► Plugin ─────────────────────────► Instance ──────────► run(batch) ─► Answer
//!          compiled, linked, described      settings accepted               └─► Fault
//! ```
//!
//! What a plugin can do is bounded on each way: its time by epochs (counted in the thread's own
//! processor time, so that a busy machine faults nobody), its memory by a limiter, the size of its
//! answers and their number by budgets of the calls to the host. It is given nothing but its batch
//! and its settings: names of WASI that it imports are linked to functions that refuse. An answer
//! is checked before anybody sees it. After a [`Fault`] an instance is dead, and the next one takes
//! microseconds to start.
//!
//! Only this module imports wasmtime. The policy (what becomes of the events of a faulted batch,
//! caches, retirement) is that of `filters`.

mod answer;
mod bindings;
mod clock;
mod description;
mod engine;
mod fault;
mod guest;
mod handle;
mod instance;
mod interface;
mod memory;
mod module;
mod plugin;
mod sealed;

pub use answer::{Answer, Edit, Label, Verdict};
pub use clock::thread_time;
pub use description::{Description, LoadError};
pub use engine::{Engine, EngineError, Metering};
pub use fault::Fault;
pub use instance::{Instance, Limits, SettingsError, StartError};
pub use interface::VERSION;
pub use plugin::Plugin;
