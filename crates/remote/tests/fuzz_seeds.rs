//! The seeds of the fuzz targets `server_session` and `client_session`, and a run of changed ones, as an ordinary test.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;
#[path = "common/hostile.rs"]
mod hostile;

use std::path::Path;

use hostile::{client_session, server_session};
use outpost_wire::{FrameReader, HEADER_LEN, Kind, MAX_FRAME};

/// What one side of the captured conversation says behind the frame of this kind.
fn seed(side: &str, after: Kind) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/0.1.0").join(side);
    let bytes = std::fs::read(path).unwrap();
    let mut reader = FrameReader::new(MAX_FRAME);
    let (mut source, mut at) = (bytes.as_slice(), 0);
    while !source.is_empty() {
        reader.fill_from(&mut source).unwrap();
    }
    loop {
        let frame = reader.next_frame().unwrap().unwrap();
        at += frame.len();
        if frame.header.kind == after.number() {
            return bytes[at..].to_vec();
        }
    }
}

/// The client's. It comes at once here, so that nothing is seen yet when it comes, and has no goodbye, which cuts off
/// answers.
fn client() -> Vec<u8> {
    let mut bytes = seed("client", Kind::OpenSession);
    bytes.truncate(bytes.len() - HEADER_LEN);
    let mut at = 0;
    while at < bytes.len() {
        bytes[at + 24..at + 32].fill(0);
        at += 4 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    [&[0][..], &bytes].concat()
}

/// Copies in which bytes were changed, left out and doubled; the same each time.
fn changed(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let rounds: usize = std::env::var("OUTPOST_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    (0..rounds).map(move |_| {
        let mut copy = bytes.to_vec();
        for _ in 0..=random(6) {
            let at = random(copy.len());
            let end = (at + random(60)).min(copy.len());
            match random(6) {
                0 => copy[at] = random(256) as u8,
                1 => copy[at] ^= 1 << random(8),
                2 => copy.truncate(at.max(1)),
                3 => copy.extend_from_within(at..end),
                4 if at > 0 => drop(copy.drain(at..end)),
                _ => copy[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)],
            }
        }
        copy
    })
}

/// Where a fuzzer begins: `OUTPOST_WRITE_SEEDS=FOLDER` writes what `./x fuzz` starts from.
#[test]
fn seeds_can_be_written() {
    let Some(folder) = std::env::var_os("OUTPOST_WRITE_SEEDS") else { return };
    for (target, bytes) in [("server_session", client()), ("client_session", seed("server", Kind::SessionOpened))] {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("capture"), bytes).unwrap();
    }
}

#[test]
fn what_a_client_sends_does_the_server_no_harm() {
    let (answers, end) = server_session(&client());
    assert_eq!(answers, 15, "the opening, 13 answers, a stop: {end}");
    for data in changed(&client()) {
        server_session(&data);
    }
}

#[test]
fn what_a_server_sends_does_the_client_no_harm() {
    let seed = seed("server", Kind::SessionOpened);
    assert_eq!(client_session(&seed), 11, "of those that the server of the capture could answer");
    for data in changed(&seed) {
        client_session(&data);
    }
}
