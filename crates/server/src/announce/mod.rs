//! A server that announces itself on the local network, where it is told to: multicast DNS (RFC 6762) and DNS-SD (RFC 6763).
//!
//! What strangers send to the group is read by a process of its own: this same program, started again by the guardian.
//! The two are joined by a control socket, and nothing but its end crosses back. However the guardian ends, its
//! announcement is taken back at once; whatever happens to the announcer, the server goes on.

mod message;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use outpost_transport::{Listener, LocalGroup, ServerTransport};
use outpost_wire::ServerKind;
use rustix::event::{PollFd, PollFlags, poll};

use crate::control::{Control, Received};
use crate::guardian::{random, timespec};
use crate::handover::{hex, one_line};
use crate::role::{self, ANNOUNCER, Backend};
use crate::{Log, ServerError, registry, signals};
pub use message::fuzz_datagram;
use message::{Service, Wanted};

/// Longest datagram that is read; longer ones do not leave their network whole (RFC 6762, 17).
const DATAGRAM: usize = 9000;
/// Unsolicited announcements, with twice the pause each time, beginning with a second (RFC 6762, 8.3).
const ANNOUNCEMENTS: u32 = 3;
/// What was said is not said again to everybody within this time (RFC 6762, 6).
const QUIET: Duration = Duration::from_secs(1);
/// Answers to single askers within that time.
const MAX_LEGACY: u32 = 16;
/// How often networks are looked for that came or went.
const REFRESH: Duration = Duration::from_secs(10);

/// A server's announcement; taken back on drop, or when this process ends.
#[derive(Debug)]
pub(crate) struct Announcement {
    _control: Control,
}

impl Announcement {
    /// Announces what listens; `None`: it is hidden, or others cannot reach it.
    pub(crate) fn start(kind: ServerKind, listener: &Listener) -> Result<Option<Announcement>, ServerError> {
        let transport = listener.transport();
        let (ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _)) = transport else { return Ok(None) };
        if transport.is_hidden() || !transport.is_beyond_this_machine() {
            return Ok(None);
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let service = Service {
            kind,
            host,
            port: tcp.port.first,
            transport: transport.to_string(),
            unique: hex(&random::<4>()?),
        };
        let (control, theirs) = Control::pair().map_err(ServerError::io("make a control socket"))?;
        // A group of its own: Ctrl+C at the server's terminal is for the guardian.
        let started = role::again(ANNOUNCER, theirs.into_fd()).process_group(0).spawn();
        started.map_err(ServerError::io("start an announcer"))?;
        control.send(orders(&service, tcp.bind).as_bytes(), &[]).map_err(ServerError::io("start an announcer"))?;
        Ok(Some(Announcement { _control: control }))
    }
}

/// What the announcer is told: lines of `key value`.
fn orders(service: &Service, bind: Option<IpAddr>) -> String {
    let Service { kind, host, port, transport, unique } = service;
    let bind = bind.map_or("*".to_owned(), |address| address.to_string());
    let (kind, host, transport) = (registry::keyword(*kind), one_line(host), one_line(transport));
    format!("kind {kind}\nhost {host}\nport {port}\ntransport {transport}\nunique {unique}\nbind {bind}\n")
}

fn read_orders(text: &str) -> Option<(Service, Reach)> {
    let find = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let service = Service {
        kind: registry::kind(find("kind")?)?,
        host: find("host")?.to_owned(),
        port: find("port")?.parse().ok()?,
        transport: find("transport")?.to_owned(),
        unique: find("unique")?.to_owned(),
    };
    Some((service, Reach(find("bind")?.parse().ok())))
}

/// The address that it listens on; `None`: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach(Option<IpAddr>);

impl Reach {
    /// Those of a network's addresses at which the server can be reached.
    fn of(self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let is_reached = |address: &&IpAddr| match self.0 {
            None => true,
            // An IPv6 socket for all addresses takes both kinds.
            Some(bound) if bound.is_unspecified() => bound.is_ipv6() || address.is_ipv4(),
            Some(bound) => bound == **address,
        };
        addresses.iter().filter(is_reached).copied().collect()
    }
}

/// Runs this process as an announcer, until the other end of its control socket is closed.
pub(crate) fn run(_: &dyn Backend) -> Result<(), ServerError> {
    signals::unblock_all()?;
    let missing = |reason| ServerError::Handover { reason };
    let control = Control::from_stdin().map_err(ServerError::io("open the control socket"))?;
    let received = control.receive(true).map_err(|_| missing("standard input is no control socket"))?;
    let Received::Message(text, _) = received else { return Err(missing("no orders")) };
    let text = String::from_utf8(text).map_err(|_| missing("the orders are no text"))?;
    let (service, reach) = read_orders(&text).ok_or(missing("the orders are damaged"))?;
    let group = match LocalGroup::join() {
        Ok(group) => group,
        Err(error) => {
            Log::Stderr.line(format_args!("not announced: {error}"));
            return Ok(());
        }
    };
    Log::Stderr.line(format_args!("announced on the local network as {}", service.instance()));
    Announcer::new(service, reach, group).run(&control);
    Ok(())
}

struct Announcer {
    service: Service,
    reach: Reach,
    group: LocalGroup,
    /// Unsolicited announcements that are left, when the next one is due, and the pause behind it.
    left: u32,
    next: Instant,
    pause: Duration,
    refresh: Instant,
    /// When everybody was told last.
    told: Option<Instant>,
    /// Whom it answered alone since then.
    legacy: u32,
    legacy_since: Instant,
}

impl Announcer {
    fn new(service: Service, reach: Reach, group: LocalGroup) -> Announcer {
        let now = Instant::now();
        Announcer {
            service,
            reach,
            group,
            left: ANNOUNCEMENTS,
            next: now,
            pause: QUIET,
            refresh: now + REFRESH,
            told: None,
            legacy: 0,
            legacy_since: now,
        }
    }

    fn run(mut self, control: &Control) {
        loop {
            self.act(Instant::now());
            let due = if self.left > 0 { self.next.min(self.refresh) } else { self.refresh };
            let timeout = timespec(due.saturating_duration_since(Instant::now()));
            let mut fds = vec![PollFd::new(control, PollFlags::IN)];
            let sockets: Vec<BorrowedFd<'_>> = self.group.sockets().collect();
            fds.extend(sockets.into_iter().map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
            let _ = poll(&mut fds, Some(&timeout));
            let is_over = !fds[0].revents().is_empty();
            if is_over {
                return self.tell(true);
            }
            self.hear();
        }
    }

    /// What is due.
    fn act(&mut self, now: Instant) {
        if now >= self.refresh {
            self.refresh = now + REFRESH;
            if self.group.refresh() {
                (self.left, self.next, self.pause) = (ANNOUNCEMENTS, now, QUIET);
            }
        }
        if self.left > 0 && now >= self.next {
            self.tell(false);
            self.told = Some(now);
            (self.left, self.next, self.pause) = (self.left - 1, now + self.pause, self.pause * 2);
        }
    }

    /// Tells everybody.
    fn tell(&self, ends: bool) {
        for interface in self.group.interfaces() {
            let addresses = self.reach.of(&interface.addresses);
            if let Some(datagram) = self.service.announcement(&addresses, ends).filter(|_| !addresses.is_empty()) {
                self.group.send(interface, &datagram);
            }
        }
    }

    /// Answers what has come, a bounded part of it: a flood must not keep the end of the server from being heard.
    fn hear(&mut self) {
        let mut buffer = [0; DATAGRAM];
        for _ in 0..64 {
            let Some((len, from)) = self.group.receive(&mut buffer) else { return };
            let (datagram, now) = (&buffer[..len], Instant::now());
            match self.service.is_wanted(datagram, LocalGroup::is_member(from)) {
                Wanted::Nothing => {}
                Wanted::Multicast if self.told.is_some_and(|told| now.duration_since(told) < QUIET) => {
                    // Who came in between hears it a little later.
                    (self.left, self.next) = (self.left.max(1), self.next.min(now + QUIET));
                }
                Wanted::Multicast => {
                    self.tell(false);
                    self.told = Some(now);
                }
                Wanted::Legacy => self.answer_alone(datagram, from, now),
            }
        }
    }

    fn answer_alone(&mut self, query: &[u8], from: SocketAddr, now: Instant) {
        if now.duration_since(self.legacy_since) >= QUIET {
            (self.legacy, self.legacy_since) = (0, now);
        }
        if self.legacy >= MAX_LEGACY || !message::is_near(from) {
            return;
        }
        self.legacy += 1;
        let all: Vec<IpAddr> = self.group.interfaces().iter().flat_map(|one| one.addresses.clone()).collect();
        if let Some(datagram) = self.service.legacy_answer(query, &self.reach.of(&all)) {
            self.group.send_to(from, &datagram);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_given() {
        let service = Service {
            kind: ServerKind::Process,
            host: "alder".into(),
            port: 9,
            transport: "ssl:Port=9,CertUser=AB".into(),
            unique: "0f".into(),
        };
        let bound = "10.0.0.7".parse().unwrap();
        assert_eq!(read_orders(&orders(&service, Some(bound))), Some((service.clone(), Reach(Some(bound)))));
        assert_eq!(read_orders(&orders(&service, None)), Some((service.clone(), Reach(None))));
        assert_eq!(read_orders(&orders(&service, None).replace("port 9", "port x")), None);
        // No line comes out of a name.
        let odd = Service { host: "al\nport 7\nder".into(), ..service };
        assert_eq!(read_orders(&orders(&odd, None)).unwrap().0.port, 9);
    }

    #[test]
    fn it_is_announced_where_it_listens() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [parse("10.0.0.7"), parse("fd00::7")];
        let check = |bind: Option<&str>, expected: &[IpAddr]| assert_eq!(Reach(bind.map(parse)).of(&own), expected);
        check(None, &own);
        check(Some("::"), &own);
        check(Some("0.0.0.0"), &own[..1]);
        check(Some("fd00::7"), &own[1..]);
        check(Some("10.0.0.8"), &[]);
    }
}
