//! `.dvalloc`, `.dvfree`: memory of the debuggee's that the user asks for.

use outpost_base::{ProcessId, Va, VaRange};
use outpost_engine::expr::{Evaluator, ExprOptions};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".dvalloc"],
        syntax: ".dvalloc [/b BaseAddress] [/r] Size",
        summary: "Allocate memory in the debuggee",
        details: "Pages that can be read and written, or with /r only reserved, by a call of its mmap in the current thread; at /b, \
                  if nothing is mapped there. They stay when the process is let go.",
        example: ".dvalloc 1000",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Allocate>,
    },
    CommandEntry {
        names: &[".dvfree"],
        syntax: ".dvfree [/d] BaseAddress Size",
        summary: "Free memory that .dvalloc allocated",
        details: "By a call of the debuggee's munmap. With /d the content is given up and nothing can be read there any more, but the \
                  addresses stay taken. Other memory than that of .dvalloc is not freed.",
        example: ".dvfree @$t0 1000",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Free>,
    },
];

/// Smallest unit of mappings (x86-64).
const PAGE: u64 = 0x1000;
/// `PROT_READ | PROT_WRITE`, `PROT_NONE` (asm-generic/mman-common.h).
const READ_WRITE: u32 = 3;
const NO_ACCESS: u32 = 0;
/// `MAP_PRIVATE | MAP_ANONYMOUS`; with `MAP_FIXED_NOREPLACE`; with `MAP_FIXED`.
const ANYWHERE: u32 = 0x22;
const UNLESS_TAKEN: u32 = 0x10_0022;
const IN_PLACE: u32 = 0x32;

/// Memory that `.dvalloc` has allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnMemory {
    process: ProcessId,
    range: VaRange,
}

/// Allocates.
#[derive(Debug, Clone)]
pub struct Allocate {
    base: Option<Va>,
    reserve: bool,
    size: u64,
}

/// A range that was allocated or freed.
#[derive(Debug, Clone)]
pub struct Pages {
    /// Its first address.
    pub at: Va,
    /// Its size in bytes.
    pub size: u64,
}

fields!(Pages { at, size });

impl Command for Allocate {
    type Data = Pages;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Allocate, CommandError> {
        let (mut base, mut reserve) = (None, false);
        while let Some(switch) = arguments.take_switch() {
            match switch {
                'b' => base = Some(arguments.address(debugger)?),
                'r' => reserve = true,
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        if arguments.is_empty() {
            return Err(arguments.usage("the size is missing"));
        }
        let size =
            whole_pages(arguments.number(debugger)?).ok_or_else(|| arguments.usage("the size makes no sense"))?;
        match base.is_some_and(|base| base.0 % PAGE != 0) {
            true => Err(arguments.usage("the base address is not that of a page")),
            false => Ok(Allocate { base, reserve, size }),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<Pages, CommandError> {
        let process = process_id(debugger)?;
        let protection = if self.reserve { NO_ACCESS } else { READ_WRITE };
        let flags = if self.base.is_some() { UNLESS_TAKEN } else { ANYWHERE };
        let at = map(self.base.unwrap_or(Va(0)), self.size, protection, flags, debugger)?;
        // Kernels before 4.17 take the flag for a hint.
        if self.base.is_some_and(|base| base != at) {
            unmap(at, self.size, debugger)?;
            return Err(CommandError::invalid("something is mapped there"));
        }
        debugger.own_memory.push(OwnMemory { process, range: VaRange::from_len(at, self.size) });
        Ok(Pages { at, size: self.size })
    }

    fn render(data: &Pages, text: &mut String) {
        line!(text, "Allocated {:x} bytes starting at {}", data.size, data.at);
    }
}

/// Frees.
#[derive(Debug, Clone)]
pub struct Free {
    range: VaRange,
    decommit: bool,
}

impl Command for Free {
    type Data = Pages;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Free, CommandError> {
        let decommit = arguments.take_word("/d");
        if arguments.is_empty() {
            return Err(arguments.usage("the base address is missing"));
        }
        let at = arguments.address(debugger)?;
        if arguments.is_empty() {
            return Err(arguments.usage("the size is missing"));
        }
        let size =
            whole_pages(arguments.number(debugger)?).ok_or_else(|| arguments.usage("the size makes no sense"))?;
        Ok(Free { range: VaRange::from_len(at, size), decommit })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Pages, CommandError> {
        let process = process_id(debugger)?;
        let range = self.range;
        let holds =
            |own: &OwnMemory| own.process == process && own.range.start <= range.start && range.end <= own.range.end;
        let Some(at) = debugger.own_memory.iter().position(holds).filter(|_| range.start.0.is_multiple_of(PAGE)) else {
            let reason = "that is no memory of .dvalloc, or not a page of it; other memory is not freed";
            return Err(CommandError::invalid(reason));
        };
        // What the process has made of it meanwhile, or executed, is not ours.
        let current = debugger.engine.current_process()?;
        let regions = debugger.engine.regions(current)?;
        if !regions.iter().any(|region| region.name.is_empty() && !region.shared && region.range.contains(range.start))
        {
            return Err(CommandError::invalid("the process has freed that memory itself, or put something else there"));
        }
        if self.decommit {
            map(range.start, range.len(), NO_ACCESS, IN_PLACE, debugger)?;
        } else {
            unmap(range.start, range.len(), debugger)?;
            let OwnMemory { range: whole, .. } = debugger.own_memory.swap_remove(at);
            let left = [VaRange { end: range.start, ..whole }, VaRange { start: range.end, ..whole }];
            let left = left.into_iter().filter(|left| !left.is_empty());
            debugger.own_memory.extend(left.map(|range| OwnMemory { process, range }));
        }
        Ok(Pages { at: range.start, size: range.len() })
    }

    fn render(data: &Pages, text: &mut String) {
        line!(text, "Freed {:x} bytes starting at {}", data.size, data.at);
    }
}

fn process_id(debugger: &Debugger) -> Result<ProcessId, CommandError> {
    let current = debugger.engine.current_process()?;
    let found = debugger.engine.processes().into_iter().find(|process| process.ordinal == current);
    Ok(found.ok_or(outpost_engine::EngineError::NoDebuggee)?.id)
}

fn whole_pages(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(PAGE).filter(|size| *size != 0 && *size < 1 << 47)
}

fn map(at: Va, size: u64, protection: u32, flags: u32, debugger: &mut Debugger) -> Result<Va, CommandError> {
    let call = format!("mmap((void *){:#x}, {size:#x}, {protection}, {flags:#x}, -1, 0)", at.0);
    match call_for_word(&call, debugger)? {
        // `MAP_FAILED`.
        u64::MAX => Err(CommandError::invalid("the debuggee's mmap failed; !gle shows why")),
        at => Ok(Va(at)),
    }
}

fn unmap(at: Va, size: u64, debugger: &mut Debugger) -> Result<(), CommandError> {
    match call_for_word(&format!("munmap((void *){:#x}, {size:#x})", at.0), debugger)? as u32 {
        0 => Ok(()),
        _ => Err(CommandError::invalid("the debuggee's munmap failed; !gle shows why")),
    }
}

/// Calls a function that returns a word.
fn call_for_word(call: &str, debugger: &mut Debugger) -> Result<u64, CommandError> {
    let text = format!("(unsigned long){call}");
    let options = ExprOptions { evaluator: Evaluator::Cpp, ..debugger.settings.expressions() };
    let (expr, _) = debugger.engine.parse_expression(&text, options)?;
    let value = debugger.calling(|debugger| debugger.engine.evaluate_number(&expr))?;
    debugger.engine.state_changed();
    Ok(value)
}
