//! `!locks`: locks that are waited for, with who holds them.

use std::collections::BTreeMap;

use outpost_base::{MemoryReader as _, Va};
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

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!cs"],
        syntax: "!cs Address",
        summary: "Show the pthread mutex at an address",
        details: "Whether it is locked, by which thread, how often, how many threads use it, and of what kind it is, by glibc's \
              own structure. !locks finds the locks that threads wait for.",
        example: "!cs queue_lock",
        group: Group::State,
        eats_line: false,
        run: carry_out::<ShowMutex>,
    },
    CommandEntry {
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
    },
];

/// Shows a mutex.
#[derive(Debug, Clone, Copy)]
pub struct ShowMutex {
    at: Va,
}

/// All bits that glibc's kinds of mutexes have (nptl/pthreadP.h).
const MUTEX_KINDS: u32 = 0x3ff;

/// A mutex as glibc has it (sysdeps/nptl/bits/struct_mutex.h).
#[derive(Debug, Clone, Copy)]
pub struct Mutex {
    /// Where it is.
    pub at: Va,
    /// 0: free, 1: locked, 2: locked and waited for.
    pub lock: u32,
    /// How often a recursive one is locked.
    pub count: u32,
    /// The system's id of the thread that holds it; 0: none.
    pub owner: u32,
    /// Threads that hold it or wait in a condition variable with it.
    pub users: u32,
    /// Its kind with flags.
    pub kind: u32,
    /// The thread that holds it, if it is one of this process.
    pub thread: Option<ThreadOrdinal>,
}

fields!(Mutex { at, lock, count, owner, users, kind, thread });

impl Command for ShowMutex {
    type Data = Mutex;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ShowMutex, CommandError> {
        if arguments.is_empty() {
            return Err(arguments.usage("the address is missing"));
        }
        Ok(ShowMutex { at: arguments.address(debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Mutex, CommandError> {
        let mut bytes = [0; 20];
        if debugger.engine.memory()?.read(self.at, &mut bytes) != bytes.len() {
            return Err(outpost_engine::EngineError::Unreadable { at: self.at }.into());
        }
        let word = |index: usize| u32::from_le_bytes(std::array::from_fn(|byte| bytes[index * 4 + byte]));
        if word(4) > MUTEX_KINDS {
            return Err(CommandError::invalid(format!("that is no pthread mutex: its kind would be {:#x}", word(4))));
        }
        let process = debugger.engine.current_process()?;
        let threads = debugger.engine.threads(process)?;
        let owner = word(2);
        let holder = debugger.engine.thread_of_library(owner);
        let thread = threads.iter().find(|thread| thread.id == holder).map(|thread| thread.ordinal);
        Ok(Mutex { at: self.at, lock: word(0), count: word(1), owner, users: word(3), kind: word(4), thread })
    }

    fn render(data: &Mutex, text: &mut String) {
        let state = match (data.lock, data.thread) {
            (0, _) => "not locked".to_owned(),
            (lock, thread) => {
                let by = thread.map_or_else(
                    || format!("0n{}, no thread of this process", data.owner),
                    |thread| thread.to_string(),
                );
                let waited = if lock > 1 { ", waited for" } else { "" };
                format!("locked by thread {by}{waited}")
            }
        };
        let kind = match data.kind & 3 {
            1 => "recursive",
            2 => "error-checking",
            3 => "adaptive",
            _ => "normal",
        };
        let count = if data.count > 0 { format!(", 0n{} times", data.count) } else { String::new() };
        line!(text, "Mutex at {}: {state}{count}", data.at);
        line!(text, "  {kind} (kind {:#x}), 0n{} users", data.kind, data.users);
    }
}

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
