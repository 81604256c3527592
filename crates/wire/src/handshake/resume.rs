//! Sessions that outlive their link: what becomes of them, and how a client comes back.

use std::time::Duration;

use super::server::clean;
use super::{Agreed, Identity};
use crate::frame::{Frame, RequestId};
use crate::message::{decode, payload};
use crate::stream::Payload;
use crate::{Kind, WireError, proto};

/// Name of the feature in the hellos.
pub(crate) const RESUME: &str = "resume";
/// The feature of servers that know [`crate::Request::ResizeTerminal`].
pub(crate) const RESIZE: &str = "resize";
/// The feature of servers that know [`crate::Request::ThreadTimes`].
pub(crate) const TIMES: &str = "times";
/// The feature of servers that carry out [`outpost_target::Action::Call`].
pub(crate) const CALLS: &str = "calls";
/// The feature of servers that put arguments of calls on the stack.
pub(crate) const STACK_ARGUMENTS: &str = "stack-arguments";
/// The feature of servers that watch any number of bytes.
pub(crate) const PAGES: &str = "pages";
/// The feature of servers whose jump pads write hits down and count passes.
pub(crate) const LOGS: &str = "logs";

/// What becomes of a session whose link is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLost {
    /// Stopped threads stay stopped and running ones run, until the client is back or the time is over; then the exit
    /// policy. `None`: the server's time.
    Hold(Option<Duration>),
    /// All processes are let go at once.
    Detach,
    /// As `Hold`, but whatever is stopped, or stops meanwhile, runs on.
    Run(Option<Duration>),
    /// All processes are ended at once.
    Kill,
}

/// A session that is there was asked for by somebody who may have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeRequest {
    /// Id of the request, for the reply.
    pub request: RequestId,
    /// Number of the session; 0 with an empty token: the only one that is held.
    pub session: u64,
    /// The secret that names it; empty: its client is gone and this is another, who takes over.
    pub token: Vec<u8>,
    /// Highest event number the client has received.
    pub seen: u64,
    /// Who asks.
    pub identity: Identity,
    /// What the client takes.
    pub agreed: Agreed,
    /// It asked for the session to be opened, and did not hear that it was: answered by
    /// [`encode_opened`](super::encode_opened), if nothing was done in it.
    pub opens: bool,
}

/// By what a client knows a session that it asks for, whether or not it hears of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// The session's secret, [`TOKEN_LEN`] random bytes; empty: the server makes one.
    pub token: Vec<u8>,
    /// It was asked for before, over a link that was lost.
    pub again: bool,
}

/// Bytes of a session's secret.
pub const TOKEN_LEN: usize = 16;

impl Opening {
    /// A secret that is none is as good as no secret.
    pub(super) fn from_message(mut token: Vec<u8>, again: bool) -> Opening {
        if token.len() != TOKEN_LEN {
            token.clear();
        }
        Opening { again: again && !token.is_empty(), token }
    }
}

/// What a client names to come back to its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResumeKey {
    /// Number of the session, or 0.
    pub session: u64,
    /// Its secret; empty to take over.
    pub token: Vec<u8>,
}

impl OnLost {
    pub(super) fn to_message(self) -> proto::OnLost {
        use proto::on_lost::Action;
        let (action, time) = match self {
            OnLost::Hold(time) => (Action::Hold, time),
            OnLost::Detach => (Action::Detach, None),
            OnLost::Run(time) => (Action::Run, time),
            OnLost::Kill => (Action::Kill, None),
        };
        let seconds = time.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        proto::OnLost { action: action as i32, seconds }
    }

    /// How long a session with this policy outlives its link; none: not at all, or the time was not given.
    pub fn grace(self) -> Duration {
        match self {
            OnLost::Hold(time) | OnLost::Run(time) => time.unwrap_or_default(),
            OnLost::Detach | OnLost::Kill => Duration::ZERO,
        }
    }

    /// What this release does not know is what the server does by default.
    pub(super) fn from_message(message: proto::OnLost) -> Option<OnLost> {
        use proto::on_lost::Action;
        let time = message.seconds.map(|seconds| Duration::from_secs(seconds.into()));
        match Action::try_from(message.action) {
            Ok(Action::Hold) => Some(OnLost::Hold(time)),
            Ok(Action::Detach) => Some(OnLost::Detach),
            Ok(Action::Run) => Some(OnLost::Run(time)),
            Ok(Action::Kill) => Some(OnLost::Kill),
            _ => None,
        }
    }
}

/// The client's request; sent in place of `OpenSession`, with what was seen in the header.
pub(super) fn encode_resume(key: &ResumeKey, identity: &Identity) -> Payload {
    let message = proto::ResumeSession {
        session: key.session,
        token: key.token.clone(),
        user: identity.user.clone(),
        host: identity.host.clone(),
    };
    payload(Kind::ResumeSession, &message)
}

pub(super) fn decode_resume(frame: &Frame<'_>, agreed: Agreed) -> Result<ResumeRequest, WireError> {
    let message: proto::ResumeSession = decode(frame)?;
    Ok(ResumeRequest {
        request: frame.header.request,
        session: message.session,
        token: message.token,
        seen: frame.header.seen,
        identity: Identity { user: clean(&message.user), host: clean(&message.host) },
        agreed,
        opens: false,
    })
}

/// The server's answer: the highest acting request it has carried out.
pub fn encode_resumed(carried_out: RequestId) -> Payload {
    payload(Kind::SessionResumed, &proto::SessionResumed { carried_out: carried_out.0 })
}

pub(super) fn decode_resumed(frame: &Frame<'_>) -> Result<RequestId, WireError> {
    Ok(RequestId(decode::<proto::SessionResumed>(frame)?.carried_out))
}

/// A message that says nothing but its kind: [`Kind::Seen`], [`Kind::Goodbye`].
pub fn encode_bare(kind: Kind) -> Payload {
    payload(kind, &proto::Empty {})
}
