//! The memory of an instance, counted and bounded.

use wasmtime::ResourceLimiter;

/// The plugin wanted more memory than it may have.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it wanted {wanted_bytes} bytes of memory, and may have {bytes_max} (memory_bytes_max)")]
pub(super) struct MemoryExhausted {
    wanted_bytes: usize,
    bytes_max: usize,
}

/// How many elements all tables of an instance may have; each takes a pointer.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Counts the memories of one instance together.
#[derive(Debug)]
pub(super) struct Memory {
    bytes: usize,
    bytes_max: usize,
}

impl Memory {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes: 0, bytes_max }
    }

    /// How much it holds, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            // Guests seldom look whether growing failed; a fault says it plainly.
            let exhausted = MemoryExhausted { wanted_bytes: bytes, bytes_max: self.bytes_max };
            return Err(exhausted.into());
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }
}
