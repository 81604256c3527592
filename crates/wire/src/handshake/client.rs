//! The client's side.

use std::time::Duration;

use super::resume::{CALLS, LOGS, PAGES, RESIZE, RESUME, STACK_ARGUMENTS, TIMES, decode_resumed, encode_resume};
use super::{
    Agreed, Capabilities, Identity, MAGIC, OnLost, Opened, Opening, RELEASE, RefusalCode, ResumeKey, VERSIONS, agree,
    limits,
};
use crate::auth::{Key, MAX_ITERATIONS, NONCE_LEN, Prover, Seen};
use crate::convert::{TailReader, required};
use crate::error::VersionMismatch;
use crate::frame::{Frame, RequestId};
use crate::message::{bundle_in, decode, payload};
use crate::stream::Payload;
use crate::{Kind, WireError, proto};

/// A client on its way to a session. Hand it each frame that arrives; do what its [`ClientStep`] says.
#[derive(Debug)]
pub struct ClientHandshake {
    password: String,
    identity: Identity,
    wish: Wish,
    hello: Vec<u8>,
    channel_binding: Vec<u8>,
    /// The server knows how to resize terminals.
    resizes_terminals: bool,
    /// The server knows the times of threads.
    tells_thread_times: bool,
    calls_functions: bool,
    passes_by_stack: bool,
    watches_by_pages: bool,
    has_jump_data: bool,
    state: State,
}

/// What a client wants once it has proved itself.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A session.
    Open {
        /// Take over the process creation that the server holds pending.
        take_command_line: bool,
        /// What becomes of it if its link is lost; `None`: the server's default.
        on_lost: Option<OnLost>,
        /// By what it is known from the beginning.
        opening: Opening,
    },
    /// A session that is there.
    Resume(ResumeKey),
}

#[derive(Debug)]
enum State {
    /// The hello is out.
    Hello,
    /// The proof is out.
    Proved { key: Key, server_hello: Vec<u8>, agreed: Agreed },
    /// The server proved itself.
    Trusted { agreed: Agreed },
    /// The session is open, or it failed.
    Over,
}

/// What a client does next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per connection")]
pub enum ClientStep {
    /// Send the proof, then the request for a session (its id is [`super::OPEN_REQUEST`]). Requests may follow.
    Send {
        /// First.
        authenticate: Payload,
        /// Second.
        open: Payload,
        /// What the other end takes.
        agreed: Agreed,
    },
    /// Wait for the next frame.
    Wait,
    /// Done.
    Opened {
        /// The session.
        opened: Opened,
        /// What the other end takes.
        agreed: Agreed,
    },
    /// Done: the session goes on; requests beyond this one, and all pure ones, are to be sent again.
    Resumed {
        /// Highest acting request that was carried out.
        carried_out: RequestId,
        /// What the other end takes.
        agreed: Agreed,
    },
}

impl ClientHandshake {
    /// Begins; the payload is the first frame to send. `nonce` must be random.
    pub fn start(password: &str, nonce: [u8; NONCE_LEN], identity: Identity, wish: Wish) -> (ClientHandshake, Payload) {
        let hello = proto::ClientHello {
            magic: MAGIC.to_vec(),
            versions: VERSIONS.to_vec(),
            release: RELEASE.to_owned(),
            features: [RESUME, RESIZE, TIMES, CALLS, STACK_ARGUMENTS, PAGES, LOGS].map(str::to_owned).to_vec(),
            limits: Some(limits(super::MAX_FRAME)),
            nonce: nonce.to_vec(),
        };
        let payload = payload(Kind::ClientHello, &hello);
        let handshake = ClientHandshake {
            password: password.to_owned(),
            identity,
            wish,
            hello: payload.message.clone(),
            channel_binding: Vec::new(),
            resizes_terminals: false,
            tells_thread_times: false,
            calls_functions: false,
            passes_by_stack: false,
            watches_by_pages: false,
            has_jump_data: false,
            state: State::Hello,
        };
        (handshake, payload)
    }

    /// Ties the proofs to the channel below, by what only its two ends know; empty: there is no such thing. To be called
    /// before the server's first frame is handled.
    pub fn bind_channel(&mut self, binding: &[u8]) {
        binding.clone_into(&mut self.channel_binding);
    }

    /// As a client of another release: this is what it said.
    #[cfg(test)]
    pub(super) fn having_said(mut self, hello: &Payload) -> ClientHandshake {
        hello.message.clone_into(&mut self.hello);
        self
    }

    fn seen<'a>(&'a self, server_hello: &'a [u8]) -> Seen<'a> {
        Seen { client_hello: &self.hello, server_hello, channel_binding: &self.channel_binding }
    }

    /// Handles a frame from the server.
    ///
    /// # Errors
    /// The server refused, is no server of ours, or did not prove itself. Nothing can follow an error.
    pub fn handle(&mut self, frame: &Frame<'_>) -> Result<ClientStep, WireError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        let kind = Kind::of(frame.header.kind);
        match (state, kind) {
            (State::Hello, Ok(Kind::ServerHello)) => self.prove(frame),
            (State::Proved { key, server_hello, agreed }, Ok(Kind::Authenticated)) => {
                let proof = decode::<proto::Authenticated>(frame)?.proof;
                if !key.accepts(Prover::Server, &self.seen(&server_hello), &proof) {
                    return Err(WireError::ServerNotAuthentic);
                }
                self.state = State::Trusted { agreed };
                Ok(ClientStep::Wait)
            }
            (State::Trusted { agreed }, Ok(Kind::SessionOpened)) => {
                let mut opened = opened(frame)?;
                opened.capabilities.resizes_terminals = self.resizes_terminals;
                opened.capabilities.tells_thread_times = self.tells_thread_times;
                opened.capabilities.calls_functions = self.calls_functions;
                opened.capabilities.passes_by_stack = self.passes_by_stack;
                opened.capabilities.watches_by_pages = self.watches_by_pages;
                opened.capabilities.has_jump_data = self.has_jump_data;
                Ok(ClientStep::Opened { opened, agreed })
            }
            (State::Trusted { agreed }, Ok(Kind::SessionResumed)) => {
                Ok(ClientStep::Resumed { carried_out: decode_resumed(frame)?, agreed })
            }
            (_, Ok(Kind::Refusal)) => Err(refused(frame)),
            (State::Hello, _) => Err(WireError::NotOutpost),
            _ => Err(WireError::UnexpectedKind { kind: frame.header.kind }),
        }
    }

    fn prove(&mut self, frame: &Frame<'_>) -> Result<ClientStep, WireError> {
        let hello: proto::ServerHello = decode(frame)?;
        if hello.magic != MAGIC {
            return Err(WireError::NotOutpost);
        }
        let has = |feature: &str| hello.features.iter().any(|name| name == feature);
        self.resizes_terminals = has(RESIZE);
        self.tells_thread_times = has(TIMES);
        self.calls_functions = has(CALLS);
        self.passes_by_stack = has(STACK_ARGUMENTS);
        self.watches_by_pages = has(PAGES);
        self.has_jump_data = has(LOGS);
        let known = VERSIONS.contains(&hello.version);
        let agreed = agree(hello.version, hello.limits, &hello.features)
            .filter(|_| known)
            .ok_or(WireError::Field { field: "limits" })?;
        if hello.nonce.len() != NONCE_LEN || !(1..=MAX_ITERATIONS).contains(&hello.iterations) {
            return Err(WireError::Field { field: "nonce" });
        }
        let key = Key::derive(&self.password, &hello.salt, hello.iterations);
        self.password.clear();
        let server_hello = frame.message.to_vec();
        let proof = key.proof(Prover::Client, &self.seen(&server_hello)).to_vec();
        let open = match &self.wish {
            Wish::Resume(_) if !agreed.resume => {
                return Err(WireError::Feature { feature: "sessions that outlive their link" });
            }
            Wish::Resume(key) => encode_resume(key, &self.identity),
            Wish::Open { take_command_line, on_lost, opening } => {
                let token = if agreed.resume { opening.token.clone() } else { Vec::new() };
                let open = proto::OpenSession {
                    user: self.identity.user.clone(),
                    host: self.identity.host.clone(),
                    take_command_line: *take_command_line,
                    on_lost: on_lost.filter(|_| agreed.resume).map(OnLost::to_message),
                    token,
                    again: opening.again,
                };
                payload(Kind::OpenSession, &open)
            }
        };
        self.state = State::Proved { key, server_hello, agreed };
        Ok(ClientStep::Send { authenticate: payload(Kind::Authenticate, &proto::Authenticate { proof }), open, agreed })
    }
}

fn opened(frame: &Frame<'_>) -> Result<Opened, WireError> {
    let message: proto::SessionOpened = decode(frame)?;
    let mut tail = TailReader::new(frame.tail);
    let stop = bundle_in(message.stop, &mut tail)?;
    tail.finish()?;
    Ok(Opened {
        session: message.session,
        token: message.token,
        info: required(message.info, "info")?.try_into()?,
        capabilities: Capabilities {
            live: message.live,
            breakpoints: message.breakpoints,
            os: message.os,
            resizes_terminals: false,
            tells_thread_times: false,
            calls_functions: false,
            passes_by_stack: false,
            watches_by_pages: false,
            has_jump_data: false,
        },
        stop,
        command_line: message.command_line,
        grace: Duration::from_secs(message.grace_seconds.into()),
    })
}

pub(super) fn refused(frame: &Frame<'_>) -> WireError {
    let refusal: proto::Refusal = match decode(frame) {
        Ok(refusal) => refusal,
        Err(error) => return error,
    };
    let code = match proto::refusal::Code::try_from(refusal.code) {
        Ok(proto::refusal::Code::Version) => {
            return version_error(VERSIONS, RELEASE, &refusal.versions, &refusal.release);
        }
        Ok(proto::refusal::Code::Authentication) => return WireError::Authentication,
        Ok(proto::refusal::Code::Busy) => RefusalCode::Busy,
        Ok(proto::refusal::Code::Session) => RefusalCode::Session,
        Ok(proto::refusal::Code::Gone) => RefusalCode::Gone,
        _ => RefusalCode::Protocol,
    };
    WireError::Refused { code, text: refusal.text }
}

/// Says who speaks what, and which of the two is older.
pub(super) fn version_error(client: &[u32], client_release: &str, server: &[u32], server_release: &str) -> WireError {
    let list = |versions: &[u32]| {
        let versions: Vec<_> = versions.iter().take(16).map(u32::to_string).collect();
        format!("protocol {}", if versions.is_empty() { "unknown".to_owned() } else { versions.join(", ") })
    };
    let client_is_older = client.iter().max() < server.iter().max();
    let (older, newer) = if client_is_older { ("client", "server") } else { ("server", "client") };
    WireError::Version(Box::new(VersionMismatch {
        client: list(client),
        client_release: client_release.to_owned(),
        server: list(server),
        server_release: server_release.to_owned(),
        older,
        newer,
    }))
}
