//! `.sessions`: what a process server holds.

use outpost_engine::target::{ServerSession, TargetError};

use super::time::date_of;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".sessions"],
    syntax: ".sessions",
    summary: "List the sessions of the process server",
    details: "Of the current system's server: number (* is this one), whose it is and where from, since when, its processes. \
              One whose debugger is gone is held for a while; cdb -premote Transport -resume Number takes it over.",
    example: ".sessions",
    group: Group::Processes,
    eats_line: false,
    run: carry_out::<SessionList>,
}];

/// Lists sessions.
#[derive(Debug, Clone)]
pub struct SessionList;

impl Command for SessionList {
    type Data = Vec<ServerSession>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<SessionList, CommandError> {
        Ok(SessionList)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<ServerSession>, CommandError> {
        let system = debugger.engine.current_system().ok_or(outpost_engine::EngineError::NoDebuggee)?;
        // The helper behind a local session is not a server that anyone started.
        let is_local = debugger.engine.target_info(system)?.name == "<Local>";
        let sessions = debugger.engine.with_target(system, |target| match target.as_os().filter(|_| !is_local) {
            Some(os) => os.sessions(),
            None => {
                let reason = "there is no server".into();
                Err(TargetError::Unsupported { operation: "listing sessions", reason })
            }
        })?;
        Ok(sessions.map_err(outpost_engine::EngineError::from)?)
    }

    fn render(data: &Vec<ServerSession>, text: &mut String) {
        for session in data {
            let own = if session.own { '*' } else { ' ' };
            let name = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
            let (user, host) = (name(&session.user), name(&session.host));
            line!(text, "{own} {:>3}  {user}@{host} ({})", session.number, session.peer);
            line!(text, "       Since: {}", date_of(session.opened_us / 1_000_000));
            let state = match session.held {
                Some(left) => format!("held without a debugger for another {} s", left.as_secs()),
                None => "in use".to_owned(),
            };
            line!(text, "       State: {state}");
            let processes: Vec<String> = session.processes.iter().map(|process| format!("0n{process}")).collect();
            let processes = if processes.is_empty() { "none".to_owned() } else { processes.join(" ") };
            line!(text, "       Processes: {processes}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outpost_base::ProcessId;

    use super::*;

    #[test]
    fn a_list_says_whose_each_is_and_whether_it_is_held() {
        let session = |number, held| ServerSession {
            number,
            user: "ada".into(),
            host: String::new(),
            peer: "tcp 10.0.0.7:40112".into(),
            opened_us: 0,
            held,
            processes: vec![ProcessId(71), ProcessId(72)],
            own: number == 1,
        };
        let mut text = String::new();
        SessionList::render(&vec![session(1, None), session(12, Some(Duration::from_secs(43)))], &mut text);
        assert!(text.starts_with("*   1  ada@? (tcp 10.0.0.7:40112)\n"), "{text}");
        assert!(text.contains("   12  ada@?") && text.contains("held without a debugger for another 43 s"), "{text}");
        assert_eq!(text.matches("Processes: 0n71 0n72").count(), 2);
    }
}
