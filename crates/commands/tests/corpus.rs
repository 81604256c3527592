//! Replays the fuzz corpus of command lines, as it is and changed in many ways: no line may panic, hang or fill memory.

use std::path::Path;
use std::time::{Duration, Instant};

use outpost_commands::fuzz::fuzz_command_line;

/// Changed copies made of each seed; more of them by the environment variable of that name, for a soak.
const COPIES: u64 = 40;
const COPIES_VARIABLE: &str = "OUTPOST_FUZZ_COPIES";
/// Longest that one input may take, by far.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn command_lines() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/command_line");
    let mut seeds: Vec<_> =
        std::fs::read_dir(directory).expect("has seeds").map(|entry| entry.expect("reads").path()).collect();
    seeds.sort();
    assert!(seeds.len() >= 8);
    let copies = std::env::var(COPIES_VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(COPIES);
    for seed in seeds {
        let bytes = std::fs::read(&seed).expect("reads");
        for copy in 0..=copies {
            let input = if copy == 0 { bytes.clone() } else { changed(&bytes, copy) };
            let start = Instant::now();
            let panicked = std::panic::catch_unwind(|| fuzz_command_line(&input)).is_err();
            let shown = String::from_utf8_lossy(&input);
            assert!(!panicked, "{} copy {copy}:\n{shown}", seed.display());
            assert!(start.elapsed() < DEADLINE, "{} copy {copy} took {:?}:\n{shown}", seed.display(), start.elapsed());
        }
    }
}

/// A copy in which pieces are moved, doubled, left out and replaced by what means something, the same each time.
fn changed(bytes: &[u8], copy: u64) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "*",
        "~*",
        "\"",
        ";",
        " L?ffffffffffffffff ",
        "-1",
        "0",
        "@rsp",
        "(",
        "/",
        "!",
        "`",
        " -",
        "é",
        "ffffffffffffffff",
        ".",
    ];
    let mut state = copy.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..=next(8) {
        let at = next(bytes.len());
        let len = next(12).min(bytes.len() - at);
        match next(4) {
            0 => drop(bytes.drain(at..at + len)),
            1 => {
                let piece = bytes[at..at + len].to_vec();
                let to = next(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            2 => drop(bytes.splice(at..at, WORDS[next(WORDS.len())].bytes())),
            _ if at < bytes.len() => bytes[at] = next(256) as u8,
            _ => {}
        }
    }
    bytes
}
