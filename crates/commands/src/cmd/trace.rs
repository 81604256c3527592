//! `wt`: which functions a call goes through, and how many instructions each of them takes.

use std::collections::BTreeMap;

use outpost_base::{RegisterContext, Va};
use outpost_engine::disassembly::{Flow, decode};
use outpost_engine::{RunOptions, StepKind, StepRequest, StepUnit, StepUntil, TracedStep};

use crate::command::{Command, CommandEntry, Group, carry_out, give};
use crate::debugger::Resumption;
use crate::json::{Json, Value, fields, json};
use crate::language::Arguments;
use crate::text::line;
use crate::text::symbols::EngineSymbols;
use crate::{CommandError, Debugger, Output, OutputKind};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["wt"],
    syntax: "wt [-l Depth] [-or] [-nc] [-ns] [EndAddress]",
    summary: "Trace the current function to its return, and count what it and those it calls carry out",
    details: "Each time that a function is entered or left: its instructions so far, those of what it has called, its depth, and \
              its name. Then a table of all of them, and how many system calls there were. -l shows so many levels (a decimal number) only \
              and counts all, -or shows what rax was at each return, -nc hides the rows, -ns the table. It ends at \
              another stop, too, and at EndAddress. Each instruction is stepped, so a long function takes its time; Ctrl+C ends it.",
    example: "wt -l 2",
    group: Group::Execution,
    eats_line: false,
    run: carry_out::<Trace>,
}];

/// Deepest call that is told from its caller.
const MAX_DEPTH: usize = 10_000;

/// Begins a trace.
#[derive(Debug, Clone)]
pub struct Trace {
    style: Style,
    end: Option<Va>,
}

/// What is shown.
#[derive(Debug, Clone, Copy)]
struct Style {
    levels: usize,
    returns: bool,
    rows: bool,
    table: bool,
}

impl Command for Trace {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Trace, CommandError> {
        let mut style = Style { levels: MAX_DEPTH, returns: false, rows: true, table: true };
        while let Some(option) = arguments.take_option() {
            match option {
                "l" => {
                    let levels = arguments.decimal().ok_or_else(|| arguments.usage("-l needs a number of levels"))?;
                    style.levels = levels.min(MAX_DEPTH as u32) as usize;
                }
                "or" => style.returns = true,
                "nc" => style.rows = false,
                "ns" => style.table = false,
                other => return Err(arguments.usage(format!("unknown option -{other}"))),
            }
        }
        let end = if arguments.is_empty() { None } else { Some(arguments.code_address(debugger)?) };
        Ok(Trace { style, end })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        // What .frame and .cxr chose is another place than that where it goes on.
        debugger.engine.set_context(None)?;
        let until = match self.end {
            Some(at) => StepUntil::Address(at),
            None => {
                let frame = debugger.engine.scope_frame()?;
                let (Some(at), Some(min_sp)) = (frame.return_address, frame.cfa) else {
                    return Err(CommandError::invalid("the function has no caller to return to; name an end address"));
                };
                StepUntil::Frame { at, min_sp }
            }
        };
        let thread = debugger.engine.current_thread()?;
        let context = debugger.engine.registers(thread, Default::default())?;
        let mut code = [0; 15];
        let got = {
            use outpost_base::MemoryReader as _;
            debugger.engine.memory()?.read(context.pc(), &mut code)
        };
        let mut progress = TraceProgress::new(self.style);
        progress.step(&context, &code[..got], debugger);
        let options = RunOptions::default();
        let request =
            StepRequest { kind: StepKind::Into, unit: StepUnit::Instruction, until, show_each: true, options };
        debugger.engine.step(&request)?;
        debugger.resumption = Some(Resumption::Step(request));
        debugger.trace = Some(progress);
        Ok(())
    }

    fn render((): &(), _: &mut String) {}
}

/// A call under way.
#[derive(Debug)]
struct Level {
    name: String,
    /// Instructions of the function itself.
    own: u64,
    /// Those of what it has called.
    called: u64,
}

/// What was counted of a function, over all its calls.
#[derive(Debug, Clone, Default)]
pub struct TracedFunction {
    /// How often it was called.
    pub calls: u64,
    /// Fewest instructions of a call, those of what it called left out.
    pub least: u64,
    /// Most of them.
    pub most: u64,
    /// All of them.
    pub total: u64,
}

fields!(TracedFunction { calls, least, most, total });

/// What a trace has counted.
#[derive(Debug, Clone, Default)]
pub struct TraceSummary {
    /// Instructions in all.
    pub instructions: u64,
    /// Those that were system calls.
    pub system_calls: u64,
    /// Functions by their names.
    pub functions: BTreeMap<String, TracedFunction>,
}

impl Json for TraceSummary {
    fn json(&self) -> Value {
        let functions: serde_json::Map<String, Value> =
            self.functions.iter().map(|(name, function)| (name.clone(), function.json())).collect();
        json!({ "instructions": self.instructions, "system_calls": self.system_calls, "functions": functions })
    }
}

/// A trace under way.
#[derive(Debug)]
pub(crate) struct TraceProgress {
    style: Style,
    levels: Vec<Level>,
    /// How the last instruction goes on, and where the one behind it is.
    last: Option<(Flow, Va)>,
    /// Functions are looked up once for each range of code that is one.
    known: Option<(Va, Va, String)>,
    summary: TraceSummary,
    rows: String,
}

impl TraceProgress {
    fn new(style: Style) -> TraceProgress {
        TraceProgress {
            style,
            levels: Vec::new(),
            last: None,
            known: None,
            summary: TraceSummary::default(),
            rows: String::new(),
        }
    }

    /// Takes a step: the thread is about to carry out the instruction of `code`.
    fn step(&mut self, context: &RegisterContext, code: &[u8], debugger: &mut Debugger) {
        let (arch, at) = (context.arch, context.pc());
        let instruction = decode(arch, at, code, &mut EngineSymbols(&mut debugger.engine));
        let name = self.name_of(at, debugger);
        let last = self.last.replace((instruction.flow, instruction.end()));
        match last {
            Some((Flow::Call, next)) if at != next => self.enter(name),
            Some((Flow::Return, _)) => self.leave(name, context.get_u64(arch.return_value())),
            _ => self.go_on(name),
        }
        if let Some(level) = self.levels.last_mut() {
            level.own += 1;
        }
        self.summary.instructions += 1;
        self.summary.system_calls += u64::from(instruction.text.starts_with("syscall"));
    }

    fn enter(&mut self, name: String) {
        self.row(None);
        if self.levels.len() < MAX_DEPTH {
            self.levels.push(Level { name, own: 0, called: 0 });
        }
    }

    /// A function has returned; into another than that which has called it where frames were cut off.
    fn leave(&mut self, name: String, returned: Option<u64>) {
        self.row(returned.filter(|_| self.style.returns));
        self.end_level();
        match self.levels.last() {
            Some(_) => self.go_on(name),
            None => self.levels.push(Level { name, own: 0, called: 0 }),
        }
    }

    /// Control stays at its level; a jump may lead into another function there.
    fn go_on(&mut self, name: String) {
        match self.levels.last() {
            Some(level) if level.name == name => {}
            Some(_) => {
                self.row(None);
                self.end_level();
                self.levels.push(Level { name, own: 0, called: 0 });
            }
            None => self.levels.push(Level { name, own: 0, called: 0 }),
        }
    }

    fn end_level(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        if let Some(caller) = self.levels.last_mut() {
            caller.called += level.own + level.called;
        }
        let function = self.summary.functions.entry(level.name).or_default();
        function.least = if function.calls == 0 { level.own } else { function.least.min(level.own) };
        function.most = function.most.max(level.own);
        function.total += level.own;
        function.calls += 1;
    }

    /// A row about the innermost level as it is now.
    fn row(&mut self, returned: Option<u64>) {
        let depth = self.levels.len().saturating_sub(1);
        let Some(level) = self.levels.last().filter(|_| self.style.rows && depth <= self.style.levels) else { return };
        let returned = returned.map(|value| format!(" rax = {value:x}")).unwrap_or_default();
        let indent = "  ".repeat(depth.min(32));
        line!(self.rows, "{:5} {:5} [{depth:3}] {indent}{}{returned}", level.own, level.called, level.name);
    }

    /// `module!function` at an address.
    fn name_of(&mut self, at: Va, debugger: &mut Debugger) -> String {
        if let Some((_, _, name)) = self.known.as_ref().filter(|(start, end, _)| (*start..*end).contains(&at)) {
            return name.clone();
        }
        let Some(symbol) = debugger.engine.symbol_at(at).filter(|symbol| !symbol.name.is_empty()) else {
            return at.to_string();
        };
        let name = format!("{}!{}", symbol.module, symbol.name);
        self.known = Some((symbol.start, symbol.start + symbol.size, name.clone()));
        name
    }
}

/// Takes a step of a trace and shows the rows it makes.
pub(crate) fn step(debugger: &mut Debugger, step: &TracedStep, out: &mut dyn Output) {
    let Some(mut progress) = debugger.trace.take() else { return };
    progress.step(&step.registers, &step.code, debugger);
    let rows = std::mem::take(&mut progress.rows);
    if !rows.is_empty() && !debugger.stops_as_json {
        out.write(OutputKind::Stop, &rows);
    }
    debugger.trace = Some(progress);
}

/// Ends a trace with its table.
pub(crate) fn end(debugger: &mut Debugger, out: &mut dyn Output) {
    let Some(mut progress) = debugger.trace.take() else { return };
    progress.row(None);
    while !progress.levels.is_empty() {
        progress.end_level();
    }
    if debugger.stops_as_json {
        let document = json!({ "trace": progress.summary.json() });
        return out.write(OutputKind::Stop, &format!("{document}\n"));
    }
    out.write(OutputKind::Stop, &progress.rows);
    if progress.style.table {
        give(&progress.summary, render, out);
    }
}

fn render(data: &TraceSummary, text: &mut String) {
    line!(text, "\n{} instructions were executed\n", data.instructions);
    line!(text, "{:<40} {:>11} {:>8} {:>8} {:>8}", "Function Name", "Invocations", "MinInst", "MaxInst", "AvgInst");
    for (name, function) in &data.functions {
        let TracedFunction { calls, least, most, total } = function;
        line!(text, "{name:<40} {calls:>11} {least:>8} {most:>8} {:>8}", total / calls.max(&1));
    }
    let calls = data.system_calls;
    line!(text, "\n{calls} system call{} executed\n", if calls == 1 { " was" } else { "s were" });
}
