//! Breakpoints whose commands only print and go on: the target writes their values down, and no hit stops.
//!
//! What is recognised: `.printf` and `.echo`, one or more, and a `g` or `gc` at the end; the same as what a condition at the
//! head of the commands (`.if`, `j`) leads to.

use std::collections::HashMap;
use std::rc::Rc;

use outpost_engine::expr::{Evaluated, Evaluator, Radix};
use outpost_engine::target::LogValue;
use outpost_engine::{LogArgumentRequest, LogRequest, Logged};

use super::breakpoint::conditional;
use super::printf::{Field, Piece, padded, pieces, text_field, write_field};
use crate::Debugger;
use crate::language::{Arguments, cut_command, recognise};
use crate::text::line;

/// Formats that are remembered.
const MAX_KNOWN: usize = 256;

/// What lines of logpoints look like, by the commands of the breakpoints.
#[derive(Debug, Default)]
pub(crate) struct KnownFormats(HashMap<Rc<str>, Rc<[Piece]>>);

/// What the commands of a breakpoint write down, if they do nothing else and go on. `has_implied`: a condition at their head
/// is looked at by whoever looks at hits.
pub(super) fn log_request(commands: &str, has_implied: bool, debugger: &mut Debugger) -> Option<LogRequest> {
    let inner = printing(commands).filter(|_| has_implied || conditional(commands).is_none())?;
    let mut request = LogRequest::default();
    if commands.contains("${") || commands.contains("$u") {
        request.hindrance = Some("what its aliases stand for is known at a hit and not before".to_owned());
    }
    let mut rest = inner;
    while let Some((mut print, after)) = next_print(rest) {
        rest = after;
        let Print::Formatted(pieces, arguments, has_kind) = &mut print else { continue };
        if *has_kind {
            let why = "/o says what the text is, which only the debugger knows to heed";
            request.hindrance.get_or_insert_with(|| why.to_owned());
        }
        for piece in pieces {
            let Piece::Field(field) = piece else { continue };
            let expression = arguments.expression_text(debugger).ok()?.trim().to_owned();
            let expression = match (debugger.settings.evaluator, debugger.settings.radix) {
                (Evaluator::Cpp, _) => expression,
                (Evaluator::Masm, Radix::Hexadecimal) => format!("@@masm({expression})"),
                (Evaluator::Masm, _) => {
                    let why = "the radix of its numbers is another than 16";
                    request.hindrance.get_or_insert_with(|| why.to_owned());
                    expression
                }
            };
            let is_text = text_field(field).unwrap_or_else(|why| {
                request.hindrance.get_or_insert(why);
                true
            });
            request.arguments.push(LogArgumentRequest { expression, is_text });
        }
        if !arguments.is_empty() {
            return None;
        }
    }
    Some(request)
}

/// One command that prints.
enum Print<'a> {
    /// With what is left of its arguments, and whether it says what kind of text it is (`/o`).
    Formatted(Vec<Piece>, Arguments<'a>, bool),
    Text(String),
}

/// The command that `text` begins with, and what follows it; none where nothing is printed any more.
fn next_print(text: &str) -> Option<(Print<'_>, &str)> {
    let text = text.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
    let (command, after) = cut_command(text);
    let found = recognise(command).ok()?;
    let mut arguments = Arguments::new(found.name, found.entry.syntax, None, found.rest);
    let print = match found.entry.names {
        [".printf"] => {
            let mut has_kind = false;
            while let Some(option) = arguments.take_option() {
                match option {
                    "D" => {}
                    kind if kind.starts_with('o') => has_kind = true,
                    _ => return None,
                }
            }
            let pieces = pieces(&arguments.escaped()?).ok()?;
            arguments.take(",");
            Print::Formatted(pieces, arguments, has_kind)
        }
        [".echo"] => Print::Text(match arguments.quoted() {
            Some(text) => text + "\n",
            None => format!("{}\n", arguments.take_rest()),
        }),
        _ => return None,
    };
    Some((print, after))
}

/// The part of a breakpoint's commands that prints, if nothing else is left of them but to go on.
fn printing(commands: &str) -> Option<&str> {
    let inner = conditional(commands).map_or(commands, |(_, inner)| inner).trim();
    let (mut rest, mut any) = (inner, false);
    while let Some((_, after)) = next_print(rest) {
        (rest, any) = (after, true);
    }
    let ends = matches!(rest.trim_matches(|c: char| c == ';' || c.is_whitespace()), "g" | "gc");
    (ends && any).then_some(inner)
}

/// All of what the commands of a logpoint print, in a row.
fn format_of(commands: &str) -> Rc<[Piece]> {
    let mut all = Vec::new();
    let mut rest = printing(commands).unwrap_or_default();
    while let Some((print, after)) = next_print(rest) {
        rest = after;
        match print {
            Print::Formatted(pieces, ..) => all.extend(pieces),
            Print::Text(text) => all.push(Piece::Text(text)),
        }
    }
    all.into()
}

/// The lines of what was logged, and what is to be said of hits that were not.
pub(crate) fn describe(logged: &Logged, debugger: &mut Debugger) -> (String, String) {
    let mut text = String::new();
    for hit in &logged.hits {
        let known = debugger.known_formats.0.get(&hit.commands).cloned();
        let format = known.unwrap_or_else(|| {
            let format = format_of(&hit.commands);
            if debugger.known_formats.0.len() >= MAX_KNOWN {
                debugger.known_formats.0.clear();
            }
            debugger.known_formats.0.insert(Rc::clone(&hit.commands), Rc::clone(&format));
            format
        });
        let mut values = hit.values.iter();
        for piece in &*format {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Field(field) => {
                    text.push_str(&values.next().map_or_else(String::new, |value| written(field, value, debugger)));
                }
            }
        }
    }
    let mut lost = String::new();
    for (number, count) in &logged.dropped {
        line!(lost, "Breakpoint {number} was hit {count} more times that could not be logged");
    }
    (text, lost)
}

fn written(field: &Field, value: &LogValue, debugger: &mut Debugger) -> String {
    match value {
        // Numbers have no value that could fail.
        LogValue::Number(number) => write_field(field, &Evaluated::Number(*number), debugger).unwrap_or_default(),
        LogValue::Text { bytes, is_whole } => {
            let text = String::from_utf8_lossy(bytes);
            let cut = field.precision.filter(|precision| text.chars().count() > *precision);
            match cut {
                Some(precision) => padded(field, text.chars().take(precision).collect()),
                None if *is_whole => padded(field, text.into_owned()),
                None => padded(field, text.into_owned() + "..."),
            }
        }
        LogValue::Missing => padded(field, "????".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use outpost_engine::BreakpointNumber;
    use outpost_engine::LoggedHit;

    use super::*;

    fn request(commands: &str) -> Option<LogRequest> {
        let mut debugger = crate::fuzz::stopped_debugger();
        log_request(commands, true, &mut debugger)
    }

    #[track_caller]
    fn check(commands: &str, expected: &[(&str, bool)]) {
        let request = request(commands).expect(commands);
        let found: Vec<_> =
            request.arguments.iter().map(|argument| (argument.expression.as_str(), argument.is_text)).collect();
        assert_eq!((found.as_slice(), request.hindrance), (expected, None), "{commands}");
    }

    #[test]
    fn commands_that_print_and_go_on_are_logged() {
        check(r#".printf "hit\n"; gc"#, &[]);
        check(
            r#".printf /D "%d, %p;\n", @rdi, poi(@rsi + 8) ; g;"#,
            &[("@@masm(@rdi)", false), ("@@masm(poi(@rsi + 8))", false)],
        );
        check(r#".echo at f; .printf "%ma %y\n", @rdi, @rip; gc"#, &[("@@masm(@rdi)", true), ("@@masm(@rip)", false)]);
        check(r#".if (@rdi > 2) {.printf "%d\n", @rdi; gc} .else {gc}"#, &[("@@masm(@rdi)", false)]);
        check(r#"j (@rdi > 2) '.printf "%d\n", @rdi; gc'; 'gc'"#, &[("@@masm(@rdi)", false)]);
    }

    #[test]
    fn others_are_not() {
        for commands in [
            "",
            "gc",
            r#".printf "hit\n""#,
            r#".printf "hit\n"; k; g"#,
            r#".printf "%d\n"; g"#,
            r#".printf "%d\n", 1, 2; g"#,
            r#".printf "%q\n", 1; g"#,
            r#".printf "hit\n"; g 1000"#,
            r#".printf "a"; g; .printf "b"; g"#,
            r#".if (@rdi > 2) {.printf "%d\n", @rdi} .else {gc}"#,
        ] {
            assert_eq!(request(commands), None, "{commands}");
        }
        let aliased = request(r#".printf "${x}\n"; g"#).unwrap();
        assert_eq!(aliased.hindrance.as_deref(), Some("what its aliases stand for is known at a hit and not before"));
        let of_kind = request(r#".printf /ow "hit\n"; gc"#).unwrap();
        let heeded = "/o says what the text is, which only the debugger knows to heed";
        assert_eq!(of_kind.hindrance.as_deref(), Some(heeded));
        let wide = request(r#".printf "%mu\n", @rdi; g"#).unwrap();
        assert_eq!(wide.hindrance.as_deref(), Some("%mu is a text that only the debugger reads"));
    }

    #[test]
    fn lines_are_those_of_printf() {
        let mut debugger = crate::fuzz::stopped_debugger();
        let commands: Rc<str> = r#".printf "%d %5x|%-8ma|%.2ma|%ma %ma\n", 1, 2, 3, 4, 5, 6; .echo end; gc"#.into();
        let text = |bytes: &[u8], is_whole| LogValue::Text { bytes: bytes.to_vec(), is_whole };
        let values = vec![
            LogValue::Number(u64::MAX),
            LogValue::Number(0xab),
            text(b"worm", true),
            text(b"worm", false),
            text(b"worm", false),
            LogValue::Missing,
        ];
        let hit = LoggedHit { number: BreakpointNumber(3), commands, values };
        let logged = Logged { hits: vec![hit.clone(), hit], dropped: vec![(BreakpointNumber(3), 17)] };
        let (text, lost) = describe(&logged, &mut debugger);
        assert_eq!(text, "-1    ab|worm    |wo|worm... ????\nend\n".repeat(2));
        assert_eq!(lost, "Breakpoint 3 was hit 17 more times that could not be logged\n");
    }
}
