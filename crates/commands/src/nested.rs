//! Commands that commands run: for each thread, for each region.

use outpost_engine::ThreadOrdinal;

use crate::debugger::Progress;
use crate::language::{ThreadSpec, cut_command, recognise};
use crate::{CommandError, Debugger, Output, OutputKind};

/// Commands that resume the debuggee or end the session, which cannot be done several times in turn.
const RESUMING: &[&str] = &[
    "g", "ga", "gh", "gn", "gu", "gc", "p", "pr", "t", "tr", "pa", "par", "ta", "tar", "pc", "pcr", "tc", "tcr", "pt",
    "ptr", "tt", "ttr", "pct", "pctr", "tct", "tctr", "ph", "phr", "th", "thr", "q", "qq", "qd", ".restart",
];

impl Debugger {
    /// Runs commands that another runs for many things in turn. A failure is shown and does not keep the following ones
    /// from it; commands that resume are refused, since what the loop stands for would be gone after them.
    ///
    /// Gives `false` if nothing may follow: the debuggee runs or the session is over all the same.
    pub(crate) fn run_nested(&mut self, commands: &str, refusal: &str, out: &mut dyn Output) -> bool {
        let mut rest = commands;
        while !rest.trim().is_empty() {
            let (command, after) = cut_command(rest);
            rest = after;
            let command = command.trim();
            if command.is_empty() {
                continue;
            }
            let result = match resumes(command) {
                true => Err(CommandError::invalid(refusal)),
                false => self.one_command(command, out),
            };
            if let Err(error) = result {
                out.write(OutputKind::Error, &format!("{}\n", error.message()));
            }
            if self.progress() != Progress::Prompt {
                return false;
            }
        }
        true
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
fn resumes(command: &str) -> bool {
    match recognise(command) {
        Ok(found) if found.name == "~" => {
            let rest = ThreadSpec::parse(found.rest).1.trim();
            !rest.is_empty() && rest.len() < found.rest.len() && resumes(rest)
        }
        Ok(found) => RESUMING.iter().any(|name| name.eq_ignore_ascii_case(found.name)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resumes_is_seen_through_thread_prefixes() {
        for command in ["g", "G", "p 3", "~* g", "~1 ~2g", "tr", "qd", ".restart"] {
            assert!(resumes(command), "{command}");
        }
        for command in ["k", "~*k", "~", "~ ~", "gx", ".echo g"] {
            assert!(!resumes(command), "{command}");
        }
    }
}
