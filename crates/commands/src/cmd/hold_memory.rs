//! `.holdmem`: ranges of memory that are remembered, to be compared with what is there later.

use outpost_base::{Va, VaRange};
use outpost_engine::ProcessOrdinal;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".holdmem"],
    syntax: ".holdmem -a Range\n.holdmem -c [Range]\n.holdmem -d Range\n.holdmem -D\n.holdmem -o",
    summary: "Remember memory and show what has changed in it",
    details: "-a remembers a range of the current process, -o lists what is remembered, -c compares it with what is there now (all of \
              it, or those parts that touch a range), -d forgets the ranges that touch a range, -D forgets all. 16 MiB in all.",
    example: ".holdmem -o",
    group: Group::Memory,
    eats_line: false,
    run: carry_out::<HoldMemory>,
}];

/// Bytes that are remembered at most.
const LIMIT: u64 = 16 << 20;
/// Bytes in a row that are shown of a change.
const SHOWN: usize = 16;
/// Changes that are shown at most.
const MAX_CHANGES: usize = 256;

/// A remembered range.
#[derive(Debug, Clone)]
pub struct HeldRange {
    process: ProcessOrdinal,
    at: Va,
    bytes: Vec<u8>,
}

impl HeldRange {
    fn range(&self) -> VaRange {
        VaRange::from_len(self.at, self.bytes.len() as u64)
    }
}

/// Remembers, compares, forgets or lists.
#[derive(Debug, Clone)]
pub enum HoldMemory {
    /// `-a`.
    Add(VaRange),
    /// `-c`.
    Compare(Option<VaRange>),
    /// `-d`, or `-D` without a range.
    Forget(Option<VaRange>),
    /// `-o`.
    List,
}

/// A range that is remembered, as it is listed.
#[derive(Debug, Clone)]
pub struct Held {
    /// Whose memory.
    pub process: ProcessOrdinal,
    /// Where.
    pub range: VaRange,
}

/// Bytes in a row that are not what they were.
#[derive(Debug, Clone)]
pub struct Change {
    /// The first.
    pub at: Va,
    /// How many.
    pub len: usize,
    /// The first of them as they were, hexadecimal.
    pub before: String,
    /// As they are; `None` if they cannot be read.
    pub after: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct HeldMemory {
    /// What is remembered afterwards.
    pub held: Vec<Held>,
    /// Of a comparison what has changed.
    pub changes: Option<Vec<Change>>,
}

fields!(Held { process, range });
fields!(Change { at, len, before, after });
fields!(HeldMemory { held, changes });

impl Command for HoldMemory {
    type Data = HeldMemory;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<HoldMemory, CommandError> {
        let option = arguments.take_option();
        let range = match option {
            Some("a" | "c" | "d") if !arguments.is_empty() => {
                let range = arguments.range(debugger, 1, 1)?;
                Some(VaRange::from_len(range.start, range.len))
            }
            _ => None,
        };
        Ok(match (option, range) {
            (Some("a"), Some(range)) if range.is_empty() => return Err(arguments.usage("the range is empty")),
            (Some("a"), Some(range)) => HoldMemory::Add(range),
            (Some("c"), range) => HoldMemory::Compare(range),
            (Some("d"), Some(range)) => HoldMemory::Forget(Some(range)),
            (Some("D"), _) => HoldMemory::Forget(None),
            (Some("o"), _) => HoldMemory::List,
            (Some("a" | "d"), None) => return Err(arguments.usage("the range is missing")),
            (Some(other), _) => return Err(arguments.usage(format!("unknown option -{other}"))),
            (None, _) => return Err(arguments.usage("what to do is missing")),
        })
    }

    fn run(self, debugger: &mut Debugger) -> Result<HeldMemory, CommandError> {
        let mut changes = None;
        match self {
            HoldMemory::Add(range) => {
                let so_far: u64 = debugger.held_memory.iter().map(|held| held.range().len()).sum();
                if so_far.saturating_add(range.len()) > LIMIT {
                    return Err(CommandError::invalid("more than 16 MiB cannot be remembered; -d and -D make room"));
                }
                let process = debugger.engine.current_process()?;
                let bytes = debugger.engine.memory()?.read_vec(range.start, range.len())?;
                debugger.held_memory.push(HeldRange { process, at: range.start, bytes });
            }
            HoldMemory::Compare(range) => changes = Some(compare(range, debugger)?),
            HoldMemory::Forget(range) => {
                debugger.held_memory.retain(|held| range.is_some_and(|range| !touch(held.range(), range)));
            }
            HoldMemory::List => {}
        }
        let held = debugger.held_memory.iter().map(|held| Held { process: held.process, range: held.range() });
        Ok(HeldMemory { held: held.collect(), changes })
    }

    fn render(data: &HeldMemory, text: &mut String) {
        let Some(changes) = &data.changes else {
            for held in &data.held {
                line!(text, "{}: {} - {}", held.process, held.range.start, Va(held.range.end.0 - 1));
            }
            if data.held.is_empty() {
                line!(text, "No memory is remembered");
            }
            return;
        };
        for change in changes {
            let dots = if change.len > SHOWN { "..." } else { "" };
            let after = change.after.as_deref().unwrap_or("cannot be read");
            line!(text, "{} L{:x}: {}{dots} -> {after}{dots}", change.at, change.len, change.before);
        }
        match changes.len() {
            0 => line!(text, "Nothing has changed"),
            MAX_CHANGES.. => line!(text, "and maybe more"),
            _ => {}
        }
    }
}

fn touch(one: VaRange, other: VaRange) -> bool {
    one.start < other.end && other.start < one.end
}

fn compare(within: Option<VaRange>, debugger: &mut Debugger) -> Result<Vec<Change>, CommandError> {
    let process = debugger.engine.current_process()?;
    let of_process = |held: &&HeldRange| held.process == process;
    let touched = |held: &&HeldRange| within.is_none_or(|within| touch(held.range(), within));
    let held: Vec<&HeldRange> = debugger.held_memory.iter().filter(of_process).filter(touched).collect();
    if held.is_empty() {
        return Err(CommandError::invalid("no such memory of the current process is remembered; .holdmem -a does it"));
    }
    let memory = debugger.engine.memory()?;
    let mut changes = Vec::new();
    for held in held {
        debugger.engine.check_interrupt()?;
        let now = memory.read_vec(held.at, held.bytes.len() as u64).ok();
        let Some(now) = now else {
            let before = hex(&held.bytes);
            changes.push(Change { at: held.at, len: held.bytes.len(), before, after: None });
            continue;
        };
        for (start, len) in differences(&held.bytes, &now) {
            if within.is_some_and(|within| !touch(VaRange::from_len(held.at + start as u64, len as u64), within)) {
                continue;
            }
            let (before, after) = (hex(&held.bytes[start..start + len]), hex(&now[start..start + len]));
            changes.push(Change { at: held.at + start as u64, len, before, after: Some(after) });
            if changes.len() >= MAX_CHANGES {
                return Ok(changes);
            }
        }
    }
    Ok(changes)
}

/// Runs of bytes that differ, by where they begin and how long they are.
pub(super) fn differences<'a>(before: &'a [u8], after: &'a [u8]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let len = before.len().min(after.len());
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + (at..len).position(|at| before[at] != after[at])?;
        let run = (start..len).take_while(|&at| before[at] != after[at]).count();
        at = start + run;
        Some((start, run))
    })
}

/// The first bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_differences() {
        let check = |before: &[u8], after: &[u8], expected: &[(usize, usize)]| {
            assert_eq!(differences(before, after).collect::<Vec<_>>(), expected);
        };
        check(b"", b"", &[]);
        check(b"abcdef", b"abcdef", &[]);
        check(b"abcdef", b"xbcdyz", &[(0, 1), (4, 2)]);
        check(b"abc", b"xyz", &[(0, 3)]);
    }
}
