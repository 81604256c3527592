//! Stacks of real programs, frame by frame against gdb: pc, CFA and callee-saved registers of every frame.

mod recorded;

use outpost_base::{Arch, Va};
use outpost_testkit::Compiler;
use outpost_unwind::{FrameTrust, Stack, StackEnd, unwind_stack};
use recorded::*;

/// Records a program and compares all its stops; gives the stacks for what a test wants to say beyond that.
fn compare(source: &str, compiler: Compiler, options: &str, plan: &str) -> Vec<Stack> {
    let program = build(source, compiler, options);
    let record = record(&program, plan);
    assert!(!record.stops.is_empty() && record.unknown_stops == 0);
    let mut modules = record.modules(None, Symbols::Known);
    let stacks = record.stops.iter().map(|stop| {
        let stack = unwind_stack(&stop.context, 20_000, &mut modules, &mut record.memory(stop));
        let wrong = differences(&stack, &stop.frames);
        assert!(wrong.is_empty(), "{} at {}:\n{}", program.display(), stop.context.pc(), wrong.join("\n"));
        assert_eq!(stack.frames.len(), stop.frames.len(), "{:?} behind {:?}", stack.end, stop.frames.last());
        assert_eq!(stack.end, StackEnd::Outermost);
        stack
    });
    stacks.collect()
}

/// A plan that records each of `count` stops at `location`.
fn at_each(location: &str, count: usize) -> String {
    let stop = r#"("record",), ("continue",), "#.repeat(count - 1);
    format!(r#"[("command", "handle all nostop noprint pass"), ("break", "{location}"), ("run",), {stop} ("record",)]"#)
}

#[test]
fn signal_handlers() {
    if !have(&["gdb", "gcc"]) {
        return;
    }
    for options in ["-O2", "-O0 -g"] {
        let stacks = compare("signals.c", Compiler::Gcc, options, &at_each("stop_here", 6));
        let signal_frames = |stack: &Stack| stack.frames.iter().filter(|frame| frame.is_signal_frame).count();
        let counts: Vec<_> = stacks.iter().map(signal_frames).collect();
        assert_eq!(counts, [1, 2, 1, 1, 1, 1], "handlers running at each stop");
        for stack in &stacks {
            for pair in stack.frames.windows(2).filter(|pair| pair[0].is_signal_frame) {
                let id = |name| Arch::X86_64.register_by_name(name).expect("a register");
                let interrupted = &pair[1];
                assert_eq!(interrupted.trust, FrameTrust::SignalFrame);
                assert!(["rax", "r11", "rflags", "xmm5"].iter().all(|name| interrupted.registers.is_known(id(name))));
                assert_eq!(interrupted.address.lookup_address(), interrupted.registers.pc());
            }
        }
    }
}

#[test]
fn exceptions_and_library_callbacks() {
    if !have(&["gdb", "g++"]) {
        return;
    }
    for options in ["-O2", "-O0", "-O3 -static"] {
        let stacks = compare("throws.cpp", Compiler::Gxx, options, &at_each("stop_here", 30));
        assert!(stacks.len() >= 6, "{} stops with {options}", stacks.len());
    }
    let in_unwinder = r#"[("break", "_Unwind_RaiseException"), ("break", "__cxa_begin_catch"), ("run",), ("record",),
        ("continue",), ("record",)]"#;
    compare("throws.cpp", Compiler::Gxx, "-O2 -static", in_unwinder);
}

#[test]
fn waiting_threads_and_deep_recursion() {
    if !have(&["gdb", "gcc"]) {
        return;
    }
    let plan = r#"[("break", "stop_here"), ("run",), ("threads",)]"#;
    let stacks = compare("threads.c", Compiler::Gcc, "-O1 -fno-optimize-sibling-calls", plan);
    assert_eq!(stacks.len(), 7);
    assert!(stacks.iter().any(|stack| stack.frames.len() > 10_000));
}

#[test]
fn linkage_table_and_lazy_resolver() {
    if !have(&["gdb", "gcc"]) {
        return;
    }
    // Every instruction from the call through the resolver's entry; then again when it is resolved.
    let plan = r#"[("break", "imports"), ("run",), ("step", 40), ("break", "_dl_fixup"), ("continue",), ("record",),
        ("step", 30), ("command", "delete"), ("break", "imports"), ("continue",), ("step", 60)]"#;
    for options in ["-O2 -Wl,-z,lazy", "-O1 -Wl,-z,lazy -fcf-protection=none -no-pie"] {
        compare("calls.c", Compiler::Gcc, options, plan);
    }
}

#[test]
fn from_the_first_instruction_on() {
    if !have(&["gdb", "gcc"]) {
        return;
    }
    // The loader's entry, its work, the program's entry. (Not _init: it has no call frame information, and gdb takes a
    // wrong word for its return address.)
    let plan = r#"[("starti",), ("step", 40), ("break", "_dl_relocate_object"), ("continue",), ("maps",), ("record",),
        ("step", 20), ("command", "delete"), ("break", "_start"), ("continue",), ("maps",), ("step", 15),
        ("break", "atol"), ("continue",), ("step", 10)]"#;
    let stacks = compare("calls.c", Compiler::Gcc, "-O2", plan);
    assert!(stacks.len() > 60);
}

#[test]
fn a_call_through_a_null_pointer() {
    if !have(&["gdb", "gcc"]) {
        return;
    }
    let program = build("calls.c", Compiler::Gcc, "-O2");
    let record = record(&program, r#"[("run",), ("record",)]"#);
    let stop = &record.stops[0];
    let mut modules = record.modules(None, Symbols::Known);
    let stack = unwind_stack(&stop.context, 100, &mut modules, &mut record.memory(stop));
    assert_eq!(stop.context.pc(), Va(0));
    assert_eq!(differences(&stack, &stop.frames), Vec::<String>::new());
    assert_eq!(stack.end, StackEnd::Outermost);
    assert!(stack.frames.iter().all(|frame| frame.trust <= FrameTrust::Prologue));
    let rdi = Arch::X86_64.register_by_name("rdi").expect("a register");
    assert_eq!(stack.frames[1].registers.get_u64(rdi), Some(3), "the call ran nothing that could change it");
}

#[test]
fn rust_closures_and_panics() {
    if !have(&["gdb", "rustc"]) {
        return;
    }
    for options in ["-O", "-Copt-level=0 -g"] {
        let stacks = compare("panics.rs", Compiler::Rustc, options, &at_each("stop_here", 30));
        assert!(stacks.iter().any(|stack| stack.frames.len() > 15), "the panic's frames");
    }
}

#[test]
fn inside_library_code_without_its_call_frame_information() {
    if !have(&["gdb", "gcc"]) {
        return;
    }
    // The C library's code is as the distribution built it; gdb has the call frame information that we withhold.
    let program = build("signals.c", Compiler::Gcc, "-O2");
    let record = record(&program, &at_each("stop_here", 6));
    for symbols in [Symbols::Known, Symbols::Stripped] {
        let mut modules = record.modules(Some("libc.so"), symbols);
        for stop in &record.stops {
            let stack = unwind_stack(&stop.context, 100, &mut modules, &mut record.memory(stop));
            let to_main = stop.frames.iter().position(|frame| frame.name == "main").expect("main") + 1;
            let wrong = differences(&stack, &stop.frames[..to_main]);
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
            assert!(stack.frames.iter().any(|frame| frame.trust == FrameTrust::SignalFrame));
        }
    }
}
