//! Sessions that are there already: who may have one, and how it gets another link.

use std::time::Instant;

use outpost_transport::Connection;
use outpost_wire::{OpenRequest, ResumeRequest};

use super::pending::Pending;
use super::sessions::{self, Session};
use super::{Guardian, who};
use crate::access::Proved;
use crate::audit::Record;
use crate::control::Control;
use crate::{ServerError, takeover};

impl Guardian<'_> {
    /// Gives a connection the session that it asks for, or refuses it.
    pub(super) fn go_on(&mut self, mut one: Pending, request: ResumeRequest, now: Instant) {
        let by = one.proved();
        match self.claimed(&request, by) {
            Ok(session) => {
                let link = one.into_connection();
                self.resume(link, by, session, request, None);
            }
            Err(reason) => {
                // It is the last now, and comes by once more; what it waits for is its refusal.
                one.refuse_session(reason, now);
                self.pending.push(one);
            }
        }
    }

    /// The way back for one who has lost its link before it heard that its session is open.
    pub(super) fn opened_before(&self, request: &OpenRequest) -> Option<ResumeRequest> {
        let token = Some(&request.opening.token).filter(|_| request.opening.again)?;
        let found = self.sessions.iter().find(|session| session.is_named(session.number(), token))?;
        Some(sessions::reopening(request, found.number()))
    }

    /// The place in the list of the session that is asked for, if whoever asks may have it.
    pub(super) fn claimed(&self, request: &ResumeRequest, by: Proved) -> Result<usize, String> {
        if request.token.is_empty() {
            return self.to_take_over(request.session, by);
        }
        // A wrong number and a wrong secret are refused alike.
        let found = self.sessions.iter().position(|session| session.is_named(request.session, &request.token));
        let found = found.filter(|at| self.sessions.get(*at).is_some_and(|session| session.is_open_to(by.role)));
        found.filter(|_| self.ending.is_none()).ok_or_else(|| format!("session {} is gone", request.session))
    }

    /// One whose client is gone: the one named, or the only one.
    fn to_take_over(&self, number: u64, by: Proved) -> Result<usize, String> {
        let may_have = self.sessions.iter().filter(|session| session.may_be_taken_by(by));
        let number = takeover::choose(number, &may_have.map(Session::describe).collect::<Vec<_>>())?;
        let found = self.sessions.iter().position(|session| session.number() == number);
        found.ok_or_else(|| format!("session {number} is gone"))
    }

    /// Gives a connection to a session's worker.
    pub(super) fn resume(
        &mut self,
        link: Result<Connection, ServerError>,
        by: Proved,
        at: usize,
        request: ResumeRequest,
        leash: Option<Control>,
    ) {
        let log = self.options.log;
        let Some(session) = self.sessions.get_mut(at) else { return };
        let number = session.number();
        let is_new = request.token.is_empty();
        let record = Record::new(if is_new { "takeover" } else { "resume" }).field("session", number);
        let record = record.by(by, Some(&request.identity));
        let given = link.and_then(|link| session.give_link(&link, &request));
        match given {
            Ok(()) => {
                session.set_leash(leash);
                let why = if is_new { "to be taken over by" } else { "its client is back:" };
                log.line(format_args!("session {number}: {why} {}", who(&request.identity, by)));
                self.auditor.write(record);
                if is_new {
                    session.belongs_to(request.identity, by.peer);
                }
            }
            Err(error) => {
                self.auditor.write(record.field("error", &error));
                log.line(format_args!("session {number}: {}: {error}", by.peer));
            }
        }
    }
}
