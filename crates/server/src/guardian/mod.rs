//! The guardian: accepts, authenticates, starts workers, stands by for their debuggees. One thread and one wait.
//!
//! A connection goes through three hands here: [`pending::Pending`] until it has proved that it may, a worker process
//! while its session lasts ([`sessions::Session`]), and a rescue thread if that worker dies. The guardian is a child
//! subreaper: what a worker created becomes the guardian's child when the worker is gone, so that it may be seized and
//! its status is not lost.

mod attempts;
mod claims;
pub(crate) mod listing;
mod neighbours;
mod pending;
mod sessions;

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outpost_target::ServerSession;
use outpost_transport::{Connection, Listener, Password};
use outpost_wire::{NONCE_LEN, OnLost, OpenRequest, Payload, ServerKind, encode_servers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::access::{Access, Grant, Keys, Proved};
use crate::announce::Announcement;
use crate::audit::{Audit, Auditor, Record};
use crate::control::Control;
use crate::lockdown::lock_down;
use crate::log::BoundedLog;
use crate::registry::{Registration, Registry};
use crate::rendezvous::Rendezvous;
use crate::role::Backend;
use crate::signals::{Arrived, Signals};
use crate::spawner::Spawner;
use crate::{AllowList, Grace, Log, Role, ServerError};
use attempts::{Attempts, Source as Origin};
use pending::{Pending, Progress};
use sessions::{News, Policy, Session};

/// Connections that have not proved anything yet, at once. When all places are taken, a newcomer takes one from whoever
/// has most, so a flood is in its own way only.
const MAX_PENDING: usize = 128;
/// Connections that are accepted before everything else has its turn.
const MAX_ACCEPTED: usize = 64;
/// How long the sessions may take to end once the server ends.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Sessions at once; a bound on processes, far above use.
const MAX_SESSIONS: usize = 1024;

/// How long an answer to those who ask for servers is good for the next one.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// What is said of those who only ask.
const ASKED: &str = "asked which servers there are";

/// Where clients come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per server")]
pub enum Source {
    /// From a listener, any number, with the password of its connection string.
    Listener(Listener),
    /// One that is there already; the server ends with its session.
    Connection(Connection),
    /// One that this server dialled; the server ends with its session.
    Dialled(Connection, Option<Password>),
    /// As [`Source::Connection`], but its session outlives the link and is found by the next server (`rendezvous`).
    Attended(Connection, Leash),
}

/// Held by whoever serves a link that somebody else waits with.
#[derive(Debug)]
pub struct Leash(pub(crate) Control);

/// Why a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// In order: by a signal, by a client's request, or with the only session.
    Ended,
    /// The link of the only session broke.
    LinkLost,
    /// The only connection was over before it had a session; with what was wrong, unless it said nothing at all.
    NoSession(Option<String>),
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where lifecycle events go.
    pub log: Log,
    /// A process creation that waits for a client to ask for it; empty: none.
    pub command_line: Vec<String>,
    /// How long sessions outlive their links.
    pub grace: Grace,
    /// Whether a client may end the server.
    pub remote_end: bool,
    /// The server ends by itself once nobody was there for so long; `None`: never.
    pub idle_exit: Option<Duration>,
    /// Roles by password; empty: whoever may have a session may do everything.
    pub roles: Vec<Grant>,
    /// What clients may do at most, in whatever role.
    pub allowed: AllowList,
    /// Where it is written who did what.
    pub audit: Audit,
    /// Whether a listening server says on the local network that it is there.
    pub announce: bool,
}

/// Serves until SIGTERM, SIGINT, SIGHUP, a client's request, or (without a listener) the end of the only session.
///
/// Must be called in a process with one thread, but for those that take no signal (a serial line's); blocks signals in it.
///
/// # Errors
/// Only what keeps the guardian from working at all.
pub fn serve(source: Source, backend: &dyn Backend, options: ServeOptions) -> Result<Outcome, ServerError> {
    Guardian::new(source, backend, options)?.run()
}

struct Guardian<'a> {
    backend: &'a dyn Backend,
    spawner: Spawner,
    options: ServeOptions,
    signals: Signals,
    /// `None` once the server ends, or if there was one connection only.
    listener: Option<Listener>,
    keys: Keys,
    salt: [u8; 16],
    pending: Vec<Pending>,
    attempts: Attempts,
    /// For what strangers cause.
    strangers: BoundedLog,
    auditor: Auditor,
    sessions: Vec<Session>,
    next_session: u64,
    /// Our entry in the machine's registry, while we listen.
    registration: Option<Registration>,
    /// While we listen, and were told to.
    announcement: Option<Announcement>,
    /// Where the server of a lost link's next attempt finds us.
    rendezvous: Option<Rendezvous>,
    /// Of the connection that has no session yet.
    leash: Option<Control>,
    listed: Listed,
    /// Since when there is nobody.
    idle_since: Instant,
    /// Why the server ends, and when it stops waiting for its sessions.
    ending: Option<(String, Instant)>,
    /// How the only session, or connection, ended.
    outcome: Outcome,
}

impl<'a> Guardian<'a> {
    fn new(source: Source, backend: &'a dyn Backend, options: ServeOptions) -> Result<Guardian<'a>, ServerError> {
        let signals = Signals::take()?;
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own)).map_err(ServerError::io("become a child subreaper"))?;
        let salt = random()?;
        // The only client of the others is no stranger, and a server that dials may do so again.
        let meets_strangers = matches!(source, Source::Listener(_) | Source::Attended(..));
        let spawner = if meets_strangers { Spawner::start()? } else { Spawner::Guardian };
        let (listener, connection, password, leash) = match source {
            Source::Listener(listener) => {
                let password = listener.transport().password().cloned();
                (Some(listener), None, password, None)
            }
            Source::Connection(connection) => (None, Some(connection), None, None),
            Source::Dialled(connection, password) => (None, Some(connection), password, None),
            Source::Attended(connection, Leash(leash)) => (None, Some(connection), None, Some(leash)),
        };
        let mut options = options;
        let rendezvous = leash.as_ref().and_then(|_| neighbours::prepare_rendezvous(&mut options));
        let keys = Keys::new(password.as_ref(), &options.roles, &salt)?;
        let transport = listener.as_ref().map(Listener::transport).filter(|transport| !transport.is_hidden());
        let registration = transport
            .and_then(|transport| Registry::of_this_machine().register(ServerKind::Process, &transport.to_string()));
        let announced = listener.as_ref().filter(|_| options.announce);
        let announced = announced.map(|listener| Announcement::start(ServerKind::Process, listener)).transpose();
        let announcement = announced.unwrap_or_else(|error| {
            options.log.line(format_args!("not announced: {error}"));
            None
        });
        let mut auditor = Auditor::new(options.audit.clone(), options.log, Instant::now());
        let place = listener.as_ref().map(|listener| listener.transport().to_string());
        auditor.write(Record::new("start").field("transport", place.as_deref().unwrap_or("one connection")));
        let mut guardian = Guardian {
            backend,
            spawner,
            strangers: BoundedLog::new(options.log, Instant::now()),
            auditor,
            options,
            signals,
            listener,
            keys,
            salt,
            pending: Vec::new(),
            attempts: Attempts::new(Instant::now()),
            sessions: Vec::new(),
            next_session: 1,
            registration,
            announcement: announcement.flatten(),
            rendezvous,
            leash,
            listed: Listed::default(),
            idle_since: Instant::now(),
            ending: None,
            outcome: Outcome::Ended,
        };
        if let Some(connection) = connection {
            guardian.admit(connection)?;
        }
        // Where a sandbox forbids even that, a server is worth more than none.
        if meets_strangers && let Err(error) = lock_down() {
            guardian.options.log.line(format_args!("this process keeps all its rights: {error}"));
        }
        Ok(guardian)
    }

    fn run(mut self) -> Result<Outcome, ServerError> {
        while !self.is_over() {
            let ready = self.wait();
            while let Some(arrived) = self.signals.next() {
                match arrived {
                    Arrived::Child => self.reap(),
                    Arrived::End(signal) => self.begin_end(signal),
                }
            }
            self.hear_sessions();
            self.advance_pending();
            self.answer_others();
            self.hear_leashes();
            self.end_if_idle();
            // The places are looked through with every one that is accepted, so they are filled by some at a time.
            if ready.listener {
                (0..MAX_ACCEPTED).all(|_| self.accept());
            }
        }
        let reason = self.ending.as_ref().map_or("its only session is over", |(reason, _)| reason);
        self.auditor.write(Record::new("stop").field("reason", reason));
        if let Some((reason, _)) = &self.ending {
            self.options.log.line(format_args!("ended: {reason}"));
            return Ok(Outcome::Ended);
        }
        Ok(self.outcome)
    }

    fn is_over(&self) -> bool {
        let nobody = self.sessions.is_empty();
        match &self.ending {
            Some((_, deadline)) => nobody || *deadline <= Instant::now(),
            None => self.listener.is_none() && nobody && self.pending.is_empty(),
        }
    }

    /// When the server ends by itself if nobody comes.
    fn idle_deadline(&self) -> Option<Instant> {
        let is_idle = self.sessions.is_empty() && self.pending.is_empty() && self.ending.is_none();
        self.options.idle_exit.filter(|_| is_idle).and_then(|limit| self.idle_since.checked_add(limit))
    }

    fn end_if_idle(&mut self) {
        match self.idle_deadline() {
            Some(deadline) if deadline <= Instant::now() => self.begin_end("nobody came for the time of --idle-exit"),
            Some(_) => {}
            None => self.idle_since = Instant::now(),
        }
    }

    /// Waits for anything to do.
    fn wait(&self) -> Ready {
        let now = Instant::now();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(
            self.sessions.iter().filter_map(Session::control).map(|control| PollFd::new(control, PollFlags::IN)),
        );
        // One that waits for its refusal is not watched at all: its end would wake us again and again.
        let watched = self.pending.iter().filter(|one| !one.interest().is_empty());
        fds.extend(watched.map(|one| PollFd::new(one, one.interest())));
        let leashes = self.sessions.iter().filter_map(Session::leash).chain(&self.leash);
        fds.extend(leashes.map(|leash| PollFd::new(leash, PollFlags::IN)));
        fds.extend(self.rendezvous.iter().map(|rendezvous| PollFd::new(rendezvous, PollFlags::IN)));
        let listener = self.listener.as_ref();
        fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));

        let deadlines = self.pending.iter().map(Pending::deadline);
        let deadlines = deadlines.chain(self.ending.as_ref().map(|(_, deadline)| *deadline));
        let rescues = self.sessions.iter().any(Session::is_rescuing).then(|| now + Duration::from_millis(20));
        let first = deadlines.chain(rescues).chain(self.idle_deadline()).min();
        let timeout = first.map(|deadline| timespec(deadline.saturating_duration_since(now)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => Ready { listener: listener.is_some() && fds.last().is_some_and(|fd| !fd.revents().is_empty()) },
            Err(_) => Ready { listener: false },
        }
    }

    /// Takes in the next client; gives whether there may be another one.
    fn accept(&mut self) -> bool {
        let Some(listener) = &self.listener else { return false };
        let now = Instant::now();
        let connection = match listener.accept() {
            Ok(Some(connection)) => connection,
            Ok(None) => return false,
            Err(error) => {
                // Out of descriptors, most likely: give the sessions that end time to return some.
                self.strangers.line(now, format_args!("{error}"));
                std::thread::sleep(Duration::from_millis(50));
                return false;
            }
        };
        if self.pending.len() >= MAX_PENDING {
            self.make_room(now);
        }
        let peer = connection.peer();
        if let Err(error) = self.admit(connection) {
            self.strangers.line(now, format_args!("{peer}: {error}"));
        }
        true
    }

    /// Takes a place from the origin that has most of them: from one that has said nothing yet, and of those the oldest.
    fn make_room(&mut self, now: Instant) {
        let mut places: HashMap<Origin, usize> = HashMap::new();
        self.pending.iter().for_each(|one| *places.entry(one.peer().into()).or_default() += 1);
        let claim = |one: &Pending| (places[&one.peer().into()], !one.has_spoken(), one.age(now));
        let least = self.pending.iter().enumerate().max_by_key(|(_, one)| claim(one)).map(|(at, _)| at);
        if let Some(at) = least {
            let dropped = self.pending.swap_remove(at);
            self.turn_away(now, &dropped, "made no use of its place in time");
        }
    }

    /// Says that one came who does not get in.
    fn turn_away(&mut self, now: Instant, one: &Pending, reason: &str) {
        self.strangers.line(now, format_args!("{}: {reason}", one.peer()));
        let event = if reason == ASKED { "query" } else { "refused" };
        let record = Record::new(event).field("reason", reason).by(one.proved(), None);
        self.auditor.write_bounded(now, record);
    }

    fn admit(&mut self, connection: Connection) -> Result<(), ServerError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        self.pending.push(Pending::new(
            connection,
            self.keys.clone(),
            &self.salt,
            nonce,
            !self.options.grace.most.is_zero(),
        )?);
        Ok(())
    }

    /// Lets every pending connection do what it can.
    fn advance_pending(&mut self) {
        let now = Instant::now();
        let mut at = 0;
        while let Some(one) = self.pending.get_mut(at) {
            match one.advance(now, &mut self.attempts) {
                Progress::Waiting => at += 1,
                // Looked at once more, it sends the answer and is over.
                Progress::List => one.answer(self.listed.answer(now), now, ASKED),
                Progress::Over(reason) => {
                    let one = self.pending.swap_remove(at);
                    // Somebody who only looked whether there is a server said nothing.
                    if let Some(reason) = &reason {
                        self.turn_away(now, &one, reason);
                    }
                    self.outcome = Outcome::NoSession(reason);
                }
                Progress::Open(request) => {
                    let one = self.pending.swap_remove(at);
                    if let Some(again) = self.opened_before(&request) {
                        self.go_on(one, again, now);
                    } else if let Some(one) = self.unless_opened_elsewhere(one, &request) {
                        self.open(one, request);
                    }
                }
                Progress::Resume(request) => {
                    let mut one = self.pending.swap_remove(at);
                    if self.leash.is_some() {
                        if let Err(reason) = self.pass_on(&mut one, &request) {
                            one.refuse_session(reason, now);
                            self.pending.push(one);
                        }
                        continue;
                    }
                    self.go_on(one, request, now);
                }
            }
        }
    }

    fn open(&mut self, pending: Pending, request: OpenRequest) {
        let by = pending.proved();
        let Proved { peer, role, .. } = by;
        if self.sessions.len() >= MAX_SESSIONS || self.ending.is_some() {
            let record = Record::new("refused").field("reason", "no further sessions");
            self.auditor.write(record.by(by, Some(&request.identity)));
            // Who is told so does not ask again at once.
            if let Ok(link) = pending.into_connection() {
                pending::refuse(&link, "no further sessions can be had of this server now");
            }
            return self.options.log.line(format_args!("{peer}: refused: no further sessions"));
        }
        let command_line = match request.take_command_line && role >= Role::Launch {
            true => std::mem::take(&mut self.options.command_line),
            false => Vec::new(),
        };
        let number = match self.rendezvous.as_mut().map(Rendezvous::open) {
            Some(Ok(number)) => number,
            Some(Err(error)) => {
                self.options.grace = Grace::NONE;
                self.options.log.line(format_args!("the session ends with its link: {error}"));
                self.next_session
            }
            None => self.next_session,
        };
        let log = self.options.log;
        let identity = request.identity.clone();
        let link = match pending.into_connection() {
            Ok(link) => link,
            Err(error) => {
                let record = Record::new("refused").field("reason", &error);
                self.auditor.write(record.by(by, Some(&identity)));
                return log.line(format_args!("{peer}: {error}"));
            }
        };
        // What a client may not do, it may not have done when its link is lost either.
        let wished = request.on_lost.filter(|wish| role >= Role::Control || !matches!(wish, OnLost::Kill));
        let on_lost = self.options.grace.apply(wished);
        let (remote_end, has_neighbours) = (self.options.remote_end, self.rendezvous.is_some());
        let access = Access { role, allowed: self.options.allowed.clone() };
        let policy = Policy { on_lost, remote_end, has_neighbours, access };
        match sessions::start((self.backend, &self.spawner), number, request, command_line.clone(), policy, log, link) {
            Ok(mut session) => {
                session.set_leash(self.leash.take());
                self.next_session += 1;
                self.outcome = Outcome::Ended;
                log.line(format_args!("session {number}: opened for {}", who(&identity, by)));
                self.auditor.write(session.name(Record::new("connect")));
                self.sessions.push(session);
            }
            Err(error) => {
                let record = Record::new("refused").field("reason", &error);
                self.auditor.write(record.by(by, Some(&identity)));
                self.options.command_line = command_line;
                log.line(format_args!("{peer}: no session could be started: {error}"));
            }
        }
    }

    fn answer_list(&self, number: u64) {
        let of = |session: &Session| ServerSession { own: session.number() == number, ..session.describe() };
        let text = listing::encode(self.sessions.iter().filter(|session| session.control().is_some()).map(of));
        if let Some(session) = self.sessions.iter().find(|session| session.number() == number) {
            session.tell(&text);
        }
    }

    /// Takes in what the workers say.
    fn hear_sessions(&mut self) {
        let log = self.options.log;
        let (mut wants_end, mut was_rescued, mut asked) = (false, false, Vec::new());
        for session in &mut self.sessions {
            while let Some(news) = session.hear() {
                match news {
                    // A worker has refused it already, unless it is no longer what we started.
                    News::EndServer => wants_end |= self.options.remote_end,
                    News::WantsList => asked.push(session.number()),
                    News::LinkLost => self.outcome = Outcome::LinkLost,
                    News::Deed(record) => self.auditor.write(record),
                    News::Died => {
                        let record = Record::new("end").field("reason", "its worker died; rescuing");
                        self.auditor.write(session.name(record));
                        log.line(format_args!("session {}: its worker died; rescuing", session.number()));
                    }
                    News::Rescued => {
                        was_rescued = true;
                        log.line(format_args!("session {}: rescued", session.number()));
                    }
                }
            }
        }
        self.sessions.retain(|session| !session.is_over());
        asked.into_iter().for_each(|number| self.answer_list(number));
        if was_rescued {
            self.reap();
        }
        if wants_end {
            self.begin_end("a client asked for it");
        }
    }

    /// Collects ended children. Not while a rescue is under way: its tracees' stops would be taken from it.
    fn reap(&mut self) {
        if self.sessions.iter().any(Session::is_rescuing) {
            return;
        }
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
    }

    fn begin_end(&mut self, reason: &str) {
        if self.ending.is_some() {
            return;
        }
        self.options.log.line(format_args!("ending: {reason}"));
        self.listener = None;
        self.registration = None;
        self.announcement = None;
        self.rendezvous = None;
        self.pending.clear();
        let text = format!("the server ends: {reason}");
        self.sessions.iter().for_each(|session| session.order_to_end(&text));
        self.ending = Some((reason.to_owned(), Instant::now() + END_TIMEOUT));
    }
}

/// What the machine's registry holds, looked at once a second at most: whoever asks has proved nothing.
#[derive(Debug, Default)]
struct Listed(Option<(Instant, Payload)>);

impl Listed {
    fn answer(&mut self, now: Instant) -> Payload {
        match &self.0 {
            Some((at, answer)) if now.saturating_duration_since(*at) < LISTED_FOR => answer.clone(),
            _ => {
                let answer = encode_servers(&Registry::of_this_machine().list());
                self.0.insert((now, answer)).1.clone()
            }
        }
    }
}

/// What the wait found, as far as it is not asked for again.
struct Ready {
    listener: bool,
}

fn who(identity: &outpost_wire::Identity, Proved { peer, certificate, .. }: Proved) -> String {
    let name = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
    let proved = certificate.map(|thumbprint| format!(", certificate {thumbprint}")).unwrap_or_default();
    format!("{}@{} ({peer}{proved})", name(&identity.user), name(&identity.host))
}

/// Microseconds since 1970.
fn microseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

pub(crate) fn timespec(duration: Duration) -> Timespec {
    // Rounded up, so that a deadline has passed when the wait ends.
    let duration = duration + Duration::from_millis(1);
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], ServerError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let count = getrandom(&mut bytes[filled..], GetRandomFlags::empty());
        filled += count.map_err(ServerError::io("get random numbers"))?;
    }
    Ok(bytes)
}
