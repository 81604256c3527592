//! Fuzz target; the body is a library function, whose seeds also replay in `cargo test`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outpost_symbols::fuzz::fuzz_dwo(data));
