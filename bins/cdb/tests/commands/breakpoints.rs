//! Breakpoints that look at the stack.

use outpost_testkit::{Build, Compiler};

use crate::common::*;

/// Rows of a stack.
fn frames(text: &str) -> usize {
    text.lines().skip_while(|line| !line.contains("Child-SP")).skip(1).count()
}

#[test]
fn depth_of_the_stack_decides() {
    let depth = frames(part(&cdb(lists(), "bp down; g; .echo [k]; k; .echo [end]"), "k"));
    assert!(depth >= 3, "{depth}");

    let deeper = cdb(lists(), &format!("bp /C {:x} down; g; .echo [k]; k; .echo [dv]; dv depth", depth + 1));
    assert_eq!(frames(part(&deeper, "k")), depth + 2, "{deeper}");
    assert!(part(&deeper, "dv").contains("depth = 0n0"), "the first call that goes so deep is down(2):\n{deeper}");

    let script =
        format!("bp /c {:x} down 2; .bpcmds; g; .echo [k]; k; .echo [dv]; dv depth; .echo [bl]; bl", depth + 1);
    let outermost = cdb(lists(), &script);
    assert!(outermost.contains(&format!("bu0 /c {:#x} down 0x2;", depth + 1)), "{outermost}");
    assert_eq!(frames(part(&outermost, "k")), depth, "{outermost}");
    assert!(part(&outermost, "dv").contains("depth = 0n2"), "the inner call is no pass:\n{outermost}");
    assert!(part(&outermost, "bl").contains(&format!("/c {:#x}", depth + 1)), "{outermost}");
}

#[test]
fn depth_and_condition_both_have_to_hold() {
    let depth = frames(part(&cdb(lists(), "bp down; g; .echo [k]; k; .echo [end]"), "k"));
    let script =
        format!("bp /c {:x} /w \"depth > 2\" down; g; .echo [dv]; dv depth; g; .echo [next]; dv depth", depth + 1);
    let output = cdb(lists(), &script);
    assert!(part(&output, "dv").contains("depth = 0n3"), "{output}");
    assert!(part(&output, "next").contains("depth = 0n4"), "{output}");
}

/// What cannot be set again stays as it is.
#[test]
fn a_breakpoint_that_cannot_be_changed_is_kept() {
    const THREAD: &str = r#"
        #define _GNU_SOURCE
        #include <pthread.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        static int tid;
        __attribute__((noinline)) void inside(void) { __asm__ volatile(""); }
        __attribute__((noinline)) void after(void) { __asm__ volatile(""); }
        static void *run(void *unused) { tid = gettid(); inside(); return 0; }
        int main(void) {
            pthread_t thread;
            if (pthread_create(&thread, 0, run, 0)) return 1;
            pthread_join(thread, 0);
            while (syscall(SYS_tgkill, getpid(), tid, 0) == 0) usleep(1000);
            after();
            return 0;
        }"#;
    let program = Build::source(Compiler::Gcc, "ended", THREAD).flags("-g -O0 -pthread").path();
    let script = "bp0 inside; bp3 after; g; .echo [here]; ~. bp1 after; g; .echo [bs]; .catch {bs 1 \"k\"}; \
                  .echo [br]; .catch {br 3 4 1 2}; .echo [bl]; bl";
    let output = cdb(program, script);
    for change in ["bs", "br"] {
        assert!(part(&output, change).contains("No thread 1"), "{change}:\n{output}");
    }
    let listed = part(&output, "bl");
    let numbers: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(numbers[..3], ["0", "1", "3"], "{output}");
}

#[test]
fn conditions_that_call_functions_are_refused_when_they_are_set() {
    let script = ".catch {bp /w \"down(1, list) > 2\" down}; .echo [bsc]; bp down; \
                  .catch {bsc 0 (@@(down(1, list)) > 2)}; .echo [bl]; bl";
    let output = cdb(lists(), script);
    assert!(output.contains("he condition calls down, and conditions call no functions"), "{output}");
    assert!(part(&output, "bsc").contains("condition calls down"), "{output}");
    assert_eq!(part(&output, "bl").matches("lists!down").count(), 1, "one is set, without a condition:\n{output}");
    // The way that the message names.
    let script = "bp down \"?? list->value + depth; .if (@$exp == 0n6) {} .else {gc}\"; g; .echo [dv]; dv depth";
    let output = cdb(lists(), script);
    assert!(part(&output, "dv").contains("depth = 0n5"), "{output}");
}

/// Debug info has no names for methods of traits but `{impl#0}`; the linker has.
#[test]
fn methods_of_traits_are_named_as_paths_of_rust() {
    const SHAPES: &str = r#"
use std::hint::black_box;
struct Circle(f64);
trait Shape {
    fn area(&self) -> f64;
}
impl Shape for Circle {
    #[inline(never)]
    fn area(&self) -> f64 { black_box(self.0) * 3.0 }
}
impl Shape for Vec<u8> {
    #[inline(never)]
    fn area(&self) -> f64 { black_box(self.len()) as f64 }
}
fn main() {
    println!("{} {}", Circle(2.0).area(), vec![1u8].area());
}
"#;
    // By each compiler's own way to mangle names, and by the newer one.
    for mangling in ["-g", "-g -C symbol-mangling-version=v0"] {
        let program = Build::source(Compiler::Rustc, "shapes", SHAPES).flags(mangling).path();
        let script = "bp <shapes::Circle as shapes::Shape>::area; bu shapes!<Vec<u8> as Shape>::area; bl; g; .echo [1]; k 1; \
                      g; .echo [2]; k 1; .echo [x]; .catch {? <Circle as Display>::area}; ?? &<Circle as Shape>::area";
        let output = cdb(&program, script);
        let first = part(&output, "1").lines().nth(1).unwrap_or_default();
        let second = part(&output, "2").lines().nth(1).unwrap_or_default();
        assert!(first.contains("shapes!shapes::{impl#0}::area"), "{mangling}: {output}");
        assert!(second.contains("shapes!shapes::{impl#1}::area"), "{mangling}: {output}");
        let rest = part(&output, "x");
        assert!(rest.contains("Couldn't resolve error at '<Circle as Display>::area'"), "{mangling}: {output}");
        assert!(rest.contains("shapes!shapes::{impl#0}::area"), "{mangling}: {output}");
    }
}
