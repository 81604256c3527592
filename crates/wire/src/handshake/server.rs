//! The server's side.

use super::client::version_error;
use super::query::check_query;
use super::resume::{CALLS, LOGS, PAGES, RESIZE, RESUME, STACK_ARGUMENTS, TIMES, decode_resume};
use super::{
    Agreed, Identity, MAGIC, OnLost, Opened, Opening, RELEASE, RefusalCode, ResumeRequest, VERSIONS, agree,
    encode_refusal, limits,
};
use crate::auth::{Key, NONCE_LEN, Prover, Seen};
use crate::frame::{Frame, RequestId};
use crate::message::{bundle_out, decode, payload};
use crate::stream::Payload;
use crate::{Kind, WireError, proto};

/// Longest name in an [`Identity`]; longer ones are cut.
const MAX_NAME: usize = 64;

/// A connection on its way to a session. Hand it each frame that arrives; do what its [`ServerStep`] says.
#[derive(Debug)]
pub struct ServerHandshake {
    keys: Vec<Key>,
    /// The place of the key that the client has proved to have.
    proved: Option<usize>,
    salt: Vec<u8>,
    nonce: [u8; NONCE_LEN],
    channel_binding: Vec<u8>,
    resume: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing came yet.
    Start,
    /// The challenge is out.
    Challenged { client_hello: Vec<u8>, server_hello: Vec<u8>, agreed: Agreed },
    /// The client proved itself.
    Trusted { agreed: Agreed },
    /// A session was asked for, or it failed.
    Over,
}

/// A session that was asked for by somebody who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// Id of the request, for the reply.
    pub request: RequestId,
    /// Who asks.
    pub identity: Identity,
    /// Whether it takes over the pending command line.
    pub take_command_line: bool,
    /// What becomes of the session if its link is lost; `None`: the server's default.
    pub on_lost: Option<OnLost>,
    /// By what its client knows it from the beginning.
    pub opening: Opening,
    /// What the client takes.
    pub agreed: Agreed,
}

/// What a server does next.
#[derive(Debug)]
pub enum ServerStep {
    /// Send this and wait for the next frame.
    Send(Payload),
    /// Open a session; its worker answers by [`encode_opened`].
    Open(OpenRequest),
    /// Hand the connection to a session that is there, if it may have it; its worker answers by
    /// [`encode_resumed`](super::encode_resumed), or by [`encode_opened`] to one who takes over.
    Resume(ResumeRequest),
    /// Answer by [`encode_servers`](super::encode_servers) and close: somebody asks which servers there are.
    List,
    /// Send this and close. After a wrong proof, wait a while before.
    Refuse(Payload, WireError),
}

impl ServerHandshake {
    /// Waits for a client. The key is made of the password (or the empty text) with `salt` and [`Key::ITERATIONS`];
    /// `nonce` must be random.
    pub fn new(key: Key, salt: &[u8], nonce: [u8; NONCE_LEN]) -> ServerHandshake {
        ServerHandshake::accepting(vec![key], salt, nonce)
    }

    /// The same for several passwords, any of which is good.
    pub fn accepting(keys: Vec<Key>, salt: &[u8], nonce: [u8; NONCE_LEN]) -> ServerHandshake {
        let (channel_binding, salt) = (Vec::new(), salt.to_vec());
        ServerHandshake { keys, proved: None, salt, nonce, channel_binding, resume: false, state: State::Start }
    }

    /// Accepts one key more, behind the others.
    pub fn accept_also(&mut self, key: Key) {
        self.keys.push(key);
    }

    /// The place of the key that the client has proved to have, among those that are accepted.
    pub fn proved(&self) -> Option<usize> {
        self.proved
    }

    /// Ties the proofs to the channel below, by what only its two ends know; empty: there is no such thing. To be called
    /// before the client's proof is handled.
    pub fn bind_channel(&mut self, binding: &[u8]) {
        binding.clone_into(&mut self.channel_binding);
    }

    /// The server's sessions outlive their link.
    pub fn offering_resume(mut self, resume: bool) -> ServerHandshake {
        self.resume = resume;
        self
    }

    /// As a server of another release: this is what it said.
    #[cfg(test)]
    pub(super) fn having_said(mut self, hello: &Payload) -> ServerHandshake {
        if let State::Challenged { server_hello, .. } = &mut self.state {
            hello.message.clone_into(server_hello);
        }
        self
    }

    /// Handles a frame from the client.
    pub fn handle(&mut self, frame: &Frame<'_>) -> ServerStep {
        let state = std::mem::replace(&mut self.state, State::Over);
        let step = match (state, Kind::of(frame.header.kind)) {
            (State::Start, Ok(Kind::ClientHello)) => self.greet(frame),
            (State::Start, Ok(Kind::QueryServers)) => check_query(frame).map(|()| ServerStep::List),
            (State::Challenged { client_hello, server_hello, agreed }, Ok(Kind::Authenticate)) => {
                self.check(frame, &client_hello, &server_hello, agreed)
            }
            (State::Trusted { agreed }, Ok(Kind::OpenSession)) => open(frame, agreed),
            (State::Trusted { agreed }, Ok(Kind::ResumeSession)) if agreed.resume => {
                decode_resume(frame, agreed).map(ServerStep::Resume)
            }
            (State::Start, _) => Err(WireError::NotOutpost),
            _ => Err(WireError::UnexpectedKind { kind: frame.header.kind }),
        };
        step.unwrap_or_else(|error| {
            let code = match error {
                WireError::Version(_) => RefusalCode::Version,
                WireError::Authentication => RefusalCode::Authentication,
                _ => RefusalCode::Protocol,
            };
            ServerStep::Refuse(encode_refusal(code, &error.to_string()), error)
        })
    }

    fn greet(&mut self, frame: &Frame<'_>) -> Result<ServerStep, WireError> {
        let hello: proto::ClientHello = decode(frame)?;
        if hello.magic != MAGIC {
            return Err(WireError::NotOutpost);
        }
        let common = hello.versions.iter().copied().filter(|version| VERSIONS.contains(version)).max();
        let Some(version) = common else {
            let release: String = hello.release.chars().take(MAX_NAME).collect();
            return Err(version_error(&hello.versions, &release, VERSIONS, RELEASE));
        };
        if hello.nonce.len() != NONCE_LEN {
            return Err(WireError::Field { field: "nonce" });
        }
        let asked = |feature: &str| hello.features.iter().any(|name| name == feature);
        let known = [
            (RESUME, self.resume),
            (RESIZE, true),
            (TIMES, true),
            (CALLS, true),
            (STACK_ARGUMENTS, true),
            (PAGES, true),
            (LOGS, true),
        ];
        let known = known.into_iter().filter(|(feature, offered)| *offered && asked(feature));
        let features: Vec<String> = known.map(|(feature, _)| feature.to_owned()).collect();
        let agreed = agree(version, hello.limits, &features).ok_or(WireError::Field { field: "limits" })?;
        let answer = proto::ServerHello {
            magic: MAGIC.to_vec(),
            version,
            release: RELEASE.to_owned(),
            features,
            limits: Some(limits(super::MAX_REQUEST_FRAME)),
            nonce: self.nonce.to_vec(),
            salt: self.salt.clone(),
            iterations: Key::ITERATIONS,
        };
        let answer = payload(Kind::ServerHello, &answer);
        let (client_hello, server_hello) = (frame.message.to_vec(), answer.message.clone());
        self.state = State::Challenged { client_hello, server_hello, agreed };
        Ok(ServerStep::Send(answer))
    }

    fn check(
        &mut self,
        frame: &Frame<'_>,
        client_hello: &[u8],
        server_hello: &[u8],
        agreed: Agreed,
    ) -> Result<ServerStep, WireError> {
        let proof = decode::<proto::Authenticate>(frame)?.proof;
        let seen = Seen { client_hello, server_hello, channel_binding: &self.channel_binding };
        // All are tried, so that the time does not tell how many there are, or which it was.
        let fits = |found: Option<usize>, (at, key): (usize, &Key)| {
            let is_right = key.accepts(Prover::Client, &seen, &proof);
            found.or(is_right.then_some(at))
        };
        self.proved = self.keys.iter().enumerate().fold(None, fits);
        let key = self.proved.and_then(|at| self.keys.get(at)).ok_or(WireError::Authentication)?;
        let proof = key.proof(Prover::Server, &seen).to_vec();
        self.state = State::Trusted { agreed };
        Ok(ServerStep::Send(payload(Kind::Authenticated, &proto::Authenticated { proof })))
    }
}

/// The answer to a request for a session.
pub fn encode_opened(opened: Opened) -> Payload {
    let (stop, tail) = bundle_out(opened.stop);
    let message = proto::SessionOpened {
        session: opened.session,
        token: opened.token,
        info: Some(opened.info.into()),
        live: opened.capabilities.live,
        breakpoints: opened.capabilities.breakpoints,
        os: opened.capabilities.os,
        stop,
        command_line: opened.command_line,
        grace_seconds: u32::try_from(opened.grace.as_secs()).unwrap_or(u32::MAX),
    };
    Payload { tail, ..payload(Kind::SessionOpened, &message) }
}

fn open(frame: &Frame<'_>, agreed: Agreed) -> Result<ServerStep, WireError> {
    let message: proto::OpenSession = decode(frame)?;
    Ok(ServerStep::Open(OpenRequest {
        request: frame.header.request,
        identity: Identity { user: clean(&message.user), host: clean(&message.host) },
        take_command_line: message.take_command_line,
        on_lost: message.on_lost.and_then(OnLost::from_message),
        opening: Opening::from_message(message.token, message.again),
        agreed,
    }))
}

/// What a client says of itself goes into logs: no control characters, no length to speak of.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}
