//! The guardian of one client's link and those of the same user's other links: who has the session that a link belongs to?

use outpost_transport::{Connection, Peer};
use outpost_wire::{OpenRequest, ResumeRequest};

use super::pending::Pending;
use super::sessions::{self, Session};
use super::{Guardian, Outcome, ServeOptions, listing};
use crate::access::Proved;
use crate::rendezvous::{self, Rendezvous};
use crate::{Grace, Role, handover};

/// Another server of the same user, whose links may do everything.
const NEIGHBOUR: Proved = Proved { peer: Peer::Memory, certificate: None, role: Role::EndServer };

impl Guardian<'_> {
    /// A session is asked for that is another server's: it gets the link.
    pub(super) fn pass_on(&mut self, one: &mut Pending, request: &ResumeRequest) -> Result<(), String> {
        let Some(leash) = &self.leash else { return Ok(()) };
        // The other server may allow more than this one. Whoever has a session's secret had that session before.
        if request.token.is_empty() && !self.options.allowed.is_empty() {
            return Err("sessions are not taken over here: this server has a list of what is allowed".into());
        }
        one.settle().map_err(|error| error.to_string())?;
        rendezvous::hand_over(request, one.connection(), leash)?;
        match request.opens {
            true => self.options.log.line(format_args!("its session was opened by another server, and goes on there")),
            false => self.options.log.line(format_args!("session {}: goes on there", request.session)),
        }
        self.outcome = Outcome::Ended;
        Ok(())
    }

    /// Gives the link to another server of this user if that one has opened the session; else gives it back.
    pub(super) fn unless_opened_elsewhere(&mut self, mut one: Pending, request: &OpenRequest) -> Option<Pending> {
        let may_be = request.opening.again && self.leash.is_some();
        let is_elsewhere = may_be && self.pass_on(&mut one, &sessions::reopening(request, 0)).is_ok();
        (!is_elsewhere).then_some(one)
    }

    /// Answers the servers that were started for the next link, and the workers of other servers.
    pub(super) fn answer_others(&mut self) {
        while let Some((asker, question, descriptors)) = self.rendezvous.as_ref().and_then(Rendezvous::next) {
            if question == "sessions" {
                let sessions = self.sessions.iter().filter(|session| session.control().is_some());
                // Who does not wait for the answer needs none.
                let _ = asker.send(listing::encode(sessions.map(Session::describe)).as_bytes(), &[]);
                continue;
            }
            let answer = match (handover::read_claim_order(&question), <[_; 2]>::try_from(descriptors)) {
                (Some(request), Ok([link, leash])) => {
                    self.claimed(&request, NEIGHBOUR).map(|at| (at, request, link, leash))
                }
                _ => Err("the two servers do not understand each other: they are of different releases".into()),
            };
            match answer {
                Ok((at, request, link, leash)) => {
                    let _ = asker.send(b"yes", &[]);
                    let link = Ok(Connection::new(link, Peer::Memory));
                    self.resume(link, NEIGHBOUR, at, request, Some(leash.into()));
                }
                Err(reason) => drop(asker.send(format!("no {reason}").as_bytes(), &[])),
            }
        }
    }

    pub(super) fn hear_leashes(&mut self) {
        let of_sessions = self.sessions.iter_mut().find_map(Session::hear_leash);
        if let Some(reason) = of_sessions.or_else(|| sessions::hear_leash(&mut self.leash)) {
            self.begin_end(&reason);
        }
    }
}

/// Where the next server finds this one; if it cannot, its session ends with the link.
pub(super) fn prepare_rendezvous(options: &mut ServeOptions) -> Option<Rendezvous> {
    if options.grace.most.is_zero() {
        return None;
    }
    match Rendezvous::prepare() {
        Ok(rendezvous) => Some(rendezvous),
        Err(error) => {
            options.log.line(format_args!("the session will end with its link: {error}"));
            options.grace = Grace::NONE;
            None
        }
    }
}
