//! Lists of sessions on a control socket: one line for each, its fields parted by tabs. Names hold no control characters.

use std::time::Duration;

use outpost_base::ProcessId;
use outpost_target::ServerSession;

/// Bytes of a list; a message on a control socket has at most 64 KiB.
const MOST: usize = 60 << 10;

/// As the guardian sends it; sessions beyond the bound are left out.
pub(crate) fn encode(sessions: impl Iterator<Item = ServerSession>) -> String {
    let mut text = String::from("sessions\n");
    for one in sessions {
        let held = one.held.map_or("-".to_owned(), |left| left.as_secs().to_string());
        let processes: Vec<String> = one.processes.iter().map(ToString::to_string).collect();
        let line = format!(
            "{}\t{}\t{held}\t{}\t{}\t{}\t{}\t{}\n",
            one.number,
            one.opened_us,
            u8::from(one.own),
            processes.join(","),
            one.user,
            one.host,
            one.peer,
        );
        if text.len() + line.len() > MOST {
            break;
        }
        text += &line;
    }
    text
}

/// As a worker reads it, less its first line.
pub(crate) fn decode(lines: &str) -> Vec<ServerSession> {
    lines.lines().filter_map(one).collect()
}

fn one(line: &str) -> Option<ServerSession> {
    let [number, opened, held, own, processes, user, host, peer] =
        <[&str; 8]>::try_from(line.split('\t').collect::<Vec<_>>()).ok()?;
    Some(ServerSession {
        number: number.parse().ok()?,
        user: user.to_owned(),
        host: host.to_owned(),
        peer: peer.to_owned(),
        opened_us: opened.parse().ok()?,
        held: held.parse().ok().map(Duration::from_secs),
        processes: processes.split(',').filter_map(|pid| pid.parse().ok()).map(ProcessId).collect(),
        own: own == "1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_arrives_and_is_bounded() {
        let session = |number: u64| ServerSession {
            number,
            user: "ada lovelace".into(),
            host: String::new(),
            peer: "tcp 127.0.0.1:9".into(),
            opened_us: 77,
            held: number.is_multiple_of(2).then_some(Duration::from_secs(5)),
            processes: (0..number as u32).map(ProcessId).collect(),
            own: number == 1,
        };
        let sent: Vec<ServerSession> = (0..4).map(session).collect();
        let text = encode(sent.iter().cloned());
        assert_eq!(decode(text.strip_prefix("sessions\n").unwrap()), sent);
        assert!(encode((0..100_000).map(|_| session(3))).len() <= MOST);
    }
}
