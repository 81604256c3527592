//! `.cxr`, `.ecxr`: with which registers the current thread is looked at.

use outpost_base::{RegisterContext, Va};
use outpost_engine::target::{RegisterSets, StopReason};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value};
use crate::language::Arguments;
use crate::settings::{MASK_INTEGER, MASK_SEGMENT};
use crate::text::{registers, stop};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".cxr"],
        syntax: ".cxr [Address]",
        summary: "Look at the thread with the registers that are saved at an address",
        details: "A struct ucontext is there: the third argument of a signal handler, or what getcontext has filled in. k, r, dv \
                  and expressions are about it until the debuggee runs, another thread or another context is chosen. \
                  Without an address: the thread's own registers again.",
        example: ".cxr @rdx; k; .cxr",
        group: Group::State,
        eats_line: false,
        run: carry_out::<SetContext>,
    },
    CommandEntry {
        names: &[".ecxr", ".excr"],
        syntax: ".ecxr",
        summary: "Look at the last signal's thread with the registers that it had",
        details: "Of a core, and at a stop for a signal. The thread becomes the current one.",
        example: ".ecxr; k",
        group: Group::State,
        eats_line: false,
        run: carry_out::<EventContext>,
    },
];

/// Sets or resets the context.
#[derive(Debug, Clone)]
pub struct SetContext {
    at: Option<Va>,
}

/// Registers that are looked at, and where they are.
#[derive(Debug, Clone)]
pub struct ShownContext {
    /// The registers; `None`: the thread's own, which are not shown.
    pub registers: Option<RegisterContext>,
    place: String,
}

impl Json for ShownContext {
    fn json(&self) -> Value {
        self.registers.json()
    }
}

impl Command for SetContext {
    type Data = ShownContext;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<SetContext, CommandError> {
        let at = if arguments.is_empty() { None } else { Some(arguments.address(debugger)?) };
        Ok(SetContext { at })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownContext, CommandError> {
        let thread = debugger.engine.current_thread()?;
        let Some(at) = self.at else {
            debugger.engine.set_context(None)?;
            return Ok(ShownContext { registers: None, place: String::new() });
        };
        let own = debugger.engine.registers(thread, RegisterSets::default())?;
        let mut memory = debugger.engine.memory()?;
        let saved = outpost_engine::saved_context(&own, at, &mut memory);
        let saved = saved.ok_or(outpost_engine::EngineError::Unreadable { at })?;
        debugger.engine.set_context(Some(saved.clone()))?;
        Ok(shown(saved, debugger))
    }

    fn render(data: &ShownContext, text: &mut String) {
        let Some(context) = &data.registers else { return };
        text.push_str(&registers::block(context, MASK_INTEGER | MASK_SEGMENT));
        text.push_str(&data.place);
    }
}

/// The context with the instruction in it.
fn shown(context: RegisterContext, debugger: &mut Debugger) -> ShownContext {
    let mut place = String::new();
    stop::instruction(debugger, &context, &mut place);
    ShownContext { registers: Some(context), place }
}

/// Goes back to where the last signal was.
#[derive(Debug, Clone)]
pub struct EventContext;

impl Command for EventContext {
    type Data = ShownContext;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<EventContext, CommandError> {
        Ok(EventContext)
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownContext, CommandError> {
        let is_signal = |reason: &StopReason| matches!(reason, StopReason::Signal(_));
        if !debugger.engine.last_event().is_some_and(|event| is_signal(&event.reason)) {
            return Err(CommandError::invalid("the last event is no signal, so there is no context of one"));
        }
        let thread = debugger.engine.event_thread();
        let thread = thread.ok_or_else(|| CommandError::invalid("the thread of the last event is gone"))?;
        debugger.engine.select_thread(thread)?;
        let context = debugger.engine.registers(thread, RegisterSets::default())?;
        debugger.engine.set_context(Some(context.clone()))?;
        Ok(shown(context, debugger))
    }

    fn render(data: &ShownContext, text: &mut String) {
        SetContext::render(data, text);
    }
}
