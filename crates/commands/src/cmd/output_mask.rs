//! `.outmask`: which kinds of output are shown.

use std::cell::Cell;
use std::rc::Rc;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger, OutputKind};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".outmask"],
    syntax: ".outmask [/l] [Mask]\n.outmask /a|/d",
    summary: "Show or set which kinds of output are shown",
    details: "The sum of 1 (answers of commands), 2 (errors), 4 (warnings), 8 (what !sym noisy tells), 20 (stops and what belongs to \
              them) and 80 (what the debuggee writes), for all who take part in the session. /a and /d show everything. With /l the \
              log keeps what it has been given; otherwise it is given what is shown. Prompts are always shown.",
    example: ".outmask",
    group: Group::Session,
    eats_line: false,
    run: carry_out::<Mask>,
}];

/// Kinds by their bits (dbgeng.h, DEBUG_OUTPUT_*).
const KINDS: [(u32, OutputKind, &str); 6] = [
    (0x1, OutputKind::Normal, "answers"),
    (0x2, OutputKind::Error, "errors"),
    (0x4, OutputKind::Warning, "warnings"),
    (0x8, OutputKind::Verbose, "verbose"),
    (0x20, OutputKind::Stop, "stops"),
    (0x80, OutputKind::Debuggee, "debuggee"),
];
const ALL: u32 = 0xaf;

/// What is shown and logged, shared by who writes and who decides.
#[derive(Debug, Clone)]
pub(crate) struct OutputMask {
    shown: Rc<Cell<u32>>,
    logged: Rc<Cell<u32>>,
}

impl Default for OutputMask {
    fn default() -> OutputMask {
        OutputMask { shown: Rc::new(Cell::new(ALL)), logged: Rc::new(Cell::new(ALL)) }
    }
}

impl OutputMask {
    /// Whether output of this kind is shown.
    pub(crate) fn shows(&self, kind: OutputKind) -> bool {
        self.shown.get() & bit(kind) != 0
    }

    /// Whether output of this kind is written to the log.
    pub(crate) fn logs(&self, kind: OutputKind) -> bool {
        self.logged.get() & bit(kind) != 0
    }
}

fn bit(kind: OutputKind) -> u32 {
    KINDS.iter().find(|(_, known, _)| *known == kind).map_or(0, |(bit, ..)| *bit)
}

/// Shows or sets the mask.
#[derive(Debug, Clone)]
pub struct Mask {
    mask: Option<u32>,
    keep_log: bool,
}

/// The mask.
#[derive(Debug, Clone)]
pub struct ShownKinds {
    /// Its bits.
    pub mask: u32,
    /// What they stand for.
    pub kinds: Vec<&'static str>,
}

fields!(ShownKinds { mask, kinds });

impl Command for Mask {
    type Data = ShownKinds;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Mask, CommandError> {
        let (mut mask, mut keep_log) = (None, false);
        while let Some(switch) = arguments.take_switch() {
            match switch {
                'l' => keep_log = true,
                'a' | 'd' => mask = Some(ALL),
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        if let Some(number) = arguments.optional_number(debugger)? {
            let known = u32::try_from(number).ok().filter(|number| number & !ALL == 0);
            let known =
                known.ok_or_else(|| arguments.usage(format!("{:#x} stands for nothing", number & !u64::from(ALL))))?;
            mask = Some(known);
        }
        Ok(Mask { mask, keep_log })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownKinds, CommandError> {
        let own = &debugger.output_mask;
        if let Some(mask) = self.mask {
            own.shown.set(mask);
            if !self.keep_log {
                own.logged.set(mask);
            }
        }
        let mask = own.shown.get();
        let kinds = KINDS.iter().filter(|(bit, ..)| mask & bit != 0).map(|(.., name)| *name).collect();
        Ok(ShownKinds { mask, kinds })
    }

    fn render(data: &ShownKinds, text: &mut String) {
        let kinds = if data.kinds.is_empty() { "nothing".to_owned() } else { data.kinds.join(", ") };
        line!(text, "Output mask is {:#x}: {kinds}", data.mask);
    }
}
