//! `!locks`: locks that are waited for, with who holds them.

use std::collections::BTreeMap;

use outpost_base::Va;
use outpost_engine::ThreadOrdinal;
use outpost_engine::triage::{Lock, ThreadWait, Waiting};

use super::uniqstack::ranges;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::frames::call_site;
use crate::text::line;
use crate::text::symbols::line_suffix;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!locks"],
    syntax: "!locks [-v]",
    summary: "Show locks that threads wait for, who holds them, and what every thread waits for",
    details: "pthread mutexes and rwlocks, std::sync::Mutex and RwLock of Rust, parking_lot; made out from the system calls \
              that threads are in, so locks that nobody waits for do not show. pthread locks record their owner. Locks of \
              Rust do not: a thread with a guard among its variables is named, which needs debug info and is often lost to \
              optimisation. Condition variables, semaphores, joins, files and other waits follow; -v lists running threads, \
              too. !analyze -hang draws the conclusion.",
    example: "!locks",
    group: Group::State,
    eats_line: false,
    run: carry_out::<Locks>,
}];

/// Shows what threads wait for.
#[derive(Debug, Clone)]
pub struct Locks {
    verbose: bool,
}

/// What threads wait for.
#[derive(Debug, Clone)]
pub struct ShownWaits {
    /// All threads.
    pub waits: Vec<ThreadWait>,
    verbose: bool,
}

fields!(ShownWaits { waits, .. });

impl Command for Locks {
    type Data = ShownWaits;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Locks, CommandError> {
        let mut verbose = false;
        while let Some(option) = arguments.take_option() {
            match option {
                "v" => verbose = true,
                other => return Err(arguments.usage(format!("unknown option -{other}"))),
            }
        }
        Ok(Locks { verbose })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownWaits, CommandError> {
        Ok(ShownWaits { waits: debugger.engine.waits()?, verbose: self.verbose })
    }

    fn render(data: &ShownWaits, text: &mut String) {
        let mut locks: BTreeMap<Va, (&Lock, Vec<ThreadOrdinal>)> = BTreeMap::new();
        for wait in &data.waits {
            if let Waiting::Lock(lock) = &wait.waiting {
                locks.entry(lock.at).or_insert((lock, Vec::new())).1.push(wait.thread);
            }
        }
        for (lock, waiters) in locks.values() {
            let name = if lock.name.is_empty() { String::new() } else { format!(" {}", lock.name) };
            let kind = lock.kind.to_string();
            let kind = kind.split(',').next().unwrap_or_default();
            let state = if lock.state.is_empty() { String::new() } else { format!(" ({})", lock.state) };
            line!(text, "{}{name}: {kind}{state}", lock.at);
            let owner = match lock.owner {
                None => "not recorded".to_owned(),
                Some(id) => match data.waits.iter().find(|wait| wait.id == id) {
                    Some(wait) => format!("thread {} (id {:x})", wait.thread, id.0),
                    None => format!("thread with id {:x}, which has ended", id.0),
                },
            };
            line!(text, "    Held by:    {owner}");
            line!(text, "    Waited for: {}", ranges(waiters));
        }
        if !locks.is_empty() {
            line!(text, "");
        }
        for wait in data.waits.iter().filter(|wait| data.verbose || wait.waiting != Waiting::No) {
            line!(text, "{}", wait_line(wait));
        }
        let running = data.waits.iter().filter(|wait| wait.waiting == Waiting::No).count();
        line!(text, "0n{} locks waited for, 0n{} threads, 0n{running} of them running", locks.len(), data.waits.len());
    }
}

/// `  2 "writer" waits for the pthread mutex a in svc!second+0x30 [svc.c @ 12]`.
pub(super) fn wait_line(wait: &ThreadWait) -> String {
    let name = if wait.name.is_empty() { String::new() } else { format!(" \"{}\"", wait.name) };
    let timed = if wait.is_timed && !matches!(wait.waiting, Waiting::Sleep) { ", for a time" } else { "" };
    let place = wait.own_frame().map(|frame| format!(" in {}{}", call_site(frame), line_suffix(frame.source.as_ref())));
    format!("{:3}{name} {}{timed}{}", wait.thread.0, wait.waiting, place.unwrap_or_default())
}
