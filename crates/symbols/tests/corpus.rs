//! Replays the fuzz corpus, as it is and damaged in many ways: nothing may panic, hang or fill memory.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outpost_symbols::Wildcard;
use outpost_symbols::fuzz::{fuzz_dwarf_info, fuzz_dwarf_line, fuzz_dwo, fuzz_dwp, fuzz_elf, fuzz_index};

/// Damaged copies made of each seed; more of them by the environment variable of that name, for a soak.
const COPIES: u64 = 60;
const COPIES_VARIABLE: &str = "OUTPOST_FUZZ_COPIES";
/// Longest that one input may take, by far.
const DEADLINE: Duration = Duration::from_secs(10);

fn replay(target: &str, body: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let mut seeds: Vec<PathBuf> =
        std::fs::read_dir(directory).expect("has seeds").map(|entry| entry.expect("reads").path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    for seed in seeds {
        replay_damaged(&seed, &std::fs::read(&seed).expect("reads"), body);
    }
}

fn replay_damaged(seed: &Path, bytes: &[u8], body: fn(&[u8])) {
    let copies = std::env::var(COPIES_VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(COPIES);
    timed(seed, 0, bytes, body);
    for copy in 1..=copies {
        timed(seed, copy, &damaged(bytes, copy), body);
    }
}

fn timed(seed: &Path, copy: u64, bytes: &[u8], body: fn(&[u8])) {
    let start = Instant::now();
    let panicked = std::panic::catch_unwind(|| body(bytes)).is_err();
    assert!(!panicked, "{} copy {copy}", seed.display());
    assert!(start.elapsed() < DEADLINE, "{} copy {copy} took {:?}", seed.display(), start.elapsed());
}

/// A copy with a few bytes changed, and sometimes cut, the same each time.
fn damaged(bytes: &[u8], copy: u64) -> Vec<u8> {
    let mut state = copy.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..=next() % 8 {
        let at = (next() % bytes.len() as u64) as usize;
        bytes[at] = match next() % 4 {
            0 => 0xff,
            1 => 0,
            2 => bytes[at] ^ (1 << (next() % 8)),
            _ => next() as u8,
        };
    }
    if next() % 8 == 0 {
        let len = (next() % bytes.len() as u64) as usize;
        bytes.truncate(len);
    }
    bytes
}

#[test]
fn elf() {
    replay("elf", fuzz_elf);
}

#[test]
fn dwarf_info() {
    replay("dwarf_info", fuzz_dwarf_info);
}

#[test]
fn dwarf_line() {
    replay("dwarf_line", fuzz_dwarf_line);
}

#[test]
fn dwo() {
    replay("dwo", fuzz_dwo);
}

#[test]
fn dwp() {
    replay("dwp", fuzz_dwp);
}

#[test]
fn index() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/elf/gcc5");
    let cache = tempfile::tempdir().expect("temporary directory");
    assert!(!support::module_cached(&seed, cache.path()).symbols_matching(&Wildcard::new("*")).is_empty());
    let made = std::fs::read_dir(cache.path().join("index")).expect("is made").next().expect("has one").expect("reads");
    replay_damaged(&seed, &std::fs::read(made.path()).expect("reads"), fuzz_index);
}
