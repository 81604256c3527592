//! The fuzz target's seeds and a run of changed ones, as an ordinary test.

mod common;

use common::*;
use outpost_unwind::fuzz_unwind;

/// Inputs of [`fuzz_unwind`] that reach each part.
fn seeds() -> Vec<Vec<u8>> {
    let code = [
        // push rbp; mov rbp, rsp; push rbx; sub rsp, 0x28; and rsp, -32; call .; je .-8; add rsp, 0x28; leave; ret
        0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 0x28, 0x48, 0x83, 0xe4, 0xe0, 0xe8, 0, 0, 0, 0, 0x74, 0xf6,
        0x48, 0x83, 0xc4, 0x28, 0xc9, 0xc3,
    ];
    let trampoline = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
    let mut stack = code.to_vec();
    stack.extend(trampoline);
    for word in 0..64_u64 {
        // Return addresses into the code, frame pointers along the stack, small numbers.
        let value = [0x4000_1012, 0x7000_0000 + 16 * word, word][word as usize % 3];
        stack.extend(value.to_le_bytes());
    }
    let programs = [
        vec![op::advance(1), op::def_cfa_offset(16), op::offset(RBP, 2), op::advance(3), op::def_cfa_register(RBP)],
        vec![op::def_cfa_expression(&[0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22])],
        vec![op::remember(), op::advance(4), op::restore_state(), op::in_register(RA, RAX), op::val_offset(RBX, 1)],
        vec![op::expression(RBP, &[0x76, 0]), op::val_expression(RBX, &[0x06]), op::undefined(RA), op::same_value(12)],
        vec![op::offset_extended_sf(15, -3), op::gnu_args_size(8), op::restore(RBX)],
    ];
    let mut seeds = Vec::new();
    for (index, program) in programs.iter().enumerate() {
        let mut fdes = vec![fde(0x1000, 0x60, program), fde(0x1060, 0x40, &programs[0])];
        fdes[0].is_signal_frame = index == 3;
        let (frame, offsets) = eh_frame(&fdes);
        let header = eh_frame_hdr(&fdes, &offsets);
        for parts in [[&frame[..], &header, &[]], [&frame, &[], &[]], [&[], &[], &frame], [&[], &[], &[]]] {
            let lengths: Vec<u8> = parts.iter().flat_map(|part| (part.len() as u16).to_le_bytes()).collect();
            seeds.push([&lengths[..], &parts.concat(), &stack].concat());
        }
    }
    seeds
}

#[test]
fn seeds_and_their_mutations_do_no_harm() {
    // A fixed sequence (xorshift64), so that a failure comes again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let rounds: usize = std::env::var("OUTPOST_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    for seed in seeds() {
        fuzz_unwind(&seed);
        for _ in 0..rounds {
            let mut changed = seed.clone();
            for _ in 0..=random(6) {
                let at = random(changed.len());
                match random(4) {
                    0 => changed[at] = random(256) as u8,
                    1 => changed[at] ^= 1 << random(8),
                    2 => changed.truncate(at.max(6)),
                    _ => {
                        let byte = [0, 0xff, 0x7f, 0x80][random(4)];
                        let end = (at + random(9)).min(changed.len());
                        changed[at..end].fill(byte);
                    }
                }
            }
            fuzz_unwind(&changed);
        }
    }
}
