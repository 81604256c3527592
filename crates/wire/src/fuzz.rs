//! What a fuzzer calls, so that its corpus also replays as an ordinary test.

use std::io::Read;

use crate::frame::Frame;
use crate::handshake::{ClientHandshake, ClientStep, HANDSHAKE_FRAME, Identity, ServerHandshake, ServerStep};
use crate::stream::{FrameQueue, FrameReader};
use crate::{
    Header, Key, Kind, NONCE_LEN, Payload, ResumeKey, Wish, decode_event, decode_reply, decode_request, decode_servers,
    encode_event, encode_reply, encode_request, encode_resumed, encode_servers,
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

/// Lets a client and a server shake hands with somebody between them who does what `data` says: passes a message on,
/// changes it, puts another in its place, adds to it, or drops it. The first byte says whether the client knows the
/// password, whether the server offers to resume, and what the client wishes. Gives whether it came to a session.
///
/// # Panics
/// If it did although the client does not know the password, or although a hello was changed on its way: that, and any
/// fault of either side, is what is looked for.
pub fn handshake(data: &[u8]) -> bool {
    let (mode, data) = data.split_first().map_or((0, data), |(&mode, rest)| (mode, rest));
    let knows = mode & 1 == 0;
    let password = if knows { "" } else { "another" };
    let key = Key::derive(password, b"salt", 1);
    let mut server = ServerHandshake::new(key, b"salt", [2; NONCE_LEN]).offering_resume(mode & 2 == 0);
    let wish = match mode & 4 {
        0 => Wish::Open { take_command_line: mode & 8 == 0, on_lost: None, opening: crate::Opening::default() },
        _ => Wish::Resume(ResumeKey { session: 1, token: vec![7; 16] }),
    };
    let (mut client, hello) = ClientHandshake::start("", [1; NONCE_LEN], Identity::default(), wish);
    let mut between = Between { data, hellos_are_whole: true };
    let (mut at_server, mut at_client) = (FrameReader::new(HANDSHAKE_FRAME), FrameReader::new(HANDSHAKE_FRAME));
    let (mut to_server, mut opened) = (vec![hello], false);
    while !to_server.is_empty() {
        let mut to_client = Vec::new();
        between.carry(std::mem::take(&mut to_server), &mut at_server, |frame, hellos_are_whole| {
            match server.handle(frame) {
                ServerStep::Send(payload) | ServerStep::Refuse(payload, _) => to_client.push(payload),
                ServerStep::List => to_client.push(encode_servers(&[])),
                ServerStep::Open(_) | ServerStep::Resume(_) => {
                    assert!(knows && hellos_are_whole, "a session for somebody else");
                    to_client.push(encode_resumed(crate::RequestId(1)));
                    opened = true;
                }
            }
        });
        between.carry(to_client, &mut at_client, |frame, hellos_are_whole| match client.handle(frame) {
            Ok(ClientStep::Send { authenticate, open, .. }) => to_server.extend([authenticate, open]),
            Ok(ClientStep::Opened { .. } | ClientStep::Resumed { .. }) => {
                assert!(knows && hellos_are_whole, "a server that proved nothing");
            }
            Ok(ClientStep::Wait) | Err(_) => {}
        });
    }
    opened
}

/// Who sits between the two ends, and what is left to do.
struct Between<'a> {
    data: &'a [u8],
    /// Both hellos arrived as they were sent.
    hellos_are_whole: bool,
}

impl Between<'_> {
    fn byte(&mut self) -> u8 {
        self.data.split_off_first().copied().unwrap_or_default()
    }

    /// Brings messages to `reader`, and what arrives to `handle`, with whether the hellos arrived as they were sent.
    fn carry(&mut self, payloads: Vec<Payload>, reader: &mut FrameReader, mut handle: impl FnMut(&Frame<'_>, bool)) {
        for payload in payloads {
            let is_hello = [Kind::ClientHello.number(), Kind::ServerHello.number()].contains(&payload.kind);
            let hello = is_hello.then(|| payload.message.clone());
            let bytes = self.alter(payload);
            let mut source = bytes.as_slice();
            while !source.is_empty() && reader.fill_from(&mut source).is_ok() {
                while let Ok(Some(frame)) = reader.next_frame() {
                    self.hellos_are_whole &= hello.as_ref().is_none_or(|hello| hello == frame.message);
                    handle(&frame, self.hellos_are_whole);
                }
            }
        }
    }

    /// The bytes that arrive in place of a message.
    fn alter(&mut self, mut payload: Payload) -> Vec<u8> {
        let deed = self.byte();
        let count = match deed % 8 {
            3..=6 => usize::from(self.byte()).min(self.data.len()),
            _ => 0,
        };
        let given = self.data.split_off(..count).unwrap_or_default();
        match deed % 8 {
            1 => return Vec::new(),
            2 => {
                let at = usize::from(self.byte()).min(payload.message.len().saturating_sub(1));
                let flipped = self.byte();
                payload.message.get_mut(at).into_iter().for_each(|byte| *byte ^= flipped);
            }
            3 => given.clone_into(&mut payload.message),
            4 => payload.message.extend(given),
            5 => return given.to_vec(),
            6 => return [given, &frame_bytes(Header::default(), payload)].concat(),
            _ => {}
        }
        frame_bytes(Header::default(), payload)
    }
}

/// A frame as it crosses the link.
#[expect(clippy::expect_used, reason = "a panic is how a fuzzer is told")]
fn frame_bytes(header: Header, payload: Payload) -> Vec<u8> {
    let mut queue = FrameQueue::new();
    queue.push(header, payload).expect("it fits");
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        queue.write_to(&mut bytes).expect("memory takes everything");
    }
    bytes
}

#[expect(clippy::expect_used, reason = "a panic is how a fuzzer is told")]
fn again(payload: Payload, check: impl FnOnce(&Frame<'_>)) {
    let len = payload.frame_len();
    let bytes = frame_bytes(Header::default(), payload);
    assert_eq!(bytes.len(), len);
    let mut reader = FrameReader::new(len);
    let mut source = bytes.as_slice();
    while !source.is_empty() {
        reader.fill_from(&mut source).expect("memory gives everything");
    }
    check(&reader.next_frame().expect("a frame").expect("a whole one"));
}
