//! Commands that commands run: for each thread, and none that resumes.

use outpost_engine::{CallOptions, ThreadOrdinal};

use crate::debugger::Progress;
use crate::language::{ThreadSpec, cut_command, recognise};
use crate::{CommandError, Debugger};

/// Commands that resume the debuggee or end the session, which cannot be done several times in turn.
const RESUMING: &[&str] = &[
    "g", "ga", "gh", "gn", "gu", "gc", "p", "pr", "t", "tr", "pa", "par", "ta", "tar", "pc", "pcr", "tc", "tcr", "pt",
    "ptr", "tt", "ttr", "pct", "pctr", "tct", "tctr", "ph", "phr", "th", "thr", "wt", "q", "qq", "qd", ".restart",
];

impl Debugger {
    /// Evaluates with functions called as the user is told they are by default.
    pub(crate) fn calling<T>(&mut self, evaluate: impl FnOnce(&mut Debugger) -> T) -> T {
        self.calling_by(CallOptions::default(), evaluate)
    }

    /// The same in another manner.
    pub(crate) fn calling_by<T>(&mut self, options: CallOptions, evaluate: impl FnOnce(&mut Debugger) -> T) -> T {
        // A call is execution.
        self.engine.permit_calls(Some(options).filter(|_| self.settings.execution_allowed));
        let done = evaluate(self);
        self.engine.permit_calls(None);
        done
    }

    /// Does something for each of some threads, made current for it; then the one that was current is so again, also
    /// after a failure.
    pub(crate) fn for_threads(
        &mut self,
        threads: &[ThreadOrdinal],
        mut action: impl FnMut(&mut Debugger, ThreadOrdinal) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let before = self.engine.current_thread()?;
        let mut done = Ok(());
        for &thread in threads {
            done = self.engine.check_interrupt().and_then(|()| self.engine.select_thread(thread)).map_err(Into::into);
            done = done.and_then(|()| action(self, thread));
            if done.is_err() || self.progress() != Progress::Prompt {
                break;
            }
        }
        // The action may have let the process go, or resumed it; then there is nothing to go back to.
        if self.progress() == Progress::Prompt && self.engine.thread(before).is_ok() {
            self.engine.select_thread(before)?;
        }
        done
    }
}

/// Whether a command resumes, with or without a thread before it.
pub(crate) fn resumes(command: &str) -> bool {
    match recognise(command) {
        Ok(found) if found.name == "~" => {
            let rest = ThreadSpec::parse(found.rest).1.trim();
            !rest.is_empty() && rest.len() < found.rest.len() && resumes(rest)
        }
        Ok(found) if found.name.eq_ignore_ascii_case(".json") => resumes(cut_command(found.rest).0),
        Ok(found) => RESUMING.iter().any(|name| name.eq_ignore_ascii_case(found.name)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resumes_is_seen_through_thread_prefixes() {
        for command in ["g", "G", "p 3", "~* g", "~1 ~2g", ".json g; k", "tr", "qd", ".restart"] {
            assert!(resumes(command), "{command}");
        }
        for command in ["k", "~*k", "~", "~ ~", "gx", ".json k; g", ".echo g"] {
            assert!(!resumes(command), "{command}");
        }
    }
}
