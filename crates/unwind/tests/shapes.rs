//! Every instruction of functions of all shapes, against what gdb says by call frame information.
//!
//! The same stops are unwound by call frame information, then with that of the program withheld, with its symbols and
//! without: the expected values stay those of gdb, who had it.

mod recorded;

use outpost_testkit::Compiler;
use outpost_unwind::{FrameTrust, unwind_stack};
use recorded::*;

const PLAN: &str = r#"[("break", "main"), ("run",), ("command", "delete"), ("step", 2500)]"#;

/// The frames as far as `main`.
fn to_main(frames: &[Expected]) -> &[Expected] {
    let count = frames.iter().position(|frame| frame.name == "main").map_or(frames.len(), |at| at + 1);
    &frames[..count]
}

/// Where gdb went wrong: `main` has the same CFA all the time, but gcc's rows for the end of functions that realign
/// the stack lead elsewhere.
fn is_gdb_mistaken(stop: &Stop, main_cfa: Option<u64>) -> bool {
    to_main(&stop.frames).last().is_none_or(|main| main.name != "main" || main.cfa != main_cfa)
}

fn compare(compiler: Compiler, options: &str) {
    let command = if compiler == Compiler::Gcc { "gcc" } else { "clang" };
    if !have(&["gdb", command]) {
        return;
    }
    let program = build("shapes.c", compiler, options);
    let mut record = record(&program, PLAN);
    assert!(record.stops.len() > 300, "only {} stops", record.stops.len());
    let (all, main_cfa) = (record.stops.len(), record.stops[0].frames[0].cfa);
    record.stops.retain(|stop| !is_gdb_mistaken(stop, main_cfa));
    assert!(all - record.stops.len() < 5, "gdb is wrong in {} stops", all - record.stops.len());
    assert!(record.unknown_stops < 20, "gdb is at a loss in {} stops", record.unknown_stops);
    for (how, without, symbols) in [
        ("by call frame information", None, Symbols::Known),
        ("by instructions from the entry", Some("debuggee"), Symbols::Known),
        ("by instructions without symbols", Some("debuggee"), Symbols::Stripped),
    ] {
        let mut modules = record.modules(without, symbols);
        let mut wrong_stops = 0;
        let mut first = String::new();
        for stop in &record.stops {
            let stack = unwind_stack(&stop.context, 64, &mut modules, &mut record.memory(stop));
            let wrong = differences(&stack, to_main(&stop.frames));
            let guesses = stack.frames.iter().filter(|frame| frame.trust > FrameTrust::Prologue).count();
            assert!(without.is_some() || guesses == 0, "{:?}", stack.frames);
            if !wrong.is_empty() {
                if wrong_stops < 5 {
                    first += &format!("at {}: {}\n", stop.context.pc(), wrong.join("\n  "));
                }
                wrong_stops += 1;
            }
        }
        assert_eq!(wrong_stops, 0, "of {} stops, {compiler:?} {options}, {how}:\n{first}", record.stops.len());
    }
}

#[test]
fn gcc_o0() {
    compare(Compiler::Gcc, "-O0");
}

#[test]
fn gcc_o2() {
    compare(Compiler::Gcc, "-O2");
}

#[test]
fn gcc_o3_with_frame_pointers() {
    compare(Compiler::Gcc, "-O3 -fno-omit-frame-pointer");
}

#[test]
fn gcc_os() {
    compare(Compiler::Gcc, "-Os -fcf-protection=none");
}

#[test]
fn clang_o0() {
    compare(Compiler::Clang, "-O0");
}

#[test]
fn clang_o2() {
    compare(Compiler::Clang, "-O2");
}

#[test]
fn clang_o1_with_frame_pointers() {
    compare(Compiler::Clang, "-O1 -fno-omit-frame-pointer -g");
}
