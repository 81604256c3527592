//! Control tokens: `.if`, loops, blocks, `j` and `z`.
//!
//! Each reads what belongs to it off the text it stands in; what it does to that text, it says by a [`Deed`].

use std::collections::VecDeque;

use crate::command::{CommandEntry, Group, Handler};
use crate::language::Arguments;
use crate::script::blocks::{braces, parentheses, pieces};
use crate::script::{Deed, Frame, Loop, LoopKind};
use crate::{CommandError, Debugger, Output};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    token(
        &[".if", ".elsif", ".else"],
        ".if (Condition) {Commands} [.elsif (Condition) {Commands}] [.else {Commands}]",
        "Carry out commands if a condition holds",
        "The condition is an expression of the default evaluator, and holds if it is not zero.",
        ".if (@rax == 0) {.echo null} .else {dps @rax L4}",
        choose,
    ),
    token(
        &[".while"],
        ".while (Condition) {Commands}",
        "Carry out commands as long as a condition holds",
        "The commands may resume: the loop goes on at the next stop, unless that is a break-in. Ctrl+C ends it.",
        ".while (@$t0 < 5) {p; r $t0 = @$t0 + 1}",
        repeat_while,
    ),
    token(
        &[".do"],
        ".do {Commands} (Condition)",
        "Carry out commands once, and again as long as a condition holds",
        "As .while otherwise.",
        ".do {p} (poi(counter) < 3)",
        repeat_after,
    ),
    token(
        &[".for"],
        ".for (Commands; Condition; Commands) {Commands}",
        "Carry out commands as long as a condition holds, with others before the first and after each round",
        "As .while otherwise. Several commands of the third part are separated by ;.",
        ".for (r $t0 = 0; @$t0 < 4; r $t0 = @$t0 + 1) {dq table + @$t0*8 L1}",
        repeat_for,
    ),
    token(
        &[".foreach"],
        ".foreach [/pS Initial] [/ps Skip] (Variable {Commands}) {Commands}\n\
         .foreach [/pS Initial] [/ps Skip] /s (Variable \"Text\") {Commands}\n\
         .foreach [/pS Initial] [/ps Skip] /f (Variable \"File\") {Commands}",
        "Carry out commands for each word of an output, a text or a file",
        "Variable stands for the word where it stands between blanks, ${Variable} anywhere. /pS leaves out so many words \
         at first, /ps after each.",
        ".foreach (at {s -[1]q @rsp L100 0}) {dps at L2}",
        repeat_each,
    ),
    token(
        &[".break"],
        ".break",
        "End the loop it stands in",
        "Also out of blocks in the loop.",
        ".while (1) {p; .if (@rax == 0) {.break}}",
        leave_loop,
    ),
    token(
        &[".continue"],
        ".continue",
        "Begin the next round of the loop it stands in",
        "Also out of blocks in the loop; .for carries out its third part first.",
        ".for (r $t0 = 0; @$t0 < 9; r $t0 = @$t0 + 1) {.if (@$t0 == 3) {.continue}; ? @$t0}",
        next_round,
    ),
    token(
        &[".block"],
        ".block {Commands}",
        "Carry out commands in which aliases are replaced anew",
        "What a line says of aliases holds for the blocks that begin later.",
        ".block {u ${here}}",
        enter_block,
    ),
    token(
        &[".catch"],
        ".catch {Commands}",
        "Carry out commands; an error ends them and nothing else",
        "The error is shown, and what stands behind the braces comes next. .leave ends them without one.",
        ".catch {dv}; k",
        enter_catch,
    ),
    token(
        &[".leave"],
        ".leave",
        "End the .catch it stands in",
        "Also out of blocks and loops in it.",
        ".catch {.if (@rax == 0) {.leave}; dps @rax}",
        leave_catch,
    ),
    token(
        &["j"],
        "j Expression ['Commands'] ; ['Commands']",
        "Carry out the first commands if an expression is not zero, else the second",
        "Without quotes the first end at ; and the second at the end of the line.",
        "bp main \"j (@rdi > 1) 'k'; 'g'\"",
        choose_quoted,
    ),
    token(
        &["z"],
        "z (Expression)",
        "Carry out the line again from its start as long as an expression is not zero",
        "Or the block, the breakpoint's commands or whatever text it stands in.",
        "p; z (@rax < 5)",
        again,
    ),
];

const fn token(
    names: &'static [&'static str],
    syntax: &'static str,
    summary: &'static str,
    details: &'static str,
    example: &'static str,
    run: Handler,
) -> CommandEntry {
    CommandEntry { names, syntax, summary, details, example, group: Group::Scripts, eats_line: false, run }
}

/// Goes past blanks and, for blocks that begin on a line of their own, past its end.
fn follows<'a>(rest: &'a str, token: &str) -> Option<&'a str> {
    let rest = rest.trim_start().strip_prefix(token)?;
    (!rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')).then_some(rest)
}

fn choose(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    if arguments.name != ".if" {
        return Err(CommandError::invalid(format!("{} stands behind no .if", arguments.name)));
    }
    let (condition, rest) = parentheses(arguments.unread())?;
    let (commands, mut rest) = braces(rest)?;
    let mut branches = vec![(condition, commands)];
    let mut otherwise = None;
    while let Some(behind) = follows(rest, ".elsif") {
        let (condition, behind) = parentheses(behind)?;
        let (commands, behind) = braces(behind)?;
        branches.push((condition, commands));
        rest = behind;
    }
    if let Some(behind) = follows(rest, ".else") {
        let (commands, behind) = braces(behind)?;
        otherwise = Some(commands);
        rest = behind;
    }
    arguments.read_to(rest);
    let mut chosen = otherwise;
    for (condition, commands) in branches {
        if debugger.condition(condition)? {
            chosen = Some(commands);
            break;
        }
    }
    enter(debugger, chosen.map_or(Ok(Vec::new()), |commands| Ok(vec![debugger.block(commands)?])))
}

/// Frames that come next, if they could be made.
fn enter(debugger: &mut Debugger, frames: Result<Vec<Frame>, CommandError>) -> Result<(), CommandError> {
    debugger.script.then(Deed::Enter(frames?));
    Ok(())
}

fn repeat_while(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    _: &mut dyn Output,
) -> Result<(), CommandError> {
    let (condition, rest) = parentheses(arguments.unread())?;
    let (body, rest) = braces(rest)?;
    arguments.read_to(rest);
    let kind = LoopKind::While { condition: condition.into() };
    enter(debugger, Ok(vec![Frame::Loop(Loop { kind, body: body.into() })]))
}

fn repeat_after(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    _: &mut dyn Output,
) -> Result<(), CommandError> {
    let (body, rest) = braces(arguments.unread())?;
    let (condition, rest) = parentheses(rest)?;
    arguments.read_to(rest);
    let kind = LoopKind::While { condition: condition.into() };
    let first = debugger.block(body)?;
    enter(debugger, Ok(vec![Frame::Loop(Loop { kind, body: body.into() }), first]))
}

fn repeat_for(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let (head, rest) = parentheses(arguments.unread())?;
    let [first, condition, increment] = pieces(head, 3)[..] else {
        return Err(arguments.usage("three parts are wanted between the parentheses, separated by ;"));
    };
    let (body, rest) = braces(rest)?;
    arguments.read_to(rest);
    let kind = LoopKind::For { condition: condition.into(), increment: increment.into(), is_next: false };
    let first = debugger.block(first)?;
    enter(debugger, Ok(vec![Frame::Loop(Loop { kind, body: body.into() }), first]))
}

fn repeat_each(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let (mut initial, mut skipped, mut from) = (0, 0, 'c');
    while let Some(option) = arguments.take_option() {
        match option {
            "pS" => initial = count(arguments, debugger)?,
            "ps" => skipped = count(arguments, debugger)?,
            "s" => from = 's',
            "f" => from = 'f',
            other => return Err(arguments.usage(format!("unknown option /{other}"))),
        }
    }
    let (head, rest) = parentheses(arguments.unread())?;
    let (body, rest) = braces(rest)?;
    arguments.read_to(rest);
    let head = head.trim();
    let name_len = head.find(|c: char| c.is_whitespace() || matches!(c, '{' | '"')).unwrap_or(head.len());
    let (variable, source) = (&head[..name_len], head[name_len..].trim());
    if variable.is_empty() {
        return Err(arguments.usage("the variable is missing"));
    }
    let text = match from {
        'c' => {
            let (commands, behind) = braces(source)?;
            if !behind.trim().is_empty() {
                return Err(arguments.usage(format!("extra characters '{}'", behind.trim())));
            }
            debugger.capture_all(commands, "commands whose output is looked through cannot resume")?
        }
        _ => {
            let mut quoted = Arguments::new("", arguments.syntax, None, source);
            let text = quoted.quoted().ok_or_else(|| arguments.usage("the text in quotes is missing"))?;
            quoted.finish()?;
            if from == 'f' { super::script_file::read(&text, debugger)? } else { text }
        }
    };
    let tokens: VecDeque<String> = text.split_whitespace().skip(initial).map(str::to_owned).collect();
    let kind = LoopKind::ForEach { variable: variable.into(), tokens, skipped };
    enter(debugger, Ok(vec![Frame::Loop(Loop { kind, body: body.into() })]))
}

/// A number of words, itself one: what follows it is another option, and no division.
fn count(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<usize, CommandError> {
    let word = arguments.word().unwrap_or_default();
    let mut number = Arguments::new("", arguments.syntax, None, word);
    let count = number.number(debugger)?;
    number.finish()?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn leave_loop(_: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    debugger.script.then(Deed::Break);
    Ok(())
}

fn next_round(_: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    debugger.script.then(Deed::Continue);
    Ok(())
}

fn enter_block(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let (commands, rest) = braces(arguments.unread())?;
    arguments.read_to(rest);
    enter(debugger, debugger.block(commands).map(|block| vec![block]))
}

fn enter_catch(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let (commands, rest) = braces(arguments.unread())?;
    arguments.read_to(rest);
    enter(debugger, debugger.block(commands).map(|block| vec![Frame::Catch, block]))
}

fn leave_catch(_: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    debugger.script.then(Deed::Leave);
    Ok(())
}

fn choose_quoted(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    _: &mut dyn Output,
) -> Result<(), CommandError> {
    let holds = arguments.number(debugger)? != 0;
    let (first, rest) = quoted_commands(arguments.take_rest());
    let second = rest.trim_start().strip_prefix(';').map_or("", |rest| {
        let (quoted, _) = quoted_commands(rest);
        if rest.trim_start().starts_with('\'') { quoted } else { rest }
    });
    let block = debugger.block(if holds { first } else { second })?;
    enter(debugger, Ok(vec![block]))
}

/// Commands in single quotes, or those up to the next `;`, and what follows.
fn quoted_commands(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    match text.strip_prefix('\'').and_then(|inside| inside.split_once('\'')) {
        Some(found) => found,
        None => text.split_at(text.find(';').unwrap_or(text.len())),
    }
}

fn again(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let (condition, rest) = parentheses(arguments.unread())?;
    arguments.read_to(rest);
    debugger.engine.check_interrupt()?;
    debugger.script.count_round()?;
    if debugger.condition(condition)? {
        debugger.script.then(Deed::Again);
    }
    Ok(())
}
