//! Which session is meant by a client that takes one over.

use outpost_target::ServerSession;

/// The session to take over, of those that whoever asks may have: the one named, or with 0 the only one that is held.
///
/// # Errors
/// Why none, for the client; if it has a choice, with the list.
pub(crate) fn choose(number: u64, sessions: &[ServerSession]) -> Result<u64, String> {
    let held: Vec<&ServerSession> = sessions.iter().filter(|session| session.held.is_some()).collect();
    let list = || held.iter().map(|session| line(session)).collect::<Vec<_>>().join("\n  ");
    let found: Vec<_> = held.iter().filter(|session| number == 0 || session.number == number).collect();
    match found.as_slice() {
        [one] => Ok(one.number),
        _ if held.is_empty() => Err("no session is held here that could be taken over".into()),
        [] => Err(format!("session {number} is not held; held are:\n  {}", list())),
        _ => Err(format!("several sessions are held; name one of them:\n  {}", list())),
    }
}

fn line(session: &ServerSession) -> String {
    let ServerSession { number, user, host, peer, held, processes, .. } = session;
    let processes: Vec<String> = processes.iter().map(ToString::to_string).collect();
    let left = held.unwrap_or_default().as_secs();
    let name = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
    let (user, host, processes) = (name(user), name(host), processes.join(" "));
    format!("session {number} of {user}@{host} ({peer}), processes: {processes}; held for another {left} s")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn session(number: u64, held: bool) -> ServerSession {
        ServerSession {
            number,
            user: "ada".into(),
            host: String::new(),
            peer: "tcp 10.0.0.7:9".into(),
            opened_us: 1,
            held: held.then_some(Duration::from_secs(7)),
            processes: vec![outpost_base::ProcessId(42)],
            own: false,
        }
    }

    #[test]
    fn the_only_held_session_needs_no_name() {
        let check = |number, sessions: &[ServerSession], expected: Result<u64, &str>| match (
            choose(number, sessions),
            expected,
        ) {
            (Ok(chosen), Ok(expected)) => assert_eq!(chosen, expected),
            (Err(text), Err(words)) => assert!(text.contains(words), "{text}"),
            (chosen, _) => panic!("{chosen:?}"),
        };
        let sessions = [session(1, false), session(2, true)];
        check(0, &sessions, Ok(2));
        check(2, &sessions, Ok(2));
        check(
            1,
            &sessions,
            Err("session 1 is not held; held are:\n  session 2 of ada@? (tcp 10.0.0.7:9), processes: 42; held for"),
        );
        check(0, &sessions[..1], Err("no session is held here"));
        check(0, &[session(2, true), session(3, true)], Err("several sessions are held"));
    }
}
