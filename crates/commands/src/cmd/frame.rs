//! `.frame`, `.f+`, `.f-`, `.inline`: the scope.

use outpost_engine::{FrameRegisters, StackFrame};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::settings::{MASK_INTEGER, MASK_SEGMENT};
use crate::text::frames::{call_site, child_sp};
use crate::text::{line, registers, symbols};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".frame", ".f+", ".f-"],
        syntax: ".frame [/c] [/r] [FrameNumber]\n.f+\n.f-",
        summary: "Select or show the frame whose locals are meant",
        details: "For dv, dt, x *, ?? and expressions, until execution or another thread is selected. FrameNumber is as k \
              shows it and is read in the default radix. /r shows the frame's registers; those that cannot be known \
              are question marks. /c does so and makes r show them, too, until the next .frame without it. .f+ goes to \
              the caller, .f- back. Of a function that ended by a tail call, variables are known by what was passed to \
              it, or not any more.",
        example: ".frame /c 2; r",
        group: Group::State,
        eats_line: false,
        run: carry_out::<Frame>,
    },
    CommandEntry {
        names: &[".inline"],
        syntax: ".inline [0|1]",
        summary: "Show whether inlined functions have frames of their own, or give them some (1) or none (0)",
        details: "In k, .frame and dv. Without them a frame is the function that was called, at the line that is executing. The \
              innermost frame is selected.",
        example: ".inline",
        group: Group::State,
        eats_line: false,
        run: carry_out::<Inline>,
    },
];

/// Shows or sets whether inlined functions have frames.
#[derive(Debug, Clone)]
pub struct Inline {
    shown: Option<bool>,
}

impl Command for Inline {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Inline, CommandError> {
        Ok(Inline { shown: super::restrict::switch(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        if let Some(shown) = self.shown {
            debugger.engine.show_inline_frames(shown);
        }
        Ok(debugger.engine.shows_inline_frames())
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "Frames of inlined functions are {}", if *data { "shown" } else { "not shown" });
    }
}

/// Selects a frame.
#[derive(Debug, Clone)]
pub struct Frame {
    to: To,
    with_registers: bool,
    as_context: bool,
}

#[derive(Debug, Clone, Copy)]
enum To {
    Same,
    Number(u32),
    Outwards,
    Inwards,
}

/// The frame that is selected.
#[derive(Debug, Clone)]
pub struct SelectedFrame {
    /// It.
    pub frame: StackFrame,
    /// Its registers, if asked for.
    pub registers: Option<FrameRegisters>,
}

fields!(SelectedFrame { frame, registers });

impl Command for Frame {
    type Data = SelectedFrame;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Frame, CommandError> {
        let (mut with_registers, mut as_context) = (false, false);
        while let Some(switch) = arguments.take_switch() {
            match switch {
                'r' => with_registers = true,
                'c' => as_context = true,
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        let to = match arguments.name {
            ".f+" => To::Outwards,
            ".f-" => To::Inwards,
            _ => match arguments.optional_number(debugger)? {
                None => To::Same,
                Some(number) => {
                    To::Number(u32::try_from(number).map_err(|_| CommandError::invalid("there is no such frame"))?)
                }
            },
        };
        Ok(Frame { to, with_registers: with_registers || as_context, as_context })
    }

    fn run(self, debugger: &mut Debugger) -> Result<SelectedFrame, CommandError> {
        let now = debugger.engine.scope_frame()?;
        let frame = match self.to {
            To::Same => debugger.engine.select_frame(now.index)?,
            To::Number(number) => debugger.engine.select_frame(number)?,
            To::Outwards => debugger.engine.select_frame(now.index + 1)?,
            To::Inwards => {
                let index = now.index.checked_sub(1);
                let index = index.ok_or_else(|| CommandError::invalid("this is the innermost frame"))?;
                debugger.engine.select_frame(index)?
            }
        };
        if self.as_context {
            debugger.engine.show_frame_registers()?;
        }
        let registers = match self.with_registers {
            true => Some(debugger.engine.registers_in(&frame)?),
            false => None,
        };
        Ok(SelectedFrame { frame, registers })
    }

    fn render(data: &SelectedFrame, text: &mut String) {
        let frame = &data.frame;
        let sp = child_sp(frame);
        let returns = match frame.return_address {
            Some(at) if frame.is_physical() => at.to_string(),
            _ => "--------`--------".to_owned(),
        };
        let source = symbols::line_suffix(frame.source.as_ref());
        line!(text, "{:02x} {sp} {returns}     {}{source}", frame.index, call_site(frame));
        if let Some(registers) = &data.registers {
            text.push_str(&registers::frame_block(registers, MASK_INTEGER | MASK_SEGMENT));
        }
    }
}
