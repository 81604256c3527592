//! Fuzz target: a server's session, whose client is hostile; `crates/remote/tests/fuzz_seeds.rs` replays its seeds in `cargo test`.
#![no_main]

#[path = "../../crates/remote/tests/common/mod.rs"]
mod common;
#[path = "../../crates/remote/tests/common/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    hostile::server_session(data);
});
