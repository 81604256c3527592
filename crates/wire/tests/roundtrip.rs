//! Whatever a target's vocabulary can say arrives as it was sent, and version 1 stays what it is.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use outpost_wire::{
    Kind, Reply, decode_event, decode_reply, decode_request, encode_event, encode_reply, encode_request, fuzz,
};
use support::{Values, frame_bytes, reader_of};

/// Values tried of each kind.
const SEEDS: u64 = 300;

#[test]
fn requests_arrive() {
    let mut kinds = 0;
    for &kind in Kind::ALL {
        for seed in 0..SEEDS {
            let Some(request) = Values::new(seed).request(kind) else { break };
            assert_eq!(request.kind(), kind);
            let bytes = frame_bytes(encode_request(request.clone()));
            assert_eq!(decode_request(&reader_of(&bytes).next_frame().unwrap().unwrap()), Ok(request));
            kinds += u64::from(seed == 0);
        }
    }
    assert_eq!(kinds, 33, "every kind of request is tried");
}

#[test]
fn replies_and_failures_arrive() {
    for &kind in Kind::ALL {
        for seed in 0..SEEDS {
            let Some(reply) = Values::new(seed).reply(kind) else { break };
            let failure = Reply::Failed(Values::new(seed).error());
            for reply in [reply, failure] {
                let bytes = frame_bytes(encode_reply(kind, reply.clone()));
                assert_eq!(decode_reply(kind, &reader_of(&bytes).next_frame().unwrap().unwrap()), Ok(reply));
            }
        }
    }
}

#[test]
fn events_arrive() {
    for seed in 0..SEEDS * 6 {
        let event = Values::new(seed).event();
        let bytes = frame_bytes(encode_event(event.clone()).unwrap());
        assert_eq!(decode_event(&reader_of(&bytes).next_frame().unwrap().unwrap()), Ok(event));
    }
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let bytes = frame_bytes(encode_reply(Kind::Clock, Reply::Clock { time_us: 1, uptime_us: 2 }));
    let mut reader = reader_of(&bytes);
    let frame = reader.next_frame().unwrap().unwrap();
    assert!(decode_reply(Kind::Threads, &frame).is_err());
    assert!(decode_request(&frame).is_err() && decode_event(&frame).is_err());
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

/// Frames of every kind, as they are sent: requests, their replies, failures, events.
fn every_kind() -> Vec<u8> {
    let mut bytes = Vec::new();
    for &kind in Kind::ALL {
        for seed in [3, 8] {
            let request = Values::new(seed).request(kind).map(encode_request);
            let reply = Values::new(seed).reply(kind).map(|reply| encode_reply(kind, reply));
            request.into_iter().chain(reply).for_each(|payload| bytes.extend(frame_bytes(payload)));
        }
    }
    for seed in 0..60 {
        bytes.extend(frame_bytes(encode_reply(Kind::Kill, Reply::Failed(Values::new(seed).error()))));
        bytes.extend(encode_event(Values::new(seed).event()).into_iter().flat_map(frame_bytes));
    }
    bytes
}

/// The capture is what a program of this release sends; a later one must understand it. It is written once for each
/// version of the protocol (`OUTPOST_WRITE_CAPTURE=1`), never to make this test pass.
#[test]
fn frames_of_version_1_are_understood_and_sent_alike() {
    let path = captures().join("version1");
    if std::env::var_os("OUTPOST_WRITE_CAPTURE").is_some() {
        std::fs::write(&path, every_kind()).unwrap();
    }
    let bytes = std::fs::read(&path).unwrap();
    let mut reader = reader_of(&bytes);
    let mut kinds = BTreeSet::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        let number = frame.header.kind;
        kinds.insert(number);
        let again = match Kind::of(number & 0x7fff).unwrap_or(Kind::Failed) {
            kind if kind.is_event() => encode_event(decode_event(&frame).unwrap()).unwrap(),
            kind if number & 0x8000 == 0 => encode_request(decode_request(&frame).map_err(|e| (kind, e)).unwrap()),
            kind => encode_reply(kind, decode_reply(kind, &frame).map_err(|e| (kind, e)).unwrap()),
        };
        assert_eq!(again.kind, number);
        assert!(again.message == frame.message && again.tail.concat() == frame.tail, "{number:#06x} is sent otherwise");
    }
    assert_eq!(kinds.len(), 30 + 29 + 1 + 6, "requests, replies, the failure, events: {kinds:04x?}");
}

#[test]
fn damaged_captures_are_refused_or_understood() {
    let copies = std::env::var("OUTPOST_FUZZ_COPIES").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    let seed = std::fs::read(captures().join("version1")).unwrap();
    for copy in 0..copies {
        let mut values = Values::new(copy);
        let mut bytes = vec![values.below(256) as u8];
        bytes.extend_from_slice(&seed);
        for _ in 0..=values.below(200) {
            let at = 1 + values.below(seed.len() as u64) as usize;
            bytes[at] = values.below(256) as u8;
        }
        // Somewhere in the middle, so that each copy begins with another frame.
        let frames = frame_starts(&seed);
        let from = frames[values.below(frames.len() as u64) as usize];
        bytes.drain(1..=from);
        fuzz::frames(&bytes);
    }
}

/// Handshakes with somebody between the two ends; the first of each pair is a seed of the fuzz target `handshake`.
#[test]
fn a_handshake_that_is_meddled_with_ends_in_no_session() {
    let long = [vec![0, 0, 0, 3, 200], vec![8; 200]].concat();
    let cases: [(&[u8], bool); 12] = [
        (&[0], true),
        (&[4], true),
        (&[1], false),
        (&[6], false),
        // One bit of the client's hello, of the server's, of the proof.
        (&[0, 2, 40, 1], false),
        (&[0, 0, 2, 20, 1], false),
        (&[0, 0, 0, 2, 5, 0x80], false),
        // A field behind the client's hello that means nothing; bytes before a frame; nothing at all.
        (&[0, 4, 2, 0xf8, 0x07], false),
        (&[0, 6, 3, 1, 2, 3], false),
        (&[0, 1], false),
        // The request is changed, after the proof: it is another one, and an honest one is not needed.
        (&[0, 0, 0, 0, 3, 2, 10, 0], true),
        (&long, false),
    ];
    for (data, opens) in cases {
        assert_eq!(fuzz::handshake(data), opens, "{data:?}");
        for copy in 0..200 {
            let mut values = Values::new(copy);
            let mut changed = data.to_vec();
            for _ in 0..=values.below(6) {
                let at = values.below(changed.len() as u64) as usize;
                match values.below(3) {
                    0 => changed[at] = values.below(256) as u8,
                    1 => changed.insert(at, values.below(8) as u8),
                    _ => changed.extend((0..values.below(20)).map(|byte| byte as u8)),
                }
            }
            fuzz::handshake(&changed);
        }
    }
}

fn frame_starts(bytes: &[u8]) -> Vec<usize> {
    let mut reader = reader_of(bytes);
    let mut starts = vec![0];
    while let Some(frame) = reader.next_frame().unwrap() {
        starts.push(starts[starts.len() - 1] + frame.len());
    }
    starts.pop();
    starts
}
