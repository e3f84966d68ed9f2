//! The interface of plugins as Rust types, made from `wit/plugin.wit`.

wasmtime::component::bindgen!({
    path: "wit",
    world: "plugin",
    ownership: Borrowing { duplicate_if_necessary: false },
    imports: { default: trappable },
    with: { "qatime:plugin/batches.batch": super::handle::BatchHandle },
});
