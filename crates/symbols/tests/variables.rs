//! Variables, types and values against gdb: the same program, the same stops, the same frames.

mod oracle;

use oracle::compare::{Comparison, compare_variables};
use oracle::explained::{Explained, Tally};
use oracle::{Program, Stop};
use outpost_base::{ImageOffset, Va};
use outpost_symbols::{CaseRule, FrameContext, TailCallee, Value};
use outpost_testkit::{Build, Compiler};

struct Comparer(Program);

impl Comparer {
    fn compare(&self) -> Tally {
        let mut tally = Tally::default();
        for stop in &self.0.stops {
            for at in 0..stop.frames.len() {
                self.compare_frame(stop, at, &mut tally);
            }
        }
        tally
    }

    /// Variables with static storage, found by name.
    fn compare_globals(&self) -> Tally {
        let mut tally = Tally::default();
        for stop in &self.0.stops {
            let mut frame = self.0.frame(stop, 0);
            for wanted in &stop.globals {
                let found = self.0.module.variables_named(&wanted.name, CaseRule::Exact);
                let found = found.into_iter().find_map(|die| self.0.module.variable_of(die));
                let Some(variable) = found else {
                    tally.differences.push(format!("no variable {}", wanted.name));
                    continue;
                };
                tally.variables += 1;
                let value = self.0.variables.value(&variable, &mut frame);
                let memory = frame.memory();
                let mut compared = Comparison { place: wanted.name.clone(), memory, tally: &mut tally };
                compared.variable(wanted, &value);
            }
        }
        tally
    }

    /// What we have for the variable `name` of the frame of `function`.
    fn integer(&self, stop: &Stop, function: &str, name: &str) -> Option<i128> {
        let at = stop.frames.iter().position(|frame| frame.function == function).expect("frame");
        let mut frame = self.0.frame(stop, at);
        let lookup = frame.lookup_address().expect("has a pc").to_image(stop.bias);
        let activations = self.0.variables.activations_at(lookup);
        let mut variables = activations[0].scopes.iter().flat_map(|scope| &scope.variables);
        let variable = variables.find(|variable| variable.name == name).expect("variable");
        let value = self.0.variables.value(variable, &mut frame);
        value.scalar(frame.memory()).ok().map(|scalar| scalar.as_i128())
    }

    fn compare_frame(&self, stop: &Stop, at: usize, tally: &mut Tally) {
        let facts = &stop.frames[at];
        // A library's, on the way to the program's.
        if facts.function == "?" {
            return;
        }
        let mut frame = self.0.frame(stop, at);
        let lookup = frame.lookup_address().expect("has a pc").to_image(stop.bias);
        let activations = self.0.variables.activations_at(ImageOffset(lookup.0));
        // The frame's inlined frames come before it.
        let inner = stop.frames[..at].iter().rev().take_while(|frame| frame.inlined).count();
        let Some(activation) = activations.get(inner) else {
            tally.differences.push(format!("{}: no activation", facts.function));
            return;
        };
        assert_eq!(activation.inlined, facts.inlined, "{}", facts.function);
        tally.frames += 1;
        let ours: Vec<(String, Value)> = activation
            .scopes
            .iter()
            .flat_map(|scope| &scope.variables)
            .map(|variable| (variable.name.clone(), self.0.variables.value(variable, &mut frame)))
            .collect();
        compare_variables(&facts.function, &facts.variables, &ours, frame.memory(), tally);
    }
}

#[track_caller]
fn check(file: &str, compiler: Compiler, flags: &str, least_parts: usize) {
    let program = Program::new(Build::fixture(file).with(compiler).flags(flags));
    assert_agrees(Comparer(program), flags, least_parts);
}

/// As [`check`], without the module's index.
#[track_caller]
fn check_without_index(file: &str, compiler: Compiler, flags: &str, least_parts: usize) {
    let build = Build::fixture(file).with(compiler).flags(flags);
    let program = Program::new(build.clone()).without_index(&build);
    assert_agrees(Comparer(program), flags, least_parts);
}

#[track_caller]
fn assert_agrees(comparer: Comparer, flags: &str, least_parts: usize) {
    let tally = comparer.compare();
    let shown: Vec<_> = tally.differences.iter().take(60).collect();
    assert!(tally.differences.is_empty(), "{flags}: {} differences: {shown:#?}", tally.differences.len());
    for why in [Explained::EntryOfInlined, Explained::OriginOfOrigin, Explained::Destroyed] {
        assert_eq!(tally.count(why), 0, "no difference of this kind is made by these programs: {tally:?}");
    }
    assert!(tally.parts >= least_parts, "{flags}: only {}", tally.summary());
    let untold = tally.count(Explained::NotTold) + tally.count(Explained::ZeroFill);
    assert!(untold * 20 < tally.parts, "{flags}: {tally:?}");
}

#[test]
fn c_by_gcc() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        check("values.c", Compiler::Gcc, &format!("-g -O0 {version} -lm"), 900);
        check("values.c", Compiler::Gcc, &format!("-g -O2 {version} -lm"), 900);
    }
    check("values.c", Compiler::Gcc, "-g -O1 -no-pie -gdwarf-3 -lm", 900);
    check("values.c", Compiler::Gcc, "-g -O3 -gdwarf-4 -fdebug-types-section -lm", 900);
}

#[test]
fn c_by_clang() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        check("values.c", Compiler::Clang, &format!("-g -O0 {version} -lm"), 900);
        check("values.c", Compiler::Clang, &format!("-g -O2 {version} -lm"), 900);
    }
}

#[test]
fn cpp_by_gcc() {
    check("values.cpp", Compiler::Gxx, "-g -O0 -std=c++17 -gdwarf-5", 500);
    check("values.cpp", Compiler::Gxx, "-g -O2 -std=c++17 -gdwarf-4", 200);
    check("values.cpp", Compiler::Gxx, "-g -O2 -std=c++17 -gdwarf-5 -fdebug-types-section", 200);
}

#[test]
fn cpp_by_clang() {
    check("values.cpp", Compiler::Clangxx, "-g -O0 -std=c++17 -gdwarf-5", 500);
    check("values.cpp", Compiler::Clangxx, "-g -O2 -std=c++17 -gdwarf-4", 200);
}

#[test]
fn rust() {
    check("values.rs", Compiler::Rustc, "-g -Copt-level=0", 200);
    check("values.rs", Compiler::Rustc, "-g -Copt-level=2 -Cdwarf-version=5", 100);
}

#[test]
fn without_an_index() {
    check_without_index("values.c", Compiler::Gcc, "-g -O2 -gdwarf-5 -lm", 900);
    check_without_index("values.cpp", Compiler::Gxx, "-g -O2 -std=c++17 -gdwarf-5 -fdebug-types-section", 200);
    check_without_index("values.rs", Compiler::Rustc, "-g -Copt-level=0", 200);
}

/// Members that a location does not tell of are unknown each by itself, bit fields too.
#[test]
fn pieces_tell_some_members() {
    const PROGRAM: &str = r#"
        struct bits { unsigned a : 3, b : 7, c : 6, d : 16; };
        struct mixed { int a; short b; char c[3]; long d; };
        int sink;
        __attribute__((noinline)) void stop(int x) { __asm__ volatile("" ::"r"(x) : "memory"); sink += x; }
        __attribute__((noinline)) int some(int x, int y, long z) {
            struct bits bits;
            struct mixed mixed;
            bits.a = x;
            mixed.a = x;
            mixed.d = z;
            stop(bits.a);
            bits.b = y;
            mixed.c[1] = bits.b;
            stop(bits.b + mixed.c[1]);
            bits.c = mixed.a;
            stop(bits.c);
            return bits.a + bits.b + bits.c + mixed.a + mixed.d;
        }
        int main(int count, char **words) { return some(count, count + 4, count + 9); }"#;
    let gone = |compiler, least: usize| {
        let comparer = Comparer(Program::new(Build::source(compiler, "pieces", PROGRAM).flags("-g -O1")));
        let tally = comparer.compare();
        assert!(tally.gone >= least && tally.parts - tally.gone >= least, "{tally:?}");
        assert_agrees(comparer, "pieces", 30);
    };
    gone(Compiler::Gcc, 8);
    gone(Compiler::Clang, 8);
}

/// Who was entered by a tail call has its parameters from whoever made it, who is gone, or from the caller before.
#[test]
fn values_at_entry_through_tail_calls() {
    const PROGRAM: &str = r#"
        int sink;
        __attribute__((noinline)) void stop(void) {
            // Registers that nothing is in any more are none that callers may go on using.
            __asm__ volatile("" ::: "memory", "rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11");
            ++sink;
        }
        __attribute__((noinline, noclone)) int last(int *at, int number, long sum) { stop(); return ++sink; }
        __attribute__((noinline, noclone)) int middle(int *at, int number) { ++sink; return last(at, 7, number * 3l); }
        __attribute__((noinline, noclone)) int first(int *at, int *other) { sink += *at; return middle(other, *at); }
        __attribute__((noinline, noclone)) int either(int *at, int which) {
            return which > 1 ? last(at, 8, 1) : middle(at, 9);
        }
        int main(int count, char **words) {
            int numbers[2] = {count, count + 1};
            int sum = middle(&numbers[1], count + 3);
            sum += first(numbers, &numbers[1]);
            sum += either(numbers, count);
            return sum == 0;
        }"#;
    for flags in ["-g -O2", "-g -O2 -gdwarf-4"] {
        let build = Build::source(Compiler::Gcc, "tail", PROGRAM).flags(flags);
        let comparer = Comparer(Program::new(build.clone()));
        // What was passed to `last`, at each of the three stops: by `middle`, twice, and by one of two, who is not known.
        let told: Vec<Option<i128>> =
            comparer.0.stops.iter().map(|stop| comparer.integer(stop, "last", "number")).collect();
        assert_eq!(told, [Some(7), Some(7), None], "{flags}");
        let told = comparer.integer(&comparer.0.stops[1], "last", "at");
        assert!(told.is_some(), "{flags}: from `main` through two tail calls");
        assert_agrees(Comparer(Program::new(build)), flags, 15);
    }
}

/// What the caller passed says nothing once tail calls have led back into a function.
#[test]
fn values_at_entry_of_functions_that_enter_themselves() {
    const PROGRAM: &str = r#"
        #define APART __attribute__((noinline))
        int sink;
        APART void stop(void) {
            __asm__ volatile("" ::: "memory", "rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11");
            ++sink;
        }
        APART int odd(int number, int more);
        APART int even(int number, int more) { sink += 7; return more ? odd(number * 31 % 17, more - 1) : sink; }
        APART int odd(int number, int more) {
            int next = number * 31 % 19;
            stop();
            sink += next;
            return more ? even(next, more - 1) : sink;
        }
        APART int once(int number, int more) { stop(); sink += more; return even(more, 0); }
        int main(int count, char **words) { return odd(count * 5, 3) == once(count * 7, 1); }"#;
    let build = Build::source(Compiler::Gcc, "round", PROGRAM).flags("-g -O2");
    let comparer = Comparer(Program::new(build.clone()));
    let told = comparer.0.stops.iter().map(|stop| {
        let function = &stop.frames[1].function;
        (function.as_str(), comparer.integer(stop, function, "number"))
    });
    assert_eq!(told.collect::<Vec<_>>(), [("odd", None), ("odd", None), ("once", Some(7))]);
    assert_agrees(Comparer(Program::new(build)), "round", 5);
}

/// Which functions ended by tail calls is told where there is one way only, and where all ways begin or end alike.
#[test]
fn functions_that_ended_by_tail_calls() {
    const PROGRAM: &str = r#"
        #define APART __attribute__((noinline))
        int sink;
        APART void stop(void) { __asm__ volatile("" ::: "memory"); ++sink; }
        APART int last(int *at, int number) { sink += number; stop(); return ++sink; }
        APART int middle(int *at, int number) { ++sink; return last(at, number * 3); }
        static inline int inlined(int *at, int number) { sink += number; return middle(at, number + 1); }
        APART int first(int *at, int *other) { sink += *at; return inlined(other, *at); }
        APART int left(int *at) { sink += 1; return middle(at, 2); }
        APART int right(int *at) { sink += 2; return middle(at, 3); }
        APART int either(int *at, int which) { return which & 1 ? left(at) : right(at); }
        APART int before(int *at, int which) { sink += 5; return either(at, which); }
        APART int odd(int number);
        APART int even(int number) { ++sink; return number ? odd(number - 1) : last(&sink, number); }
        APART int odd(int number) { sink += 2; return number ? even(number - 1) : last(&sink, 7); }
        APART int round(int number) { sink += 3; return odd(number + sink % 2); }
        APART int through(int (*next)(int *, int), int *at) { ++sink; return next(at, 77); }
        APART int anywhere(int (*next)(int *, int), int *at) { ++sink; return sink % 2 ? through(next, at) : middle(at, 1); }
        int main(int count, char **words) {
            int numbers[2] = {count, 2};
            int sum = first(numbers, &numbers[1]);
            sum += before(numbers, count);
            sum += round(count + 3);
            sum += anywhere(last, numbers);
            sum += last(numbers, 1);
            return sum == 0;
        }"#;
    let expected: [&[&str]; 5] = [&["middle", "first"], &["middle", "before"], &["round"], &[], &[]];
    for (compiler, flags) in
        [(Compiler::Gcc, "-g -O2"), (Compiler::Gcc, "-g -O2 -gdwarf-4"), (Compiler::Clang, "-g -O2")]
    {
        let program = Program::new(Build::source(compiler, "ends", PROGRAM).flags(flags));
        let mut found = Vec::new();
        for stop in &program.stops {
            let place = |name: &str| stop.frames.iter().position(|frame| frame.function == name).expect("a frame");
            let (last, main) = (place("last"), place("main"));
            let at = program.frame(stop, last).lookup_address().expect("has a pc").to_image(stop.bias);
            let mut callee =
                TailCallee { variables: Some(&program.variables), at, is_named: &mut |name| panic!("{name} has code") };
            let returns = Va(stop.frames[main].pc).to_image(stop.bias);
            let calls = program.variables.tail_calls(returns, &mut callee);
            // gdb does not read where a tail call of DWARF 5 is if it is not told where that would return to.
            if compiler == Compiler::Gcc {
                let addresses: Vec<u64> = calls.iter().map(|call| call.address.to_va(stop.bias).0).collect();
                assert_eq!(addresses, stop.frames[last].tail_calls, "{flags}");
            }
            let names = calls.iter().map(|call| {
                let around = program.variables.activations_at(call.lookup_address);
                around.last().and_then(|function| function.name.clone()).expect("a function")
            });
            found.push(names.collect::<Vec<_>>());
        }
        assert_eq!(found, expected, "{compiler:?} {flags}");
    }
}

/// What is in a block without code is not in scope: neither here nor in the block around.
#[test]
fn blocks_without_code() {
    // An older unit's ranges are the easiest to write by hand: pairs of offsets, the last 0.
    const PROGRAM: &str = r#"
        int sink;
        __attribute__((noinline)) void stop(void) { __asm__ volatile("" ::: "memory"); ++sink; }
        __attribute__((noinline)) void shown(void) { stop(); ++sink; }
        __attribute__((noinline)) void end_of_shown(void) { ++sink; }
        int main(void) { shown(); return 0; }
        __asm__(
            ".section .debug_abbrev,\"\",@progbits\n"
            "1: .uleb128 1, 0x11, 1, 0x11, 0x01, 0x12, 0x07, 0x13, 0x0b, 0x3, 0x8, 0, 0\n" // unit: low and high pc
            " .uleb128 2, 0x2e, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0, 0\n"              // function
            " .uleb128 3, 0x34, 0, 0x03, 0x08, 0x49, 0x13, 0x1c, 0x0b, 0, 0\n"              // variable: a constant
            " .uleb128 4, 0x0b, 1, 0x11, 0x01, 0x12, 0x07, 0, 0\n"                         // block: low and high pc
            " .uleb128 5, 0x0b, 1, 0x55, 0x17, 0, 0\n"                                     // block: ranges
            " .uleb128 6, 0x0b, 1, 0, 0\n"                                                 // block: no addresses
            " .uleb128 7, 0x24, 0, 0x03, 0x08, 0x0b, 0x0b, 0x3e, 0x0b, 0, 0, 0\n"           // base type
            ".section .debug_ranges,\"\",@progbits\n"
            "2: .quad 5, 5, 7, 7, 0, 0\n"
            ".section .debug_info,\"\",@progbits\n"
            "3: .long 9f - . - 4\n .value 4\n .long 1b\n .byte 8\n"
            " .uleb128 1\n .quad shown\n .quad end_of_shown - shown\n .byte 0xc\n .asciz \"hand.c\"\n"
            "4: .uleb128 7\n .asciz \"int\"\n .byte 4, 5\n"
            " .uleb128 2\n .asciz \"shown\"\n .quad shown\n .quad end_of_shown - shown\n"
            " .uleb128 3\n .asciz \"around\"\n .long 4b - 3b\n .byte 1\n"
            " .uleb128 4\n .quad shown\n .quad 0\n"
            " .uleb128 3\n .asciz \"never\"\n .long 4b - 3b\n .byte 2\n .byte 0\n"
            " .uleb128 5\n .long 2b\n"
            " .uleb128 3\n .asciz \"nowhere\"\n .long 4b - 3b\n .byte 3\n .byte 0\n"
            " .uleb128 6\n"
            " .uleb128 3\n .asciz \"transparent\"\n .long 4b - 3b\n .byte 4\n .byte 0\n"
            " .byte 0, 0\n"
            "9:\n .text\n");"#;
    let flags = "-g0 -O1 -fno-toplevel-reorder -fno-reorder-functions";
    let comparer = Comparer(Program::new(Build::source(Compiler::Gcc, "blocks", PROGRAM).flags(flags)));
    let tally = comparer.compare();
    assert_eq!((tally.frames, tally.variables), (1, 2), "around and transparent: {tally:?}");
    assert_agrees(comparer, "blocks", 2);
}

/// A large program with optimised code that is not of our making.
#[test]
fn python() {
    let Ok(path) = std::path::Path::new("/usr/bin/python3-dbg").canonicalize() else {
        outpost_testkit::skip("python3-dbg is not installed");
        return;
    };
    let script = "import re; print(sorted([3, 1, 2], key=lambda x: -x), re.sub('a+', 'b', 'caat'), {1: [2.5, 'x']})";
    let settings = [
        ("ORACLE_ARGUMENTS", format!("-S -E -c \"{script}\"")),
        (
            "ORACLE_BREAKPOINTS",
            "list_sort_impl sre_compile_impl _sre_compile_impl pattern_subx float_repr unicode_repr".to_owned(),
        ),
        ("ORACLE_STOPS", "8".to_owned()),
        ("ORACLE_FRAMES", "100".to_owned()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_agrees(Comparer(Program::of_file(path, &settings)), "python3-dbg", 2000);
}

#[test]
fn globals() {
    let check = |build: Build, names: &str| {
        let comparer = Comparer(Program::of_file(build.path(), &[("ORACLE_GLOBALS", names), ("ORACLE_STOPS", "2")]));
        let tally = comparer.compare_globals();
        assert!(tally.differences.is_empty(), "{:#?}", tally.differences);
        assert_eq!(tally.variables, 2 * names.split(' ').count());
    };
    let c = "file_static per_thread global_text global_list global_sink";
    check(Build::fixture("values.c").flags("-g -O0 -lm"), c);
    check(Build::fixture("values.c").with(Compiler::Clang).flags("-g -O2 -gdwarf-4 -no-pie -lm"), c);
    check(Build::fixture("values.cpp").flags("-g -O2 -std=c++17"), "global_sink shapes::Point::made");
}

/// What two programs have in common is moved to a file of its own; entries refer to it.
#[test]
fn shared_dwarf() {
    let directory = tempfile::tempdir().expect("temporary directory");
    // Types are shared only if they are declared in the same file, by its path.
    let programs: Vec<_> = ["-O1", "-O2"].map(|level| (level, directory.path().join(level))).into();
    for (level, program) in &programs {
        let mut gcc = std::process::Command::new("gcc");
        gcc.args(["-g", "-gdwarf-5", level]).arg(outpost_testkit::fixture("values.c")).arg("-o").arg(program);
        assert!(gcc.arg("-lm").status().expect("gcc runs").success());
    }
    let mut dwz = std::process::Command::new("dwz");
    dwz.arg("-m").arg(directory.path().join("shared")).args(programs.iter().map(|(_, program)| program));
    if !dwz.status().is_ok_and(|status| status.success()) {
        outpost_testkit::skip("dwz is not installed");
        return;
    }
    for (_, program) in programs {
        let program = Program::of_file(program, &[]);
        let in_shared = |die: &outpost_symbols::DieRef| die.section == outpost_symbols::DieSection::Alt;
        assert!(program.module.types_named("bits", CaseRule::Exact).iter().any(in_shared));
        assert_agrees(Comparer(program), "dwz", 900);
    }
}

/// What units of one program have in common is moved to units that others import.
#[test]
fn imported_units() {
    for (line, file, least_parts) in [
        ("gcc -g -O2 -gdwarf-4", "values.c", 900),
        ("g++ -g -O0 -std=c++17 -gdwarf-5", "values.cpp", 500),
        // Of DWARF 5 dwz takes no type units.
        ("g++ -g -O2 -std=c++17 -gdwarf-4 -fdebug-types-section", "values.cpp", 200),
    ] {
        let directory = tempfile::tempdir().expect("temporary directory");
        let program = directory.path().join("program");
        let (compiler, flags) = line.split_once(' ').expect("a compiler with flags");
        let mut command = std::process::Command::new(compiler);
        command.args(flags.split(' ')).arg(outpost_testkit::fixture(file)).arg("-o").arg(&program);
        assert!(command.arg("-lm").status().expect("the compiler runs").success(), "{line}");
        let Ok(status) = std::process::Command::new("dwz").arg(&program).status() else {
            return outpost_testkit::skip("dwz is not installed");
        };
        assert!(status.success(), "{line}");
        assert_agrees(Comparer(Program::of_file(program, &[])), line, least_parts);
    }
}

/// Types, variables and their locations are in other files than the program.
#[test]
fn split_dwarf() {
    let lines = [
        ("gcc -g -O2 -gdwarf-4", "values.c", 900),
        ("gcc -g -O2 -gdwarf-5", "values.c", 900),
        // gdb 13 does not find location lists that clang puts into .dwo files by DWARF 5.
        ("clang -g -O2 -gdwarf-4", "values.c", 900),
        // Not -O2: gcc 12 loses the target of an implicit pointer on the way into the .dwo file.
        ("g++ -g -O0 -std=c++17 -gdwarf-5", "values.cpp", 500),
    ];
    for (line, file, least_parts) in lines {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (compiler, flags) = line.split_once(' ').expect("a compiler with flags");
        let mut command = std::process::Command::new(compiler);
        command.args(flags.split(' ')).arg("-gsplit-dwarf").arg(outpost_testkit::fixture(file));
        command.args(["-o", "program", "-lm"]).current_dir(directory.path());
        assert!(command.status().expect("the compiler runs").success(), "{line}");
        assert_agrees(Comparer(Program::of_file(directory.path().join("program"), &[])), line, least_parts);
    }
}

/// Code of the standard libraries, inlined many deep: wherever the programs allocate.
#[test]
fn library_code() {
    let check = |build: Build, flags: &str| {
        let settings = [("ORACLE_BREAKPOINTS", "malloc"), ("ORACLE_STOPS", "20"), ("ORACLE_FRAMES", "100")];
        assert_agrees(Comparer(Program::of_file(build.flags(flags).path(), &settings)), flags, 1300);
    };
    check(Build::fixture("values.rs"), "-g -Copt-level=1");
    check(Build::fixture("values.rs"), "-g -Copt-level=3");
    check(Build::fixture("values.cpp").with(Compiler::Clangxx), "-g -O2 -std=c++17");
    // Not -O1: there gdb 13 evaluates entry values of inlined functions in the wrong frame.
    check(Build::fixture("values.cpp"), "-g -O2 -std=c++17");
}
