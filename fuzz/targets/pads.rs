//! Fuzz target; the body is a library function, which properties try in `cargo test`, too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outpost_engine::code::fuzz_pads(data));
