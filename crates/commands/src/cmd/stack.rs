//! `k`: stacks.

use outpost_base::{MemoryReader, RegisterContext, Va};
use outpost_engine::target::RegisterSets;
use outpost_engine::{FrameTrust, StackFrame, ThreadOrdinal, ThreadStack};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json, word};
use crate::language::Arguments;
use crate::text::frames::{FrameColumns, head, row};
use crate::text::{line, threads, values};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["k"],
        syntax: "[~Thread] k[b|p|P|v][c][n][f][L][M] [FrameCount]\n[~Thread] k[options] = StackPtr [InstructionPtr] FrameCount",
        summary: "Show the stack",
        details: "b first three argument registers, p parameters with types and values, P one per line, v how each frame was found, \
                  c call sites only, f distance between frames, L no source lines; n (frame numbers) and M are accepted. \
                  Inline frames are marked, and so are functions that ended by a tail call: their frames are gone, but debug \
                  info tells of them where only one way led on from the caller. The count is read in the default radix.",
        example: "k 5; ~*kv",
        group: Group::State,
        eats_line: false,
        run: carry_out::<Stack>,
    },
    CommandEntry {
        names: &["kd"],
        syntax: "kd [WordCount]",
        summary: "Show raw stack words with symbols",
        details: "From the stack pointer on, each word with the symbol that it points to; 20 words if none are told.",
        example: "kd 20",
        group: Group::State,
        eats_line: false,
        run: carry_out::<RawStack>,
    },
    CommandEntry {
        names: &[".kframes"],
        syntax: ".kframes FrameCount",
        summary: "Set how many frames k shows",
        details: "0n256 at first.",
        example: ".kframes 20",
        group: Group::State,
        eats_line: false,
        run: carry_out::<FrameCount>,
    },
];

/// How parameters are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Parameters {
    #[default]
    None,
    SameLine,
    OwnLines,
}

/// Shows stacks.
#[derive(Debug, Clone)]
pub struct Stack {
    threads: Vec<ThreadOrdinal>,
    /// Each stack has its thread's row before it.
    with_heads: bool,
    columns: FrameColumns,
    parameters: Parameters,
    limit: usize,
    /// Start from here instead of from a thread's registers.
    from: Option<(Va, Option<Va>)>,
}

/// Stacks with what belongs to them.
#[derive(Debug, Clone)]
pub struct Stacks {
    /// One for each thread.
    pub stacks: Vec<ShownStack>,
    columns: FrameColumns,
    with_heads: bool,
    parameters: Parameters,
}

fields!(Stacks { stacks, .. });

/// A stack with what belongs to its frames.
#[derive(Debug, Clone)]
pub struct ShownStack {
    /// The stack.
    pub stack: ThreadStack,
    /// Row of the thread as `~` shows it.
    pub thread: String,
    /// Parameters of each frame, declaration and value as text; `None` where they are not known or not asked for.
    pub parameters: Vec<Option<Vec<(String, String)>>>,
    /// The first three argument registers of each frame, as text.
    pub arguments: Vec<String>,
}

fields!(ShownStack { stack, parameters, arguments, .. });

impl Command for Stack {
    type Data = Stacks;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Stack, CommandError> {
        let mut columns = FrameColumns { hide_lines: !debugger.settings.lines, ..FrameColumns::default() };
        let mut parameters = Parameters::None;
        for option in arguments.name.chars().skip(1) {
            match option {
                'b' => columns.arguments = true,
                'p' => parameters = Parameters::SameLine,
                'P' => parameters = Parameters::OwnLines,
                'v' => columns.unwind = true,
                'c' => columns.names_only = true,
                'f' => columns.sizes = true,
                'L' => columns.hide_lines = true,
                _ => {}
            }
        }
        let with_heads = arguments.threads.as_ref().is_some_and(|spec| *spec == crate::language::ThreadSpec::All);
        let threads = match arguments.threads.clone() {
            Some(spec) => super::threads::select(&spec, debugger)?,
            None => vec![debugger.engine.current_thread()?],
        };
        let mut from = None;
        let mut limit = debugger.settings.frames;
        if arguments.take("=") {
            let sp = arguments.address(debugger)?;
            let first = arguments.optional_number(debugger)?;
            match (first, arguments.optional_number(debugger)?) {
                (Some(ip), Some(count)) => {
                    from = Some((sp, Some(Va(ip))));
                    limit = frame_count(count);
                }
                (Some(count), None) => {
                    from = Some((sp, None));
                    limit = frame_count(count);
                }
                _ => from = Some((sp, None)),
            }
        } else if let Some(count) = arguments.optional_number(debugger)? {
            limit = frame_count(count);
        }
        Ok(Stack { threads, with_heads, columns, parameters, limit, from })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Stacks, CommandError> {
        let mut stacks = match self.from {
            Some((sp, pc)) => {
                let thread = debugger.engine.current_thread()?;
                let mut context = debugger.engine.registers(thread, RegisterSets::default())?;
                context.set_sp(sp);
                if let Some(pc) = pc {
                    context.set_pc(pc);
                }
                vec![debugger.engine.stack_from(&context, self.limit + 1)?]
            }
            // The scope's register context, so that `.cxr` and `.frame /c` would show here.
            None => debugger.engine.stacks(&self.threads, self.limit + 1)?,
        };
        // One frame more was asked for: only a frame that was unwound knows where it returns to.
        for stack in stacks.iter_mut().filter(|stack| stack.frames.len() > self.limit) {
            stack.frames.truncate(self.limit);
            stack.problem.clear();
        }
        let parameters = if self.from.is_some() { Parameters::None } else { self.parameters };
        let shown = with_parameters(stacks, self.columns, parameters, debugger)?;
        Ok(Stacks { stacks: shown, columns: self.columns, with_heads: self.with_heads, parameters: self.parameters })
    }

    fn render(data: &Stacks, text: &mut String) {
        for shown in &data.stacks {
            if data.with_heads {
                line!(text, "\n{}", shown.thread);
            }
            render_one(shown, data.columns, data.parameters, text);
        }
    }
}

/// Adds to stacks what `parameters` and the columns ask for. The current thread and frame are afterwards as before.
///
/// # Errors
/// [`outpost_engine::EngineError::Cancelled`].
pub(super) fn with_parameters(
    stacks: Vec<ThreadStack>,
    columns: FrameColumns,
    parameters: Parameters,
    debugger: &mut Debugger,
) -> Result<Vec<ShownStack>, CommandError> {
    let wants_arguments = columns.arguments;
    let wants_parameters = parameters != Parameters::None;
    let before = (debugger.engine.current_thread()?, debugger.engine.scope_frame().map(|frame| frame.index));
    let mut shown = Vec::new();
    for stack in stacks {
        let thread = debugger.engine.thread(stack.thread).map(|thread| threads::row(&thread)).unwrap_or_default();
        let mut parameters = Vec::new();
        let mut registers = Vec::new();
        if wants_parameters || wants_arguments {
            debugger.engine.select_thread(stack.thread)?;
            for frame in &stack.frames {
                debugger.engine.check_interrupt()?;
                parameters.push(if wants_parameters { parameters_of(frame, debugger) } else { None });
                registers.push(if wants_arguments { argument_registers(frame, debugger) } else { String::new() });
            }
        }
        shown.push(ShownStack { stack, thread, parameters, arguments: registers });
    }
    if wants_parameters || wants_arguments {
        debugger.engine.select_thread(before.0)?;
        if let Ok(index) = before.1 {
            debugger.engine.select_frame(index)?;
        }
    }
    Ok(shown)
}

/// A stack's head and rows.
pub(super) fn render_one(shown: &ShownStack, columns: FrameColumns, parameters: Parameters, text: &mut String) {
    line!(text, "{}", head(columns));
    let how = parameters;
    let mut previous_sp = None;
    for (at, frame) in shown.stack.frames.iter().enumerate() {
        let arguments = shown.arguments.get(at).map_or("", String::as_str);
        let parameters = shown.parameters.get(at).and_then(Option::as_ref);
        let parameters = parameters.map(|list| parameter_text(list, how)).unwrap_or_default();
        let mut text_row = row(frame, columns, previous_sp, arguments, &parameters);
        previous_sp = Some(frame.sp.0);
        if columns.unwind {
            text_row.push_str(&format!(" (found by {})", trust_words(frame.trust)));
        }
        line!(text, "{text_row}");
    }
    if !shown.stack.problem.is_empty() {
        line!(text, "{}", shown.stack.problem);
    }
}

/// `(int argc = 0n1, char **argv = 0x...)`, or the same with a line for each.
fn parameter_text(parameters: &[(String, String)], shown: Parameters) -> String {
    let each = parameters.iter().map(|(declaration, value)| match shown {
        Parameters::OwnLines => format!("\n            {declaration} = {value}"),
        _ => format!("{declaration} = {value}"),
    });
    let separator = if shown == Parameters::OwnLines { "," } else { ", " };
    format!("({})", each.collect::<Vec<_>>().join(separator))
}

fn frame_count(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).clamp(1, 0xffff)
}

/// Declarations of a function's parameters and their values; `None` if the debug info does not know the function.
fn parameters_of(frame: &StackFrame, debugger: &mut Debugger) -> Option<Vec<(String, String)>> {
    debugger.engine.select_frame(frame.index).ok()?;
    let found = debugger.engine.parameters().ok()?;
    if found.is_empty() && frame.source.is_none() {
        return None;
    }
    let visible = found.into_iter().filter(|parameter| !parameter.artificial || parameter.name == "this");
    let shown = visible.map(|parameter| {
        let declared = outpost_engine::values::declaration(parameter.value.value_type(), &parameter.name);
        (declared, values::one_line(debugger, &parameter.value))
    });
    Some(shown.collect())
}

/// rdi, rsi and rdx as far as the frame knows them: they carry the first three integer arguments (SysV x86-64 psABI,
/// 3.2.3) until the function puts something else there.
fn argument_registers(frame: &StackFrame, debugger: &mut Debugger) -> String {
    let known = debugger.engine.registers_in(frame).ok();
    let value = |name: &str| {
        let registers = known.as_ref()?;
        registers.get_u64(registers.arch().register_by_name(name)?)
    };
    let cells = ["rdi", "rsi", "rdx"].map(|name| match value(name) {
        Some(value) => crate::text::hex64(value),
        None => "????????`????????".to_owned(),
    });
    cells.join(" ")
}

fn trust_words(trust: FrameTrust) -> &'static str {
    match trust {
        FrameTrust::Context => "the thread's registers",
        FrameTrust::Cfi => "call frame information",
        FrameTrust::SignalFrame => "the signal frame",
        FrameTrust::Prologue => "the function's instructions",
        FrameTrust::FramePointer => "the frame pointer",
        FrameTrust::Scan => "guessing",
    }
}

/// Shows stack words.
#[derive(Debug, Clone)]
pub struct RawStack {
    count: u64,
}

/// A stack word with the symbol that it leads to.
#[derive(Debug, Clone)]
pub struct StackWord {
    /// Where it is.
    pub at: Va,
    /// It, if it can be read.
    pub value: Option<u64>,
    /// `module!symbol+0x5`.
    pub symbol: Option<String>,
}

impl Json for StackWord {
    fn json(&self) -> Value {
        json!({ "at": self.at.json(), "value": self.value.map(word), "symbol": self.symbol })
    }
}

impl Command for RawStack {
    type Data = Vec<StackWord>;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<RawStack, CommandError> {
        Ok(RawStack { count: arguments.optional_number(debugger)?.unwrap_or(20).min(0x10000) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<StackWord>, CommandError> {
        let thread = debugger.engine.current_thread()?;
        let context: RegisterContext = debugger.engine.registers(thread, RegisterSets::default())?;
        let mut memory = debugger.engine.memory()?;
        memory.prefetch(&[outpost_base::VaRange::from_len(context.sp(), self.count * 8)])?;
        let words = (0..self.count).map(|number| {
            let at = context.sp() + number * 8;
            (at, memory.read_u64(at))
        });
        let words: Vec<_> = words.collect();
        Ok(words
            .into_iter()
            .map(|(at, value)| {
                let symbol = value.and_then(|value| debugger.engine.symbol_at(Va(value)));
                StackWord { at, value, symbol: symbol.map(|symbol| symbol.to_string()) }
            })
            .collect())
    }

    fn render(data: &Vec<StackWord>, text: &mut String) {
        for StackWord { at, value, symbol } in data {
            let value = value.map_or_else(|| "????????`????????".to_owned(), crate::text::hex64);
            line!(text, "{at}  {value}{}", symbol.as_ref().map(|name| format!(" {name}")).unwrap_or_default());
        }
    }
}

/// Sets the default number of frames.
#[derive(Debug, Clone)]
pub struct FrameCount {
    count: u64,
}

impl Command for FrameCount {
    type Data = usize;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<FrameCount, CommandError> {
        Ok(FrameCount { count: arguments.number(debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<usize, CommandError> {
        debugger.settings.frames = frame_count(self.count);
        Ok(debugger.settings.frames)
    }

    fn render(data: &usize, text: &mut String) {
        line!(text, "Default stack trace depth is 0n{data} frames");
    }
}
