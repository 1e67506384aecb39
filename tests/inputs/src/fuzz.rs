//! The fuzzer's program: libFuzzer with one of the targets, named by the
//! environment, so that one build serves all of them.
#![no_main]

use std::sync::OnceLock;

use holdfast_inputs::{Entry, target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    static ENTRY: OnceLock<Entry> = OnceLock::new();
    let entry = ENTRY.get_or_init(|| {
        let name = std::env::var("HOLDFAST_FUZZ").unwrap_or_default();
        target(&name).expect("HOLDFAST_FUZZ names a target")
    });
    entry(data);
});
