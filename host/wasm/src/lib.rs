//! holdfast-wasm
