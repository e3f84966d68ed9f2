//! The engine that all plugins of a process share, and the clock of their deadlines.

use std::sync::Arc;

use wasmtime::{Config, OptLevel};

use super::clock::TICK;
use super::interface;

/// The stack of a plugin, in bytes.
const STACK_BYTES_MAX: usize = 512 << 10;

/// How the work of a plugin is measured and bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metering {
    /// By time: what the daemon does.
    Deadline,
    /// By instructions, which are the same on every machine: what `qatime plugin check` does.
    Fuel,
}

/// The engine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The processor or the system lacks what compiled plugins need.
    #[error("this machine cannot run WebAssembly plugins: {0:#}")]
    Unsupported(wasmtime::Error),
    /// There is no thread for the clock.
    #[error("no thread for the deadlines of plugins")]
    Clock(#[source] std::io::Error),
}

/// Compiles plugins and runs them. A clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
    pub(super) metering: Metering,
    key: Arc<str>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("metering", &self.metering).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine, and a thread for its deadlines that ends with it.
    ///
    /// # Errors
    /// Where this machine cannot run compiled plugins, or gives no thread.
    pub fn new(metering: Metering) -> Result<Self, EngineError> {
        let engine = wasmtime::Engine::new(&config(metering)).map_err(EngineError::Unsupported)?;
        if metering == Metering::Deadline {
            let weak = engine.weak();
            let tick = move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop::<wasmtime::Engine>(engine);
                    std::thread::sleep(TICK);
                }
            };
            let clock = std::thread::Builder::new().name("plugin-clock".to_owned());
            let _detached = clock.spawn(tick).map_err(EngineError::Clock)?;
        }
        let key = key(&engine);
        Ok(Self { engine, metering, key })
    }

    /// What compiled code depends on beside the plugin itself, as a word for the name of a file:
    /// code of another key is of no use to this engine.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn config(metering: Metering) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        // Same input, same result, on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .concurrency_support(false)
        .max_wasm_stack(STACK_BYTES_MAX)
        .epoch_interruption(metering == Metering::Deadline)
        .consume_fuel(metering == Metering::Fuel);
    config
}

/// The engine's own word for what its compiled code is compatible with, and the interface.
fn key(engine: &wasmtime::Engine) -> Arc<str> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    interface::VERSION.hash(&mut hasher);
    format!("{:016x}", hasher.finish()).into()
}
