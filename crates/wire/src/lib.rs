//! The Outpost wire between a smart client and a process server: bytes in, values out, no sockets.
//!
//! Given bytes from the other end, this crate gives [`Request`]s, [`Reply`]s and [`Event`](outpost_target::Event)s in
//! the vocabulary of `outpost-target`; given those, it gives bytes. It has the frame ([`Header`], [`FrameReader`],
//! [`FrameQueue`]), the messages (schema in `proto/outpost.proto`, which never leaves this crate), and both sides of the
//! handshake ([`ClientHandshake`], [`ServerHandshake`]). When to send what, to wait, to resend and to cache is for the
//! `server` and `remote` crates. `docs/protocol.md` has the byte layouts and the table of messages.
//!
//! The other end is taken as hostile: a frame is refused by its length before it is read, every length inside it is
//! checked before anything is allocated for it, and no bytes make this crate panic.

mod auth;
mod convert;
mod error;
mod frame;
pub mod fuzz;
mod handshake;
mod kind;
mod message;
mod proto;
mod stream;

pub use auth::{Key, NONCE_LEN};
pub use error::{VersionMismatch, WireError};
pub use frame::{Frame, HEADER_LEN, Header, RequestId};
pub use handshake::{
    Agreed, Capabilities, ClientHandshake, ClientStep, HANDSHAKE_FRAME, Identity, ListedServer, MAX_FRAME,
    MAX_REQUEST_FRAME, MAX_REQUESTS, OPEN_REQUEST, OnLost, OpenRequest, Opened, Opening, RELEASE, RefusalCode,
    ResumeKey, ResumeRequest, ServerHandshake, ServerKind, ServerList, ServerStep, TOKEN_LEN, VERSIONS, Wish,
    decode_servers, encode_bare, encode_opened, encode_query, encode_refusal, encode_resumed, encode_servers,
};
pub use kind::Kind;
pub use message::{
    Reply, Request, decode_event, decode_reply, decode_request, encode_event, encode_reply, encode_request, read_parts,
};
pub use stream::{FrameQueue, FrameReader, Payload};
