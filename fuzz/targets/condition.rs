//! Fuzz target: condition code that is accepted ends by itself and never panics.
#![no_main]

use outpost_base::{Arch, RegisterContext, SliceMemory, Va};
use outpost_target::condition::Condition;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(condition) = Condition::verify(data.to_vec()) {
        let mut memory = SliceMemory { start: Va(0), bytes: data };
        let _ = condition.evaluate(&RegisterContext::new(Arch::X86_64), &mut memory);
    }
});
