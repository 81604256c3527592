//! Queries on an engine that has nothing but a process made of plain data.

use outpost_symbols::{BatchMemory, NumberFormat, TextOptions, ViewLimits};
use outpost_target::fake::FakeTarget;

use super::{Model, Object};
use crate::Engine;
use crate::expr::ExprError;

fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.add_system(Box::new(FakeTarget::with_threads(3))).unwrap();
    engine
}

fn evaluate(engine: &mut Engine, text: &str) -> Result<Object, ExprError> {
    let (expr, used) = engine.parse_object(text)?;
    assert_eq!(used, text.len(), "{text}");
    let memory = engine.memory().unwrap();
    memory.in_batches(|memory| engine.evaluate_object(&expr, memory))
}

/// An object in a line; its parts where it has elements.
fn shown(engine: &mut Engine, object: &Object) -> String {
    let mut memory = BatchMemory::new();
    match object {
        Object::Value(value) => {
            let options = TextOptions { numbers: NumberFormat::Plain, ..TextOptions::default() };
            value.text(&options, &mut memory)
        }
        Object::Sequence(_) => {
            let parts = engine.object_parts(object, &ViewLimits::default(), false, &mut memory).unwrap();
            let one = |part: &super::Part| format!("{}: {}", part.name, shown(engine, &part.object));
            parts.items.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        other => Model::new(engine, &mut memory).display(other).unwrap_or_else(|error| format!("<{error}>")),
    }
}

fn check(text: &str, expected: &str) {
    let mut engine = engine();
    let found = evaluate(&mut engine, text);
    let found = match found {
        Ok(object) => shown(&mut engine, &object),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "{text}");
}

const THREADS: &str = "@$curprocess.Threads";

fn check_threads(query: &str, expected: &str) {
    check(&format!("{THREADS}{query}"), expected);
}

#[test]
fn things_have_members_and_elements() {
    check("@$curprocess.Threads.Count()", "0x3");
    check("Debugger.Sessions[0].Processes.First().Threads.Count() == @$curprocess.Threads.Count()", "true");
    check("@$curthread.Index", "0x0");
    check("@$curthread.index", "0x0");
    check("@$curthread.Nothing", "cannot find member 'Nothing' in a thread");
    check("@$curprocess.Threads[0x7fffffff]", "'[0x7fffffff]' is not available: the threads has no such element");
    check("@$curthread.Foo()", "no method 'Foo' of a thread");
    check("@$curthread.Count()", "'elements' is not available: a thread has none");
    check("-@$curthread", "operand error at 'operator': a thread is no value of the debuggee");
}

#[test]
fn queries_are_made_of_functions() {
    check_threads(".Select(t => t.Index * 2 + 1).Sum()", "9");
    check_threads(".Where(t => t.Index != 1).Select(t => t.Index).Sum()", "2");
    check_threads(".Where(t => t.Index >= 1 && t.Index < 2 || false).Count()", "0x1");
    check_threads(".OrderByDescending(t => t.Index).First().Index", "0x2");
    check_threads(".OrderBy(t => 0 - (int)t.Index).Last().Index", "0x0");
    check_threads(".Take(2).Count()", "0x2");
    check_threads(".Skip(2).First().Index", "0x2");
    check_threads(".Take(0).Any()", "false");
    check_threads(".Any(t => t.Index == 2)", "true");
    check_threads(".All(t => t.Index < 2)", "false");
    check_threads(".Select(t => t.Index % 2).Distinct().Count()", "0x2");
    check_threads(".Select(t => t.Index).Contains(2)", "true");
    check_threads(".Contains(@$curthread)", "true");
    check_threads(".Reverse().First().Index", "0x2");
    check_threads(".Max(t => t.Index)", "0x2");
    check_threads(".Select(t => new { A = t.Index, B = t.Index == 0 ? \"zero\" : \"more\" }).Last().B", "\"more\"");
    check_threads(".SelectMany(t => @$curprocess.Threads.Where(u => u.Index < t.Index)).Count()", "0x3");
    // What has seen enough is shown no more, wherever that is said.
    check_threads(".SelectMany(t => @$curprocess.Threads.Skip((int)t.Index).Take(1)).First().Index", "0x0");
    check_threads(".SelectMany(t => @$curprocess.Threads.Take(1)).Count()", "0x3");
    check_threads("[@$curthread.Id].Index", "0x0");
}

#[test]
fn what_is_wrong_with_a_query_is_said() {
    check_threads(".Where(t)", "Where takes a function: x => expression");
    check_threads(".Where()", "Where takes a function: x => expression");
    check_threads(".Select((a, b) => a)", "Select takes a function: x => expression");
    check_threads(".Take(1 - 2)", "Take takes a number that is not negative");
    check_threads(".Take(@$curthread)", "Take takes a number");
    check_threads(".First(t => t.Index > 9)", "'element' is not available: there is none");
    check_threads(".Where(t => t.Foo).Count()", "cannot find member 'Foo' in a thread");
    check_threads(".Select(t => t.Foo).Count()", "0x3");
    check_threads(".Sum()", "Sum takes numbers");
    check_threads(".ThenBy(t => 1)", "'ThenBy' is not available: ThenBy follows OrderBy or OrderByDescending");
    check_threads(".Zip()", "Zip takes other elements and perhaps a function of two");
    check_threads(".Join(@$curthread)", "Join takes others, x => key, y => key, and (x, y) => value");
    check_threads(".Select(@$curthread)", "Select takes a function: x => expression");
    check_threads(".Select(t => t.Index = 1).First()", "<'=' is not supported: functions change nothing>");
    check("@$curprocess.Threads.Where(x => ", "numeric expression missing from ''");
    check("new { 1 }", "syntax error at '1 }'");
}

#[test]
fn queries_combine_elements() {
    check_threads(
        ".OrderBy(t => t.Index / 2).ThenByDescending(t => t.Index).Select(t => t.Index)",
        "[0x65]: 0x1, [0x64]: 0x0, [0x66]: 0x2",
    );
    check_threads(".OrderByDescending(t => t.Index / 2).ThenBy(t => t.Index).First().Index", "0x2");
    check_threads(".OrderBy(t => 1).ThenBy(t => 1).ThenByDescending(t => t.Index).First().Index", "0x2");
    check_threads(
        ".Select(t => t.Index).Zip(@$curprocess.Threads.Skip(1), (i, t) => i * 10 + t.Index)",
        "[0]: 0x1, [1]: 0xc",
    );
    check_threads(".Zip(@$curprocess.Threads).Last().Second.Index", "0x2");
    check_threads(
        ".Join(@$curprocess.Threads, t => t.Index, u => u.Index / 2, (t, u) => t.Index * 10 + u.Index)",
        "[0]: 0x0, [1]: 0x1, [2]: 0xc",
    );
    check_threads(".SequenceEqual(@$curprocess.Threads)", "true");
    check_threads(".SequenceEqual(@$curprocess.Threads.Reverse())", "false");
    check_threads(".SequenceEqual(@$curprocess.Threads.Take(2))", "false");
    check_threads(".Select(t => t.Index == 0 ? t.Nothing : t.Index).FirstNonError()", "0x1");
    check_threads(".Select(t => t.Index == 2 ? t.Nothing : t.Index).LastNonError()", "0x1");
    check_threads(".AllNonError(t => t.Index == 1 ? t.Nothing : true)", "true");
    check_threads(".AllNonError(t => t.Index == 1 ? t.Nothing : t.Index == 0)", "false");
    check_threads(".AnyNonError(t => t.Index == 1 ? t.Nothing : false)", "false");
}

#[test]
fn functions_are_values() {
    check("x => x + 1", "x => x + 1");
    check("(x => x + 1)(2)", "3");
    check("((x, y) => x * y)(3, 4)", "12");
    check("(f => f(f(3)))(x => x * 2)", "12");
    check("new { F = x => x - 1 }.F(3)", "2");
    check("(x => y => x * 10 + y)(3)(4)", "34");
    check("@$curthread(1)", "operand error at '()': a thread is no function; 'dx @$name = x => expression' makes one");
    check("(x => x)(1, 2)", "operand error at '()': 'x => x' takes 1 argument, not 2");
    let mut engine = engine();
    for (text, expected) in [
        ("@$next = x => x + 1", "x => x + 1"),
        ("@$next(41)", "42"),
        ("@$curprocess.Threads.Select(t => t.Index).Select(@$next)", "[0x64]: 0x1, [0x65]: 0x2, [0x66]: 0x3"),
        ("@$odd = t => t.Index % 2 == 1", "t => t.Index % 2 == 1"),
        ("@$curprocess.Threads.Where(@$odd).Count()", "0x1"),
        ("@$sum = n => n == 0 ? 0 : n + @$sum(n - 1)", "n => n == 0 ? 0 : n + @$sum(n - 1)"),
        ("@$sum(4)", "10"),
        ("@$add = (x, y) => x + y", "(x, y) => x + y"),
        ("@$curprocess.Threads.Select(t => t.Index).Aggregate(100, @$add)", "0x67"),
        ("@$curprocess.Threads.Select(@$add)", "Select takes a function: x => expression"),
    ] {
        let found = match evaluate(&mut engine, text) {
            Ok(object) => shown(&mut engine, &object),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text}");
    }
    // One that calls itself without end is refused.
    evaluate(&mut engine, "@$loop = n => @$loop(n + 1)").unwrap();
    assert_eq!(evaluate(&mut engine, "@$loop(1)").unwrap_err(), ExprError::TooComplex);
}

#[test]
fn texts_have_methods() {
    let name = "new { N = \"Grüße\" }.N";
    let methods = [
        (".Length", "0x5"),
        (".Substring(2)", "üße"),
        (".Substring(1, 3)", "rüß"),
        (".Substring(9)", ""),
        (".ToUpper()", "GRÜSSE"),
        (".Contains(\"üß\")", "true"),
        (".StartsWith(\"gr\")", "false"),
        (".EndsWith(\"e\")", "true"),
        (".IndexOf(\"e\")", "4"),
        (".IndexOf(\"x\")", "-1"),
        (" == \"Grüße\"", "true"),
        (" + \"!\"", "Grüße!"),
        (" < \"H\"", "true"),
        (".Substring(\"a\")", "Substring takes a start and perhaps a length"),
        (".Sum()", "'elements' is not available: a text has none"),
    ];
    for (method, expected) in methods {
        // Texts of the debugger's, not literals, which are values.
        check(&format!("{name}.ToDisplayString(){method}"), expected);
    }
}

#[test]
fn objects_are_kept_under_names() {
    let mut engine = engine();
    evaluate(&mut engine, "@$odd = @$curprocess.Threads.Where(t => t.Index % 2 == 1)").unwrap();
    let found = evaluate(&mut engine, "@$odd.Count() + 10").unwrap();
    assert_eq!(shown(&mut engine, &found), "0xb");
    for taken in ["@$curthread = 1", "@$tid = 1", "@$t0 = 1"] {
        let refused = evaluate(&mut engine, taken).unwrap_err().to_string();
        assert!(refused.contains("is the debugger's own"), "{taken}: {refused}");
    }
    // One that grows by what it was is refused at last, and nothing overflows.
    let grow = |engine: &mut Engine| evaluate(engine, "@$odd = @$odd.Where(t => @$odd.Any())");
    let refused = (0..200).find_map(|_| grow(&mut engine).err());
    assert_eq!(refused, Some(ExprError::TooComplex));
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [(".Skip(0)", ""), (".Select(t => @$curprocess.Threads", ")"), (".Reverse()", "")] {
        for count in [20, 150] {
            let text = format!("{THREADS}{}.Take(1).Count(){}", open.repeat(count), close.repeat(count));
            let mut engine = engine();
            // Too much of it is refused by the parser or later; nothing overflows the stack.
            match evaluate(&mut engine, &text) {
                Ok(found) if close.is_empty() => assert_eq!(shown(&mut engine, &found), "0x1"),
                Ok(found) => assert!(matches!(found, Object::Sequence(_)), "found when it is asked for"),
                Err(error) => assert_eq!(error, ExprError::TooComplex, "{text}"),
            }
        }
    }
}

#[test]
fn an_interrupt_ends_a_query() {
    let mut engine = engine();
    engine.interrupter().interrupt();
    let found = evaluate(&mut engine, "@$curprocess.Threads.Where(t => true).Count()");
    assert_eq!(found.unwrap_err(), ExprError::Interrupted);
}

#[test]
fn what_has_effects_is_known() {
    let mut engine = engine();
    let mut has_effects = |text: &str| engine.parse_object(text).unwrap().0.has_effects();
    assert!(has_effects("a = 1") && has_effects("b + a++") && has_effects("x.Where(y => --y)"));
    assert!(!has_effects("a == 1") && !has_effects("x.Where(y => -y)"));
}
