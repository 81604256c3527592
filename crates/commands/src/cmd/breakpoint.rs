//! `bp`, `bu`, `ba`: setting breakpoints.

use outpost_engine::expr::{Evaluator, Expr, ExprError, Masm, Radix};
use outpost_engine::target::{HardwareAccess, KillSafety, MAX_WATCHED};
use outpost_engine::{
    BreakpointAccess, BreakpointNumber, BreakpointPlace, BreakpointRequest, DepthLimit, ProcessOrdinal, ThreadOrdinal,
};

use super::logpoint::log_request;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::{Arguments, ThreadSpec};
use crate::script::blocks::{braces, parentheses};
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["bp", "bu"],
        syntax: "[~Thread] bp|bu[ID] [/1] [/c|/C Frames] [/w \"Condition\"] [Address [Passes]] [\"Commands\"]",
        summary: "Set a software breakpoint",
        details: "The address is an expression: a symbol, a source line in grave accents (`file.c:10`), anything. What \
                  cannot be resolved yet makes a deferred breakpoint; bu keeps its expression over unloading and \
                  restarts. Passes is the number of hits needed to stop. /1 removes it when it stopped once. With \
                  /c only hits count at which k would show fewer frames, with /C more; the debugger unwinds at each hit. The \
                  condition is anything that dx takes; where it is plain C++, it is evaluated beside the target, so that a false \
                  one costs nothing. The commands are run at each hit, and the stop is shown behind what they write, unless \
                  they resume, as by gc. Where they are only gc, hits pass beside the target and bl says how. Where they only print \
                  (.printf, .echo) and then go on by g or gc, hits do not stop: the values are written down beside the target \
                  and the lines come in the order of the hits, of a text at most 256 bytes, with ???? for what cannot be \
                  read; bl tells where this is done, and why not. With a thread prefix only its hits count. Without arguments: \
                  at the current instruction.",
        example: "bp /w \"size > 10\" copy \"k 3; g\"",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<SetBreakpoint>,
    },
    CommandEntry {
        names: &["ba"],
        syntax: "[~Thread] ba[ID] e|r|w Size [/1] [/c|/C Frames] [/w \"Condition\"] [Address [Passes]] [\"Commands\"]",
        summary: "Set a breakpoint on execution, access or write",
        details: "By one of the four debug registers, which hold 1, 2, 4 or 8 bytes at a multiple of that, 1 for e. r also \
                  stops on writes. Data accesses stop after the instruction. Where no register is left, or Size (in decimal, up \
                  to 1048576) or the address is another, data is watched by taking access to its pages from the program: bl \
                  says so, and why. Then each access to these pages and each system call of the process costs some ten to a \
                  hundred microseconds, and what a system call writes there stops when the call returns. Stacks, code and \
                  memory that the kernel writes by itself cannot be watched so.",
        example: "ba w4 g_count",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<SetBreakpoint>,
    },
    CommandEntry {
        names: &[".bpmode"],
        syntax: ".bpmode [safe|any] [jumps|nojumps]",
        summary: "How breakpoints may be made",
        details: "With safe, a breakpoint at which a program could die if the server were killed is refused and its \
                  reason told. At first any is allowed, and bl marks such ones. Steps over calls are never refused; where they \
                  are not safe either, that and the reason is told here and by bl. With jumps, as at first, what decides about the \
                  hits of a breakpoint that is hit often (thread, condition, passes) and what it logs runs in the debuggee \
                  itself, from a jump in place of the code there, and a hit that does not stop costs nothing; bl tells where, \
                  and why not. With nojumps no code is replaced but one \
                  byte, and the server looks at each hit.",
        example: ".bpmode safe",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<BreakpointMode>,
    },
];

/// Sets a breakpoint.
#[derive(Debug, Clone)]
pub struct SetBreakpoint {
    /// What is asked of the engine.
    pub request: BreakpointRequest,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct BreakpointSet {
    /// Its number.
    pub number: BreakpointNumber,
    /// The expression, if it cannot be resolved yet.
    pub deferred: Option<String>,
}

fields!(BreakpointSet { number, deferred });

impl SetBreakpoint {
    /// Sets this one.
    pub(crate) fn of(request: BreakpointRequest) -> SetBreakpoint {
        SetBreakpoint { request }
    }
}

impl Command for SetBreakpoint {
    type Data = BreakpointSet;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<SetBreakpoint, CommandError> {
        let number = arguments.attached_decimal().map(BreakpointNumber);
        let thread = match arguments.threads.clone() {
            None | Some(ThreadSpec::All) => None,
            Some(spec) => one_thread(&spec, debugger)?,
        };
        let access =
            if arguments.name.eq_ignore_ascii_case("ba") { access(arguments)? } else { BreakpointAccess::Code };
        let mut one_shot = false;
        let mut condition = None;
        let mut depth = None;
        while let Some(option) = arguments.take_switch() {
            match option {
                '1' => one_shot = true,
                'w' => {
                    condition =
                        Some(arguments.quoted().ok_or_else(|| arguments.usage("/w needs a condition in quotes"))?);
                }
                'c' => depth = Some(DepthLimit::Below(frames(arguments, debugger)?)),
                'C' => depth = Some(DepthLimit::Above(frames(arguments, debugger)?)),
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        if let Some(condition) = &condition {
            check_condition(condition, debugger)?;
        }
        let watches_data = !matches!(
            access,
            BreakpointAccess::Code | BreakpointAccess::Hardware { access: HardwareAccess::Execute, .. }
        );
        let place = place(arguments, watches_data, debugger)?;
        let mut passes = 1;
        if !arguments.is_empty() && !arguments.rest().starts_with('"') {
            passes = arguments.number(debugger)?.max(1);
        }
        let commands = arguments.quoted().unwrap_or_default();
        let symbolic = arguments.name.eq_ignore_ascii_case("bu");
        // Nothing is to be shown and nothing changes: no message need cross the link for such a hit. What goes away with
        // its first stop must stop.
        let auto_continue = only_goes_on(&commands) && !one_shot;
        // The passes would be others, and the first hit is the only one.
        let implied = if passes == 1 && !one_shot { implied_condition(&commands, debugger) } else { None };
        let log = match one_shot {
            true => None,
            false => log_request(&commands, implied.is_some(), debugger),
        };
        let request = BreakpointRequest {
            number,
            place,
            access,
            thread,
            condition,
            implied,
            depth,
            passes,
            one_shot,
            commands,
            auto_continue,
            symbolic,
            log,
            event: None,
        };
        Ok(SetBreakpoint { request })
    }

    fn run(self, debugger: &mut Debugger) -> Result<BreakpointSet, CommandError> {
        let number = debugger.engine.set_breakpoint(self.request)?;
        if debugger.settings.safe_breakpoints_only {
            debugger.engine.flush_breakpoints()?;
            let info = debugger.engine.breakpoint(number)?;
            let unsafe_place = info.locations.iter().find(|place| place.safety == Some(KillSafety::Unsafe));
            if let Some(place) = unsafe_place {
                let reason =
                    format!("refused by .bpmode safe: at {} it is not kill-safe: {}", place.address, place.reason);
                debugger.engine.clear_breakpoints(&[number])?;
                debugger.engine.flush_breakpoints()?;
                return Err(CommandError::Invalid { reason });
            }
        }
        let info = debugger.engine.breakpoint(number)?;
        Ok(BreakpointSet { number, deferred: info.deferred.then_some(info.expression) })
    }

    fn render(data: &BreakpointSet, text: &mut String) {
        if let Some(expression) = &data.deferred {
            line!(text, "Bp expression '{expression}' could not be resolved, adding deferred bp {}", data.number);
        }
    }
}

/// The condition of commands of the form `.if (C) {...} .else {gc}` or `j C '...' ; 'gc'`: they do nothing but go on where it
/// does not hold. In C++, as conditions of breakpoints are. Of commands that only go on it is one that never holds: then it is
/// decided where conditions are, in a jump pad where there is one.
pub(super) fn implied_condition(commands: &str, debugger: &Debugger) -> Option<String> {
    if only_goes_on(commands) {
        return Some("0".to_owned());
    }
    // What aliases make of it is not known before the hit.
    if commands.contains("${") || commands.contains("$u") {
        return None;
    }
    let (condition, _) = conditional(commands)?;
    match (debugger.settings.evaluator, debugger.settings.radix) {
        (Evaluator::Cpp, _) => Some(condition.to_owned()),
        (Evaluator::Masm, Radix::Hexadecimal) => Some(format!("@@masm({condition})")),
        // The numbers of a condition are read in the usual radix, wherever it is evaluated.
        (Evaluator::Masm, _) => None,
    }
}

/// The condition of such commands, and what they do where it holds.
pub(super) fn conditional(commands: &str) -> Option<(&str, &str)> {
    let commands = commands.trim();
    let (condition, then, otherwise) = if let Some(rest) = commands.strip_prefix(".if") {
        let (condition, rest) = parentheses(rest).ok()?;
        let (then, rest) = braces(rest).ok()?;
        let (otherwise, rest) = braces(rest.trim_start().strip_prefix(".else")?).ok()?;
        (condition, then, Some(otherwise).filter(|_| rest.trim().is_empty())?)
    } else {
        let (condition, rest) = parentheses(commands.strip_prefix('j')?).ok()?;
        let (then, rest) = rest.trim_start().strip_prefix('\'')?.split_once('\'')?;
        (condition, then, rest.trim_start().strip_prefix(';')?.trim().trim_matches('\''))
    };
    (otherwise.trim() == "gc").then_some((condition, then))
}

/// The number of `/c` and `/C`; an address follows it, so it is one word and no expression with blanks.
fn frames(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<u32, CommandError> {
    let wrong = "/c and /C need a number of frames";
    let word = arguments.word().ok_or_else(|| arguments.usage(wrong))?;
    let mut own = Arguments::new(arguments.name, arguments.syntax, None, word);
    let number = own.number(debugger)?;
    own.finish()?;
    u32::try_from(number).map_err(|_| arguments.usage(wrong))
}

/// Whether commands do nothing but `gc`.
pub(super) fn only_goes_on(commands: &str) -> bool {
    commands.trim_matches(|c: char| c == ';' || c.is_whitespace()) == "gc"
}

/// The one thread of a prefix.
fn one_thread(spec: &ThreadSpec, debugger: &mut Debugger) -> Result<Option<ThreadOrdinal>, CommandError> {
    match super::threads::select(spec, debugger)?[..] {
        [thread] => Ok(Some(thread)),
        _ => Err(CommandError::invalid("a breakpoint is for one thread or for all")),
    }
}

/// `w4`, `r 8`, `e1`.
fn access(arguments: &mut Arguments<'_>) -> Result<BreakpointAccess, CommandError> {
    let wrong = "the access is e, r or w with a size, as in w4";
    let kinds = [("e", HardwareAccess::Execute), ("r", HardwareAccess::ReadWrite), ("w", HardwareAccess::Write)];
    if arguments.take("i") {
        return Err(CommandError::unsupported("ba i", "input and output ports need a kernel target"));
    }
    let access = kinds.into_iter().find(|(letter, _)| arguments.take(letter)).map(|(_, access)| access);
    let access = access.ok_or_else(|| arguments.usage(wrong))?;
    let len = arguments.decimal().filter(|len| (1..=MAX_WATCHED).contains(len));
    // The digits of a hexadecimal number would be the beginning of the address.
    let len = len.filter(|_| !arguments.unread().starts_with(|c: char| c.is_ascii_alphanumeric()));
    let len = len.ok_or_else(|| arguments.usage("the size is 1 to 1048576, in decimal"))?;
    Ok(BreakpointAccess::Hardware { access, len })
}

/// A condition must at least be an expression, and one that calls nothing; its names may become known later.
fn check_condition(condition: &str, debugger: &mut Debugger) -> Result<(), CommandError> {
    let (expr, used) = debugger.engine.parse_object(condition)?;
    if let Some(function) = expr.called_function() {
        return Err(calls(&function));
    }
    match condition[used..].trim() {
        "" => Ok(()),
        rest => Err(ExprError::Syntax { text: rest.to_owned() }.into()),
    }
}

/// Why a condition that calls a function is none.
pub(super) fn calls(function: &str) -> CommandError {
    CommandError::Invalid {
        reason: format!(
            "the condition calls {function}, and conditions call no functions; commands can, at each stop: \
             bp Address \"?? Condition; .if (@$exp) {{}} .else {{gc}}\""
        ),
    }
}

/// Where: names and lines are kept as they are written, so that all their places are meant; anything else is evaluated.
fn place(
    arguments: &mut Arguments<'_>,
    watches_data: bool,
    debugger: &mut Debugger,
) -> Result<BreakpointPlace, CommandError> {
    if arguments.is_empty() && watches_data {
        return Err(arguments.usage("the address to watch is missing"));
    }
    if arguments.is_empty() {
        let pc = debugger.engine.register("$ip")?.as_u64();
        return Ok(BreakpointPlace::Address(outpost_base::Va(pc)));
    }
    let text = arguments.expression_text(debugger)?;
    // As an expression it would be a division, and the breakpoint quietly another.
    if let Some(option) = [" /w", " /1", " /c", " /C"].into_iter().find(|option| text.ends_with(option)) {
        return Err(arguments.usage(format!("{} stands before the address", option.trim())));
    }
    let (expr, _) = debugger.engine.parse_expression(text, debugger.settings.expressions())?;
    match &expr {
        Expr::Masm(Masm::SourceLine(line)) => {
            if line.file.is_some() {
                return Ok(BreakpointPlace::Expression(text.to_owned()));
            }
            // A line alone is of the current file, now and not wherever the breakpoint is looked at later.
            let pc = outpost_base::Va(debugger.engine.register("$ip")?.as_u64());
            let known = debugger.engine.line_at(pc);
            let file = known.ok_or_else(|| ExprError::NoCode { line: line.to_string() })?.file;
            Ok(BreakpointPlace::Expression(format!("`{file}:{}`", line.line.unwrap_or(1))))
        }
        // A local variable is where it is now; looked up later, it would be another function's.
        Expr::Masm(Masm::Name(_)) if watches_data && debugger.engine.local(text).is_ok_and(|local| local.is_some()) => {
            Ok(BreakpointPlace::Address(outpost_base::Va(debugger.engine.evaluate_number(&expr)?)))
        }
        Expr::Masm(Masm::Name(_)) => Ok(BreakpointPlace::Expression(text.to_owned())),
        // `add` and `dead` are numbers to the evaluator; a function of the name is what is meant here.
        Expr::Masm(Masm::Number(_)) if is_name_of_digits(text) && is_known(text, debugger) => {
            Ok(BreakpointPlace::Expression(text.to_owned()))
        }
        expr => match debugger.engine.evaluate_number(expr) {
            Ok(at) => Ok(BreakpointPlace::Address(outpost_base::Va(at))),
            Err(ExprError::Unresolved { .. } | ExprError::NoCode { .. }) => {
                Ok(BreakpointPlace::Expression(text.to_owned()))
            }
            Err(error) => Err(error.into()),
        },
    }
}

/// Whether something has this name; what is only inlined has no symbol.
fn is_known(name: &str, debugger: &mut Debugger) -> bool {
    debugger.engine.find_name(name).is_ok() || debugger.engine.names_code(name)
}

/// Whether a number is written with letters alone.
fn is_name_of_digits(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphabetic())
}

/// Shows or sets which breakpoints are allowed.
#[derive(Debug, Clone)]
pub struct BreakpointMode {
    safe_only: Option<bool>,
    jumps: Option<bool>,
}

impl Command for BreakpointMode {
    type Data = ShownMode;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<BreakpointMode, CommandError> {
        let mut mode = BreakpointMode { safe_only: None, jumps: None };
        for word in arguments.take_rest().split_whitespace() {
            match word {
                "safe" => mode.safe_only = Some(true),
                "any" => mode.safe_only = Some(false),
                "jumps" => mode.jumps = Some(true),
                "nojumps" => mode.jumps = Some(false),
                other => return Err(arguments.usage(format!("unknown mode '{other}'"))),
            }
        }
        Ok(mode)
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownMode, CommandError> {
        if let Some(safe_only) = self.safe_only {
            debugger.settings.safe_breakpoints_only = safe_only;
        }
        if let Some(jumps) = self.jumps {
            debugger.engine.allow_jump_pads(jumps);
        }
        Ok(ShownMode {
            safe_only: debugger.settings.safe_breakpoints_only,
            jumps: debugger.engine.jump_pads_allowed(),
            unsafe_steps: debugger.engine.unsafe_steps()?,
        })
    }

    fn render(data: &ShownMode, text: &mut String) {
        match data.safe_only {
            true => line!(text, "Breakpoint mode: safe (breakpoints that would not outlive their server are refused)"),
            false => line!(text, "Breakpoint mode: any"),
        }
        match data.jumps {
            true => line!(text, "Conditions of breakpoints that are hit often run in the debuggee"),
            false => line!(text, "Conditions of breakpoints never run in the debuggee"),
        }
        unsafe_steps(&data.unsafe_steps, text);
    }
}

/// What `.bpmode` shows.
#[derive(Debug, Clone)]
pub struct ShownMode {
    /// Whether other breakpoints are refused.
    pub safe_only: bool,
    /// Whether conditions may run in the debuggee.
    pub jumps: bool,
    /// Processes in which steps over calls are not kill-safe, and why.
    pub unsafe_steps: Vec<(ProcessOrdinal, String)>,
}

fields!(ShownMode { safe_only, jumps, unsafe_steps });

/// A line for each process in which steps over calls are not kill-safe.
pub(super) fn unsafe_steps(processes: &[(ProcessOrdinal, String)], text: &mut String) {
    for (process, reason) in processes {
        line!(text, "Steps over calls in process {process} are not kill-safe: {reason}");
    }
}
