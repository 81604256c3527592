//! What a fuzzer calls, so that its corpus also replays as an ordinary test.

use std::io::Read;

use crate::frame::Frame;
use crate::handshake::{ClientHandshake, Identity, ServerHandshake};
use crate::stream::{FrameQueue, FrameReader};
use crate::{
    Key, Kind, NONCE_LEN, ResumeKey, Wish, decode_event, decode_reply, decode_request, decode_servers, encode_event,
    encode_reply, encode_request, encode_servers,
};

/// Takes `data` as a stream from a hostile peer, in pieces whose size its first byte gives, and as every message there
/// is. What decodes must encode to a message that decodes to the same.
///
/// # Panics
/// If it does not, or on any fault of the decoders: that is what is looked for.
pub fn frames(data: &[u8]) {
    let Some((&step, mut rest)) = data.split_first() else { return };
    let mut reader = FrameReader::new(1 << 20);
    loop {
        let mut piece = (&mut rest).take(u64::from(step) + 1);
        match reader.fill_from(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => message(&frame),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn message(frame: &Frame<'_>) {
    if let Ok(request) = decode_request(frame) {
        again(encode_request(request.clone()), |frame| assert_eq!(decode_request(frame), Ok(request)));
    }
    if let Ok(event) = decode_event(frame)
        && let Some(payload) = encode_event(event.clone())
    {
        again(payload, |frame| assert_eq!(decode_event(frame), Ok(event)));
    }
    let number = frame.header.kind;
    let kind = if number == Kind::Failed.number() { Ok(Kind::Clock) } else { Kind::of(number & 0x7fff) };
    if let Ok(kind) = kind
        && let Ok(reply) = decode_reply(kind, frame)
    {
        again(encode_reply(kind, reply.clone()), |frame| assert_eq!(decode_reply(kind, frame), Ok(reply)));
    }
    if number <= Kind::Servers.number() {
        shake_hands(frame);
    }
}

fn shake_hands(frame: &Frame<'_>) {
    if let Ok(list) = decode_servers(frame) {
        let whole = list.servers.len();
        again(encode_servers(&list.servers), |frame| {
            assert!(decode_servers(frame).is_ok_and(|again| again.servers.len() <= whole));
        });
    }
    let mut server = ServerHandshake::new(Key::derive("", b"", 1), b"", [0; NONCE_LEN]).offering_resume(true);
    server.handle(frame);
    server.handle(frame);
    let (mut client, _) =
        ClientHandshake::start("", [0; NONCE_LEN], Identity::default(), Wish::Resume(ResumeKey::default()));
    let _ = client.handle(frame);
    let _ = client.handle(frame);
}

#[expect(clippy::expect_used, reason = "a panic is how a fuzzer is told")]
fn again(payload: crate::Payload, check: impl FnOnce(&Frame<'_>)) {
    let mut queue = FrameQueue::new();
    let len = payload.frame_len();
    queue.push(Default::default(), payload).expect("it fits");
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        queue.write_to(&mut bytes).expect("memory takes everything");
    }
    assert_eq!(bytes.len(), len);
    let mut reader = FrameReader::new(len);
    let mut source = bytes.as_slice();
    while !source.is_empty() {
        reader.fill_from(&mut source).expect("memory gives everything");
    }
    check(&reader.next_frame().expect("a frame").expect("a whole one"));
}
