//! `bl`, `bc`, `bd`, `be`: listing and changing breakpoints.

use outpost_engine::target::{ConditionPlace, HardwareAccess, KillSafety};
use outpost_engine::values::Wildcard;
use outpost_engine::{
    BreakpointAccess, BreakpointInfo, BreakpointLocation, BreakpointNumber, DepthLimit, LogPlace, ProcessOrdinal,
};

use super::breakpoint::only_goes_on;
use super::breakpoint::unsafe_steps;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json};
use crate::language::Arguments;
use crate::text::symbols::{bracketed, name_of};
use crate::text::{line, put};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["bl"],
        syntax: "bl [/L] [List]",
        summary: "List breakpoints",
        details: "Number, status (e enabled, d disabled, u deferred), address, access, source line, hits still needed \
                  and needed at first, process and thread, symbol, commands. Deferred ones show their expression. A \
                  breakpoint with several places has one more line for each. What would not outlive its server is \
                  marked, with the reason. /L leaves source lines out. List is as that of bc.",
        example: "bl 0-3",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<List>,
    },
    CommandEntry {
        names: &["bc", "bd", "be"],
        syntax: "bc|bd|be List",
        summary: "Clear, disable or enable breakpoints",
        details: "List is numbers, ranges (1-3), * for all, an expression in brackets ([@$t0]), or a pattern in quotes \
                  (\"main*\"), which means those whose expression, or the name of one of whose places, fits; separated by \
                  blanks or commas.",
        example: "bd 0 2; be *",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<Change>,
    },
    CommandEntry {
        names: &[".bpcmds"],
        syntax: ".bpcmds",
        summary: "Show the commands that set the breakpoints again",
        details: "A line for each, with number, options, place, passes and commands; what cannot be resolved is kept as it was written.",
        example: ".bpcmds",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<Recreate>,
    },
];

/// Lists breakpoints.
#[derive(Debug, Clone)]
pub struct List {
    numbers: Option<Vec<BreakpointNumber>>,
    without_lines: bool,
}

/// A breakpoint with the names of its places.
#[derive(Debug, Clone)]
pub struct ListedBreakpoint {
    /// The breakpoint.
    pub info: BreakpointInfo,
    /// For each place: symbol and `[file @ line]`, empty if unknown.
    pub names: Vec<(String, String)>,
}

impl Json for ListedBreakpoint {
    fn json(&self) -> Value {
        let mut shown = self.info.json();
        for (at, (symbol, source)) in self.names.iter().enumerate() {
            shown["locations"][at]["symbol"] = json!(symbol);
            shown["locations"][at]["source"] = json!(source);
        }
        shown
    }
}

/// What `bl` shows.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The breakpoints asked for.
    pub breakpoints: Vec<ListedBreakpoint>,
    /// Processes in which steps over calls are not kill-safe, and why; only with a list of all.
    pub unsafe_steps: Vec<(ProcessOrdinal, String)>,
}

fields!(Listing { breakpoints, unsafe_steps });

impl Command for List {
    type Data = Listing;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<List, CommandError> {
        let mut without_lines = false;
        while let Some(option) = arguments.take_option() {
            match option {
                "L" => without_lines = true,
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        let numbers = if arguments.is_empty() { None } else { Some(numbers(arguments, debugger)?) };
        Ok(List { numbers, without_lines })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Listing, CommandError> {
        // Only the target knows which of them are kill-safe.
        debugger.engine.refresh_breakpoints()?;
        let mut all = debugger.engine.breakpoints();
        let unsafe_steps = match self.numbers {
            Some(numbers) => {
                all.retain(|info| numbers.contains(&info.number));
                Vec::new()
            }
            None => debugger.engine.unsafe_steps()?,
        };
        let mut breakpoints: Vec<_> = all.into_iter().map(|info| listed(info, debugger)).collect();
        if self.without_lines {
            breakpoints.iter_mut().flat_map(|listed| &mut listed.names).for_each(|(_, source)| source.clear());
        }
        Ok(Listing { breakpoints, unsafe_steps })
    }

    fn render(data: &Listing, text: &mut String) {
        data.breakpoints.iter().for_each(|listed| render_row(listed, text));
        unsafe_steps(&data.unsafe_steps, text);
    }
}

/// Names of places are those of the breakpoint's own process, which need not be the current one.
fn listed(info: BreakpointInfo, debugger: &mut Debugger) -> ListedBreakpoint {
    let before = debugger.engine.current_thread();
    let elsewhere = debugger.engine.current_process().ok() != Some(info.process);
    if elsewhere && debugger.engine.select_process(info.process).is_err() {
        return ListedBreakpoint { info, names: Vec::new() };
    }
    let listed = with_names(info, debugger);
    if let (true, Ok(thread)) = (elsewhere, before) {
        // Both were there a moment ago.
        let _ = debugger.engine.select_thread(thread);
    }
    listed
}

fn with_names(info: BreakpointInfo, debugger: &mut Debugger) -> ListedBreakpoint {
    let lines = debugger.settings.lines;
    let mut names = Vec::new();
    for place in &info.locations {
        let symbol = name_of(&mut debugger.engine, place.address);
        let location = match lines {
            true => {
                let meant = debugger.engine.line_of_place(&info.expression, place.address);
                meant.or_else(|| debugger.engine.line_at(place.address))
            }
            false => None,
        };
        names.push((symbol, location.as_ref().map(bracketed).unwrap_or_default()));
    }
    ListedBreakpoint { info, names }
}

/// ``` text
///  0 e 00005555`5555a2c4  [/src/svc/main.c @ 88]     0001 (0001)  0:**** svc!handle_request
/// ```
fn render_row(listed: &ListedBreakpoint, text: &mut String) {
    let info = &listed.info;
    let status = if info.enabled { 'e' } else { 'd' };
    let mark = if info.deferred || info.locations.is_empty() { 'u' } else { ' ' };
    put!(text, "{:2} {status}{mark}", info.number.0);
    let passes = format!("{:04x} ({:04x})", info.remaining, info.passes);
    let mut commands = if info.commands.is_empty() { String::new() } else { format!(" \"{}\"", info.commands) };
    let because = match info.condition_here.as_str() {
        "" => String::new(),
        because => format!(": {because}"),
    };
    if info.implies_condition && !info.condition_on_target {
        put!(commands, " (its condition is evaluated by the debugger at each hit{because})");
    }
    if let LogPlace::Debugger { because } = &info.log {
        put!(commands, " (logged by the debugger at each hit: {because})");
    }
    let condition = match (info.condition.as_str(), info.condition_on_target) {
        ("", _) => String::new(),
        (condition, true) => format!(" /w \"{condition}\""),
        (condition, false) => format!(" /w \"{condition}\" (evaluated by the debugger at each hit{because})"),
    };
    let one_shot = format!("{}{}", if info.one_shot { " /1" } else { "" }, depth(info.depth));
    let Some((first, others)) = info.locations.split_first() else {
        line!(text, "{:22}{passes} ({}){one_shot}{condition}{commands}", "", info.expression);
        return;
    };
    let thread = info.thread.map_or_else(|| "****".to_owned(), |thread| format!("~{:03}", thread.0));
    let name = |at: usize| listed.names.get(at).cloned().unwrap_or_default();
    let (symbol, source) = name(0);
    let place = match (access(info.access), source.as_str()) {
        (Some(access), _) => format!(" {access} "),
        (None, "") => "     ".to_owned(),
        (None, source) => format!("  {source}     "),
    };
    line!(
        text,
        "{}{place}{passes}  {}:{thread} {symbol}{one_shot}{condition}{commands}{}",
        first.address,
        info.process,
        remarks(first, info)
    );
    for (at, location) in others.iter().enumerate() {
        let (symbol, source) = name(at + 1);
        let source = if source.is_empty() { source } else { format!("  {source}") };
        line!(text, "     {}{source}     {symbol}{}", location.address, remarks(location, info));
    }
}

/// As the command that sets it says it.
fn depth(limit: Option<DepthLimit>) -> String {
    match limit {
        None => String::new(),
        Some(DepthLimit::Below(frames)) => format!(" /c {frames:#x}"),
        Some(DepthLimit::Above(frames)) => format!(" /C {frames:#x}"),
    }
}

fn access(access: BreakpointAccess) -> Option<String> {
    let BreakpointAccess::Hardware { access, len } = access else { return None };
    let letter = match access {
        HardwareAccess::Execute => 'e',
        HardwareAccess::Write => 'w',
        HardwareAccess::ReadWrite => 'r',
    };
    Some(format!("{letter} {len}"))
}

fn remarks(location: &BreakpointLocation, info: &BreakpointInfo) -> String {
    let goes_on = only_goes_on(&info.commands) && !info.one_shot;
    let done = match (info.condition_on_target, &info.log) {
        _ if goes_on => "passed",
        (true, LogPlace::Target) => "evaluated and logged",
        (false, LogPlace::Target) => "logged",
        (true, _) => "evaluated",
        _ => "counted",
    };
    let condition = match &location.condition {
        // Debug registers and pages are the target's business alone.
        _ if info.access != BreakpointAccess::Code && info.log != LogPlace::Target => String::new(),
        ConditionPlace::Debuggee => format!(" ({done} in the debuggee)"),
        ConditionPlace::Target { because } if because.is_empty() && (info.log == LogPlace::Target || goes_on) => {
            format!(" ({done} beside the target)")
        }
        ConditionPlace::Target { because } if because.is_empty() => String::new(),
        ConditionPlace::Target { because } => format!(" ({done} beside the target: {because})"),
    };
    let safety = match (location.safety, location.reason.as_str()) {
        (Some(KillSafety::Unsafe), reason) => format!(" (not kill-safe: {reason})"),
        (None, reason) if !reason.is_empty() => format!(" (not set: {reason})"),
        _ => String::new(),
    };
    let pages = match location.by_pages.as_str() {
        "" => String::new(),
        because => format!(" (by page protection: {because})"),
    };
    condition + &pages + &safety
}

/// Clears, disables or enables.
#[derive(Debug, Clone)]
pub struct Change {
    numbers: Vec<BreakpointNumber>,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Clear,
    Disable,
    Enable,
}

impl Command for Change {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Change, CommandError> {
        let what = match arguments.name.to_ascii_lowercase().as_str() {
            "bc" => What::Clear,
            "bd" => What::Disable,
            _ => What::Enable,
        };
        if arguments.is_empty() {
            return Err(arguments.usage("the list of breakpoints is missing"));
        }
        Ok(Change { numbers: numbers(arguments, debugger)?, what })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        match self.what {
            What::Clear => debugger.engine.clear_breakpoints(&self.numbers)?,
            What::Disable => debugger.engine.enable_breakpoints(&self.numbers, false)?,
            What::Enable => debugger.engine.enable_breakpoints(&self.numbers, true)?,
        }
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// Numbers, ranges, `*`, expressions, patterns; breakpoints that do not exist are an error only if named alone.
fn numbers(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Vec<BreakpointNumber>, CommandError> {
    let existing: Vec<BreakpointNumber> = debugger.engine.breakpoints().iter().map(|info| info.number).collect();
    let mut chosen = Vec::new();
    loop {
        if let Some(pattern) = arguments.quoted() {
            chosen.extend(matching(&Wildcard::new(&pattern), debugger));
            continue;
        }
        if arguments.take("[") {
            let number = arguments.number(debugger)?;
            if !arguments.take("]") {
                return Err(arguments.usage("the bracket behind the expression is missing"));
            }
            let number = u32::try_from(number);
            chosen.push(BreakpointNumber(number.map_err(|_| arguments.usage("that is no breakpoint number"))?));
            continue;
        }
        let Some(word) = arguments.word() else { break };
        if word == "*" {
            chosen.extend(&existing);
            continue;
        }
        let number = |digits: &str| digits.trim().parse::<u32>().ok();
        match word.split_once('-').map(|(first, last)| (number(first), number(last))) {
            Some((Some(first), Some(last))) => {
                chosen.extend(existing.iter().filter(|known| (first..=last).contains(&known.0)));
            }
            None => match number(word) {
                Some(only) => chosen.push(BreakpointNumber(only)),
                None => return Err(arguments.usage(format!("'{word}' is no breakpoint number"))),
            },
            Some(_) => return Err(arguments.usage(format!("'{word}' is no range of breakpoints"))),
        }
    }
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// Breakpoints that were set by such an expression, or have a place of such a name, with or without its module.
fn matching(pattern: &Wildcard, debugger: &mut Debugger) -> Vec<BreakpointNumber> {
    let fits =
        |name: &str| pattern.matches(name) || name.split_once('!').is_some_and(|(_, bare)| pattern.matches(bare));
    let all = debugger.engine.breakpoints();
    let listed = all.into_iter().map(|info| listed(info, debugger));
    let chosen = listed.filter(|one| fits(&one.info.expression) || one.names.iter().any(|(symbol, _)| fits(symbol)));
    chosen.map(|one| one.info.number).collect()
}

/// Shows commands that set the breakpoints again.
#[derive(Debug, Clone)]
pub struct Recreate;

impl Command for Recreate {
    type Data = Vec<ListedBreakpoint>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Recreate, CommandError> {
        Ok(Recreate)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<ListedBreakpoint>, CommandError> {
        let all = debugger.engine.breakpoints();
        Ok(all.into_iter().map(|info| listed(info, debugger)).collect())
    }

    fn render(data: &Vec<ListedBreakpoint>, text: &mut String) {
        for listed in data {
            let info = &listed.info;
            let command = match access(info.access) {
                Some(access) => format!("ba{} {}", info.number, access.replace(' ', "")),
                None => format!("bu{}", info.number),
            };
            let thread = info.thread.map(|thread| format!("~{thread} ")).unwrap_or_default();
            let options = format!("{}{}", if info.one_shot { " /1" } else { "" }, depth(info.depth));
            let condition = match info.condition.as_str() {
                "" => String::new(),
                condition => format!(" /w \"{}\"", condition.replace('"', "\\\"")),
            };
            let place = match (info.expression.as_str(), listed.names.first()) {
                ("", Some((symbol, _))) => format!("@!\"{symbol}\""),
                ("", None) => String::new(),
                (expression, _) => expression.to_owned(),
            };
            let passes = if info.passes > 1 { format!(" {:#x}", info.passes) } else { String::new() };
            let commands = match info.commands.as_str() {
                "" => String::new(),
                commands => format!(" \"{}\"", commands.replace('\\', "\\\\").replace('"', "\\\"")),
            };
            line!(text, "{thread}{command}{options}{condition} {place}{passes}{commands};");
        }
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::Va;
    use outpost_engine::ProcessOrdinal;
    use outpost_engine::target::BreakpointId;

    use super::*;

    fn info(number: u32) -> BreakpointInfo {
        BreakpointInfo {
            number: BreakpointNumber(number),
            process: ProcessOrdinal(0),
            enabled: true,
            deferred: false,
            symbolic: false,
            access: BreakpointAccess::Code,
            locations: vec![BreakpointLocation {
                id: BreakpointId(1),
                address: Va(0x5555_5555_a2c4),
                hits: 0,
                safety: Some(KillSafety::Safe),
                reason: String::new(),
                condition: ConditionPlace::Target { because: String::new() },
                by_pages: String::new(),
            }],
            expression: String::new(),
            thread: None,
            condition: String::new(),
            implies_condition: false,
            condition_on_target: false,
            condition_here: String::new(),
            depth: None,
            passes: 1,
            remaining: 1,
            hits: 0,
            one_shot: false,
            commands: String::new(),
            log: LogPlace::None,
        }
    }

    #[track_caller]
    fn check(info: BreakpointInfo, names: &[(&str, &str)], expected: &str) {
        let names = names.iter().map(|(symbol, source)| ((*symbol).to_owned(), (*source).to_owned())).collect();
        let mut text = String::new();
        render_row(&ListedBreakpoint { info, names }, &mut text);
        assert_eq!(text, expected);
    }

    #[test]
    fn rows_as_scripts_expect_them() {
        check(
            info(0),
            &[("svc!handle_request", "[/src/svc/main.c @ 88]")],
            " 0 e 00005555`5555a2c4  [/src/svc/main.c @ 88]     0001 (0001)  0:**** svc!handle_request\n",
        );
        let deferred =
            BreakpointInfo { deferred: true, locations: Vec::new(), expression: "libplug_so!init".into(), ..info(1) };
        check(deferred, &[], " 1 eu                      0001 (0001) (libplug_so!init)\n");
        let data = BreakpointInfo {
            access: BreakpointAccess::Hardware { access: HardwareAccess::Write, len: 4 },
            passes: 5,
            remaining: 2,
            commands: "k 3; g".into(),
            ..info(2)
        };
        check(data, &[("svc!g_count", "")], " 2 e 00005555`5555a2c4 w 4 0002 (0005)  0:**** svc!g_count \"k 3; g\"\n");
    }

    #[test]
    fn what_is_not_kill_safe_says_so() {
        let mut unsafe_one = info(3);
        unsafe_one.locations[0].safety = Some(KillSafety::Unsafe);
        unsafe_one.locations[0].reason = "no room for a pad".into();
        check(
            unsafe_one,
            &[("svc!f", "")],
            " 3 e 00005555`5555a2c4     0001 (0001)  0:**** svc!f (not kill-safe: no room for a pad)\n",
        );
    }
}
