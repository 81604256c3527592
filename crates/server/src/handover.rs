//! What a guardian tells a worker when it starts it. Both are the same program, so the form is nobody else's business:
//! lines of `key value`, the strings of lists one per line.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use outpost_transport::{Connection, Peer};
use outpost_wire::{Agreed, Identity, OnLost, OpenRequest, Opening, RequestId, ResumeRequest};

use crate::access::Access;
use crate::control::{Control, Received};
use crate::session::{Claim, NewLink};
use crate::{AllowList, Log, Role, ServerError};

/// Everything a worker needs.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) session: u64,
    pub(crate) token: Vec<u8>,
    pub(crate) open: OpenRequest,
    pub(crate) command_line: Vec<String>,
    /// Its time is given.
    pub(crate) on_lost: OnLost,
    /// Whether its client may end the server.
    pub(crate) remote_end: bool,
    /// Sessions of this user's other servers are its client's as well: see `rendezvous`.
    pub(crate) has_neighbours: bool,
    /// What the client may do.
    pub(crate) access: Access,
    pub(crate) log: Log,
    pub(crate) link: Connection,
    pub(crate) journal: OwnedFd,
    /// The standard input of the server, whose place the control socket takes while the worker starts.
    pub(crate) stdin: OwnedFd,
}

impl Handover {
    pub(crate) fn send(&self, control: &Control) -> std::io::Result<()> {
        let OpenRequest { request, identity, agreed, .. } = &self.open;
        let token = hex(&self.token);
        let (on_lost, grace) = policy_words(self.on_lost);
        let resume = u8::from(agreed.resume);
        let quiet = u8::from(self.log == Log::Quiet);
        let remote_end = u8::from(self.remote_end);
        let neighbours = u8::from(self.has_neighbours);
        let mut text = format!(
            "session {}\ntoken {token}\nrequest {}\nversion {}\nframe {}\nrequests {}\nquiet {quiet}\n\
             resume {resume}\nremoteend {remote_end}\nneighbours {neighbours}\nrole {}\nonlost {on_lost}\ngrace {grace}\nuser {}\nhost {}\n",
            self.session,
            request.0,
            agreed.version,
            agreed.frame_bytes,
            agreed.requests,
            self.access.role,
            one_line(&identity.user),
            one_line(&identity.host),
        );
        for word in &self.command_line {
            text += &format!("word {}\n", hex(word.as_bytes()));
        }
        for allowed in self.access.allowed.iter() {
            text += &format!("allow {}\n", hex(allowed.to_string().as_bytes()));
        }
        let descriptors: [BorrowedFd<'_>; 3] = [self.link.as_fd(), self.journal.as_fd(), self.stdin.as_fd()];
        control.send(text.as_bytes(), &descriptors)
    }

    pub(crate) fn receive(control: &Control) -> Result<Handover, ServerError> {
        let missing = |reason| ServerError::Handover { reason };
        let received = control.receive(true).map_err(|_| missing("standard input is no control socket"))?;
        let Received::Message(text, descriptors) = received else { return Err(missing("no handover")) };
        let [link, journal, stdin] =
            <[OwnedFd; 3]>::try_from(descriptors).map_err(|_| missing("wrong number of descriptors"))?;
        let text = String::from_utf8(text).map_err(|_| missing("the handover is no text"))?;
        let lines: Vec<(&str, &str)> = text.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
        let find = |key| {
            let found = lines.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
            found.ok_or(missing("a line of the handover is missing"))
        };
        let number = |key| find(key)?.parse::<u64>().map_err(|_| missing("a number of the handover is none"));
        let bytes = |hex: &str| unhex(hex).ok_or(missing("a text of the handover is damaged"));
        let damaged = || missing("a text of the handover is damaged");
        let texts = |key| {
            let found = lines.iter().filter(move |(name, _)| *name == key);
            found.map(|(_, hex)| String::from_utf8(bytes(hex)?).map_err(|_| damaged()))
        };
        let role = Role::of(find("role")?).ok_or(missing("no role"))?;
        let mut allowed = AllowList::default();
        for text in texts("allow") {
            allowed.push(text?.parse().map_err(|_| damaged())?);
        }
        let small = |value: u64| u32::try_from(value).map_err(|_| missing("a number of the handover is too large"));
        Ok(Handover {
            session: number("session")?,
            token: bytes(find("token")?)?,
            open: OpenRequest {
                request: RequestId(number("request")?),
                identity: Identity { user: find("user")?.to_owned(), host: find("host")?.to_owned() },
                take_command_line: false,
                on_lost: None,
                opening: Opening::default(),
                agreed: Agreed {
                    version: small(number("version")?)?,
                    frame_bytes: small(number("frame")?)? as usize,
                    requests: small(number("requests")?)?,
                    resume: find("resume")? == "1",
                },
            },
            command_line: texts("word").collect::<Result<_, _>>()?,
            on_lost: policy(find("onlost")?, number("grace")?).ok_or(missing("no policy"))?,
            remote_end: find("remoteend")? == "1",
            has_neighbours: find("neighbours")? == "1",
            access: Access { role, allowed },
            log: if find("quiet")? == "1" { Log::Quiet } else { Log::Stderr },
            // Who is at the other end was logged when it was accepted.
            link: Connection::new(link, Peer::Memory),
            journal,
            stdin,
        })
    }
}

fn policy_words(on_lost: OnLost) -> (&'static str, u64) {
    let name = match on_lost {
        OnLost::Hold(_) => "hold",
        OnLost::Detach => "detach",
        OnLost::Run(_) => "run",
        OnLost::Kill => "kill",
    };
    (name, on_lost.grace().as_secs())
}

fn policy(name: &str, grace: u64) -> Option<OnLost> {
    let time = Some(Duration::from_secs(grace));
    Some(match name {
        "hold" => OnLost::Hold(time),
        "detach" => OnLost::Detach,
        "run" => OnLost::Run(time),
        "kill" => OnLost::Kill,
        _ => return None,
    })
}

/// In place of a secret, in orders: the client has not heard yet that its session is open.
const OPENS: &str = "opens";

/// What a worker is told with a link for its session; `token`: its new secret, for one who takes over.
pub(crate) fn link_order(request: &ResumeRequest, token: Option<&[u8]>) -> String {
    let ResumeRequest { request: id, seen, agreed, .. } = request;
    let token = match token {
        Some(token) => hex(token),
        None if request.opens => OPENS.to_owned(),
        None => "-".to_owned(),
    };
    format!("link {} {seen} {} {} {} {token}", id.0, agreed.version, agreed.frame_bytes, agreed.requests)
}

/// The same, read.
pub(crate) fn read_link_order(text: &str, descriptor: OwnedFd) -> Option<NewLink> {
    let words: Vec<&str> = text.strip_prefix("link ")?.split(' ').collect();
    let [request, seen, version, frame, requests, token] = <[&str; 6]>::try_from(words).ok()?;
    let claim = match token {
        "-" => Claim::Resume { seen: seen.parse().ok()? },
        OPENS => Claim::Open,
        token => Claim::TakeOver { token: unhex(token)? },
    };
    let agreed = Agreed {
        version: version.parse().ok()?,
        frame_bytes: frame.parse().ok()?,
        requests: requests.parse().ok()?,
        resume: true,
    };
    let connection = Connection::new(descriptor, Peer::Memory);
    Some(NewLink { connection, request: RequestId(request.parse().ok()?), agreed, claim })
}

/// What one server says to another whose session its client claims.
pub(crate) fn claim_order(session: u64, request: &ResumeRequest) -> String {
    let ResumeRequest { request: id, token, seen, identity, agreed, .. } = request;
    let word = |bytes: &[u8]| if bytes.is_empty() { "-".to_owned() } else { hex(bytes) };
    format!(
        "claim {session} {} {} {} {} {seen} {} {} {} {}",
        word(token),
        word(identity.user.as_bytes()),
        word(identity.host.as_bytes()),
        id.0,
        agreed.version,
        agreed.frame_bytes,
        agreed.requests,
        if request.opens { OPENS } else { "-" },
    )
}

/// The same, read.
pub(crate) fn read_claim_order(text: &str) -> Option<ResumeRequest> {
    let words: Vec<&str> = text.strip_prefix("claim ")?.split(' ').collect();
    let [session, token, user, host, request, seen, version, frame, requests, opens] =
        <[&str; 10]>::try_from(words).ok()?;
    let bytes = |word: &str| if word == "-" { Some(Vec::new()) } else { unhex(word) };
    let name = |word: &str| Some(one_line(&String::from_utf8(bytes(word)?).ok()?));
    Some(ResumeRequest {
        request: RequestId(request.parse().ok()?),
        session: session.parse().ok()?,
        token: bytes(token)?,
        seen: seen.parse().ok()?,
        identity: Identity { user: name(user)?, host: name(host)? },
        agreed: Agreed {
            version: version.parse().ok()?,
            frame_bytes: frame.parse().ok()?,
            requests: requests.parse().ok()?,
            resume: true,
        },
        opens: opens == OPENS,
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_claim_is_read_as_it_was_made_and_nothing_else_is_one() {
        let request = ResumeRequest {
            request: RequestId(1),
            session: 77,
            token: vec![0, 255, 16],
            seen: 5,
            identity: Identity { user: "ada lovelace".into(), host: String::new() },
            agreed: Agreed { version: 1, frame_bytes: 1 << 20, requests: 9, resume: true },
            opens: false,
        };
        let text = claim_order(77, &request);
        assert_eq!(read_claim_order(&text), Some(request.clone()));
        let opening = ResumeRequest { opens: true, ..request.clone() };
        assert_eq!(read_claim_order(&claim_order(77, &opening)), Some(opening));
        let taking_over = ResumeRequest { token: Vec::new(), session: 0, ..request };
        let expected = ResumeRequest { session: 8, ..taking_over.clone() };
        assert_eq!(read_claim_order(&claim_order(8, &taking_over)), Some(expected));
        for text in [
            "",
            "claim ",
            "claim 1 2 3",
            &text.replace("claim", "link"),
            &text.replace("00ff10", "00f"),
            &(text.clone() + " 1"),
        ] {
            assert_eq!(read_claim_order(text), None, "{text}");
        }
    }

    #[test]
    fn a_handover_arrives_with_its_descriptors() {
        let (guardian, worker) = Control::pair().unwrap();
        let (near, far) = Connection::pair().unwrap();
        let file = || rustix::fs::memfd_create("journal", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let agreed = Agreed { version: 1, frame_bytes: 1 << 20, requests: 9, resume: true };
        let identity = Identity { user: "ada lovelace".into(), host: "birch\nsession 9".into() };
        let mut allowed = AllowList::default();
        ["program=/", "operation=kill"].iter().for_each(|text| allowed.push(text.parse().unwrap()));
        let sent = Handover {
            session: 3,
            token: vec![0, 255, 16],
            open: OpenRequest {
                request: RequestId(1),
                identity,
                take_command_line: true,
                on_lost: None,
                opening: Opening::default(),
                agreed,
            },
            command_line: vec!["./a b".into(), String::new(), "x\ny".into()],
            on_lost: OnLost::Run(Some(Duration::from_secs(7))),
            remote_end: true,
            has_neighbours: true,
            access: Access { role: Role::Launch, allowed },
            log: Log::Quiet,
            link: far,
            journal: file(),
            stdin: file(),
        };
        sent.send(&guardian).unwrap();
        let got = Handover::receive(&worker).unwrap();
        assert_eq!((got.session, &got.token, got.log), (3, &sent.token, Log::Quiet));
        assert_eq!(got.open.identity, Identity { user: "ada lovelace".into(), host: "birchsession 9".into() });
        assert_eq!((got.on_lost, got.remote_end, got.has_neighbours), (sent.on_lost, true, true));
        assert_eq!((got.access.role, &got.access.allowed), (Role::Launch, &sent.access.allowed));
        assert_eq!((got.open.agreed, &got.command_line), (agreed, &sent.command_line));
        drop(sent);
        (&got.link).write_all(b"!").unwrap();
        let mut byte = [0];
        (&near).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"!");
    }
}
