//! What source stepping is told of a line.

mod support;

use outpost_base::ImageOffset;
use outpost_symbols::{CaseRule, Module, Statement};
use support::{build, module};

const LOOPS: &str = r#"#include <stdio.h>
volatile int sink;
static inline __attribute__((always_inline)) int inner(int x) {
  sink = x;
  return x * 3;
}
static inline __attribute__((always_inline)) int outer(int x) {
  int first = inner(x);
  return first + inner(x + 1);
}
__attribute__((noinline)) int work(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++)
    sum += outer(i);
  return sum;
}
int main(int argc, char **argv) {
  printf("%d\n", work(argc));
  return 0;
}
"#;

/// The first statement of a line, seen from the innermost frame at its address, or from the function.
fn at_line(module: &Module, line: u32, from_function: bool) -> (ImageOffset, Statement) {
    let found = module.addresses_of_line("a.c", line);
    assert_eq!(found[0].line, line, "{found:?}");
    let at = found[0].addresses[0].address;
    let frame = module.inline_frames_at(at).first().map(|frame| frame.die).filter(|_| !from_function);
    (at, module.statement_at(at, frame).expect("has a line"))
}

fn covers(ranges: &[outpost_symbols::ImageRange], at: ImageOffset) -> bool {
    ranges.iter().any(|range| range.contains(at))
}

#[test]
fn a_loop_header_is_one_statement_in_several_places() {
    for compiler in ["gcc -g -O0", "clang -g -O0", "gcc -g -O0 -gdwarf-4"] {
        let built = build(compiler, "a.c", LOOPS);
        let module = module(&built.path);
        let (at, statement) = at_line(&module, 13, false);
        assert!(covers(&statement.own, at));
        assert!(statement.own.len() >= 2, "{compiler}: start and test of the loop: {statement:?}");
        for range in &statement.own {
            let line = module.line_at(range.start).map(|at| at.line);
            assert!(line == Some(13) || !module.is_statement_start(range.start), "{compiler}: {line:?}");
            assert!(statement.frame.iter().any(|frame| frame.contains(range.start)));
        }
        assert!(module.is_statement_start(at));
        assert!(!module.is_statement_start(ImageOffset(at.0 + 1)));
    }
}

#[test]
fn a_line_that_calls_an_inlined_function_steps_over_or_into_it() {
    for compiler in ["gcc -g -O0", "clang -g -O0", "gcc -g -O2", "clang -g -O1"] {
        let built = build(compiler, "a.c", LOOPS);
        let module = module(&built.path);
        let (_, call) = at_line(&module, 14, true);
        assert_eq!(call.location.line, 14, "{compiler}");
        // The body of `outer`, and of `inner` in it, is passed over.
        let (in_inner, _) = at_line(&module, 4, false);
        assert!(covers(&call.inlined, in_inner), "{compiler}: {in_inner:?} {call:?}");
        assert!(!covers(&call.own, in_inner), "{compiler}");

        let frames = module.inline_frames_at(in_inner);
        let names: Vec<&str> = frames.iter().map(|frame| frame.name.as_str()).collect();
        assert_eq!(names, ["inner", "outer"], "{compiler}");
        assert_eq!(module.function_at(in_inner).expect("has one").name, "work");
        let sites: Vec<u32> = frames.iter().map(|frame| frame.call_site.as_ref().expect("has one").line).collect();
        assert_eq!(sites[1], 14, "{compiler}");
        assert!(sites[0] == 8 || sites[0] == 9, "{compiler}: {sites:?}");

        // Seen from each frame around it, the address is on another line.
        let lines: Vec<u32> = [Some(frames[0].die), Some(frames[1].die), None]
            .into_iter()
            .map(|frame| module.statement_at(in_inner, frame).expect("has a line").location.line)
            .collect();
        assert_eq!(lines, [4, sites[0], 14], "{compiler}");
        let from_outer = module.statement_at(in_inner, Some(frames[1].die)).expect("has a line");
        assert!(covers(&from_outer.inlined, in_inner) && !covers(&from_outer.own, in_inner), "{compiler}");
        assert_eq!(from_outer.frame.len(), frames[1].ranges.len());
    }
}

const TWICE: &str = r#"template <class T> __attribute__((noinline)) T twice(T x) {
  volatile T y = x;
  return y + y;
}
int main(int count, char **) {
  return twice(count) + twice(2.5) + twice(7L);
}
"#;

#[test]
fn every_inlined_copy_is_a_place_to_stop() {
    for compiler in ["gcc -g -O2", "clang -g -O1", "gcc -g -O0"] {
        let built = build(compiler, "a.c", LOOPS);
        let module = module(&built.path);
        let copies = module.code_locations("inner", CaseRule::Exact);
        assert_eq!(copies.len(), 2, "{compiler}: {copies:?}");
        for copy in copies {
            assert!(copy.is_inlined && copy.name == "inner");
            let frames = module.inline_frames_at(copy.entry);
            assert_eq!(frames.first().map(|frame| frame.name.as_str()), Some("inner"), "{compiler}");
        }
        let line = module.addresses_of_line("a.c", 4);
        assert_eq!(line[0].addresses.len(), 2, "{compiler}: one for each copy: {line:?}");
    }
}

#[test]
fn a_copy_that_the_compiler_takes_the_mark_of_a_statement_from_is_a_place() {
    // The second copy follows code of no line, by which LLVM unmarks it.
    const TWO: &str = "#[inline(always)]\nfn add(a: i32, b: i32) -> i32 {\n    a + b\n}\nfn main() {\n    let count = \
                       std::env::args().count() as i32;\n    std::process::exit(add(1, count) + add(3, 4));\n}\n";
    for compiler in ["rustc -g", "rustc -g -O"] {
        let built = build(compiler, "a.rs", TWO);
        let module = module(&built.path);
        let copies = module.code_locations("add", CaseRule::Exact);
        let line = module.addresses_of_line("a.rs", 3);
        assert_eq!(line[0].addresses.len(), copies.len().max(1), "{compiler}: {line:?} {copies:?}");
    }
}

#[test]
fn a_line_without_the_beginning_of_a_statement_is_not_left_for_another_function() {
    // The line table of gcc 12 has no statement on the line of `return`; gdb 13 goes on to the next function's.
    let built = build("g++ -g -O2", "a.cpp", TWICE);
    let module = module(&built.path);
    let [found] = &module.addresses_of_line("a.cpp", 3)[..] else { panic!("one file") };
    let functions: Vec<&str> = found.addresses.iter().filter_map(|at| at.function.as_deref()).collect();
    assert_eq!((found.line, functions), (3, vec!["twice<int>", "twice<double>", "twice<long int>"]));
}
