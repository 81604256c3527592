//! Who is above a session: its guardian.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use outpost_base::ProcessId;
use outpost_target::{ServerSession, TargetError};
use outpost_transport::Connection;
use outpost_wire::{Agreed, RequestId};

use crate::Record;
use crate::access::{self, Access};

/// Who is above a session: its guardian.
pub trait Superior {
    /// Becomes readable when there may be an order.
    fn source(&self) -> Option<BorrowedFd<'_>>;

    /// What the session is to do, if there is anything.
    fn order(&mut self) -> Option<Order>;

    /// Whether there is an order that [`Superior::source`] does not show.
    fn has_order(&self) -> bool {
        false
    }

    /// The client asks for the end of the whole server.
    ///
    /// # Errors
    /// If that is not allowed or not possible.
    fn end_server(&mut self) -> Result<(), TargetError>;

    /// How the session stands, for lists of sessions.
    fn note(&mut self, _standing: Standing<'_>) {}

    /// All sessions of the server.
    ///
    /// # Errors
    /// If there is no server.
    fn sessions(&mut self) -> Result<Vec<ServerSession>, TargetError> {
        let reason = "this session has no server of its own".into();
        Err(TargetError::Unsupported { operation: "listing sessions", reason })
    }

    /// What the client may do.
    fn access(&self) -> &Access {
        &access::EVERYTHING
    }

    /// What the client did, or was refused, for the audit log.
    fn audit(&mut self, _record: Record) {}

    /// A line for the server's log.
    fn log(&mut self, text: fmt::Arguments<'_>);
}

/// What a guardian tells a session.
#[derive(Debug)]
pub enum Order {
    /// End, for this reason.
    End(String),
    /// Go on over this link.
    Link(NewLink),
}

/// A link of a client that may have the session.
#[derive(Debug)]
pub struct NewLink {
    /// It.
    pub connection: Connection,
    /// Id of the request that asked for the session.
    pub request: RequestId,
    /// What client and server agreed on.
    pub agreed: Agreed,
    /// Whose it is.
    pub claim: Claim,
}

/// Whose a new link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The session's client, back again.
    Resume {
        /// Highest event number it has received.
        seen: u64,
    },
    /// The session's client, which has not heard yet that it is open.
    Open,
    /// Another one, whose predecessor is gone.
    TakeOver {
        /// The session's secret from now on.
        token: Vec<u8>,
    },
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It has no client, and waits for one this long.
    Held(Duration),
    /// It has one.
    Served,
    /// Its processes are these now.
    Processes(&'a [ProcessId]),
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSuperior;

impl Superior for NoSuperior {
    fn source(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn order(&mut self) -> Option<Order> {
        None
    }

    fn end_server(&mut self) -> Result<(), TargetError> {
        let reason = "this session has no server of its own".into();
        Err(TargetError::Unsupported { operation: "ending the server", reason })
    }

    fn log(&mut self, _: fmt::Arguments<'_>) {}
}
