//! Variables, types and values against gdb: the same program, the same stops, the same frames.

mod oracle;

use std::collections::BTreeSet;

use oracle::{Fact, OracleFrame, Part, Program, Stop, VariableFacts};
use outpost_base::ImageOffset;
use outpost_symbols::{CaseRule, FrameContext, Language, Type, TypeKind, Unavailable, Value, Variable};
use outpost_testkit::{Build, Compiler};

/// How much was compared; a test that compares nothing proves nothing.
#[derive(Default, Debug)]
struct Tally {
    frames: usize,
    variables: usize,
    parts: usize,
    gone: usize,
    /// Parts that gdb could not tell.
    untold: usize,
    differences: Vec<String>,
}

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
                let mut compared = Comparison { place: wanted.name.clone(), frame: &mut frame, tally: &mut tally };
                compared.variable(wanted, &value);
            }
        }
        tally
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
        let ours: Vec<(usize, &Variable)> = activation
            .scopes
            .iter()
            .enumerate()
            .flat_map(|(depth, scope)| scope.variables.iter().map(move |variable| (depth, variable)))
            .collect();
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
        let our_names = names(ours.iter().map(|(_, variable)| variable.name.as_str()).collect());
        let gdb_names = names(facts.variables.iter().map(|variable| variable.name.as_str()).collect());
        // gdb leaves out parameters without a name.
        let more: Vec<_> = our_names.difference(&gdb_names).filter(|name| !name.is_empty()).collect();
        let less: Vec<_> = gdb_names.difference(&our_names).collect();
        if !more.is_empty() || !less.is_empty() {
            tally.differences.push(format!("{}: more {more:?}, less {less:?}", facts.function));
        }
        let mut taken = vec![false; ours.len()];
        for wanted in &facts.variables {
            // Several of one name: gdb and we list them innermost first.
            let found = (0..ours.len()).find(|at| !taken[*at] && ours[*at].1.name == wanted.name);
            let Some(found) = found else { continue };
            taken[found] = true;
            tally.variables += 1;
            let variable = ours[found].1;
            let value = self.0.variables.value(variable, &mut frame);
            let mut compared = Comparison {
                place: format!("{} {}", facts.function, wanted.name),
                frame: &mut frame,
                tally: &mut *tally,
            };
            compared.variable(wanted, &value);
        }
    }
}

struct Comparison<'a, 'b> {
    place: String,
    frame: &'a mut OracleFrame<'b>,
    tally: &'a mut Tally,
}

impl Comparison<'_, '_> {
    fn variable(&mut self, wanted: &VariableFacts, value: &Value) {
        if let Some((spelling, size, declared)) = &wanted.value_type {
            self.spelling("type", spelling, value.value_type());
            // gdb 13 gives a Rust struct that ends with an enum the size of its active variant, and nullptr_t none.
            let ours = value.value_type().size();
            let null = matches!(value.value_type().resolved().kind(), TypeKind::Unspecified);
            if ours != Some(*declared) && !null {
                self.same("size", &Some(*size), &ours);
            }
        }
        for part in &wanted.parts {
            let part_value = match follow(value, &part.path, self.frame) {
                Ok(value) => value,
                Err(_) if matches!(part.fact, Fact::Gone | Fact::Error) => continue,
                Err(reason) => {
                    self.differs(&format!("path {}", part.path), reason.to_string());
                    continue;
                }
            };
            self.part(part, &part_value);
            self.layout(value, part);
        }
    }

    /// Where a field lies in its record.
    fn layout(&mut self, value: &Value, part: &Part) {
        let Fact::Field { name, bit_offset, bit_size, .. } = &part.fact else { return };
        let (parent, number) = part.path.rsplit_once("/#").expect("fields have parents");
        let Ok(parent) = follow(value, parent, self.frame) else { return };
        // gdb moves the fields of a Rust enum's variants; those of plain records are what counts.
        if parent.value_type().discriminant().is_some() {
            return;
        }
        let fields = parent.value_type().fields();
        let Some(field) = fields.get(number.parse::<usize>().expect("number")) else { return };
        let ours = field.bits.map_or((8 * field.offset, 0), |bits| (bits.offset, bits.size));
        self.same(&format!("layout of {} {name}", part.path), &(*bit_offset, *bit_size), &ours);
        self.same(&format!("name of {}", part.path), &name.replace("None", ""), &field.name.replace("None", ""));
    }

    fn part(&mut self, part: &Part, value: &Value) {
        self.tally.parts += 1;
        let what = format!("value {}", part.path);
        match &part.fact {
            Fact::Field { name, spelling, .. } => {
                self.spelling(&format!("type of {} {name}", part.path), spelling, value.value_type());
            }
            Fact::Count(count) => {
                let ours = value.value_type().element().and_then(|(_, count)| count);
                self.same(&format!("count {}", part.path), &Some(*count), &ours);
            }
            // The unit type has no bytes; gdb shows it as 0.
            Fact::Integer(0) if value.value_type().size() == Some(0) => {}
            Fact::Integer(expected) => match value.scalar(self.frame.memory()) {
                Ok(scalar) => self.same(&what, expected, &scalar.as_i128()),
                // gdb shows zeros where the pieces of a location end before the value does.
                Err(Unavailable::OptimizedOut) if *expected == 0 => self.tally.untold += 1,
                Err(reason) => self.differs(&what, reason.to_string()),
            },
            Fact::Float(expected) => match value.scalar(self.frame.memory()) {
                // Python tells no NaN from another.
                Ok(scalar) if expected.is_nan() && scalar.as_f64().is_nan() => {}
                Ok(scalar) => self.same(&what, &expected.to_bits(), &scalar.as_f64().to_bits()),
                Err(reason) => self.differs(&what, reason.to_string()),
            },
            Fact::Gone => {
                self.tally.gone += 1;
                if let Ok(scalar) = value.scalar(self.frame.memory()) {
                    self.differs(&what, format!("gdb has none, we have {scalar:?}"));
                }
            }
            Fact::Synthetic => {
                // gdb also calls a pointer so that no piece of the location has.
                if !value.is_implicit_pointer() && value.missing().is_none() {
                    self.differs(&what, "is no implicit pointer".to_owned());
                }
            }
            Fact::Error => self.tally.untold += 1,
        }
    }

    /// Types are spelled alike, but for what gdb is known to do otherwise.
    fn spelling(&mut self, what: &str, gdb: &str, ours: &Type) {
        let spelled = ours.to_string();
        let same = match ours.language() {
            // gdb does not tell Rust's pointers apart: all are `*mut T`.
            Language::Rust => spelled == gdb || gdb.starts_with("*mut ") && ours.size() == Some(8),
            // It spells template arguments anew (`int const` for `const int`), and `this` in types of methods.
            _ => {
                without_arguments(&spelled) == usual(&without_arguments(gdb))
                    // It leaves out the function that a type is local to.
                    || spelled.strip_suffix(gdb).is_some_and(|scope| scope.ends_with("::"))
                    || spelled.contains("::*)(") && gdb.contains("::*)(")
                    || spelled == "int (**)(...)" && gdb == "int (**)(void)"
            }
        };
        if !same {
            self.differs(what, format!("gdb {gdb:?}, we {spelled:?}"));
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, gdb: &T, ours: &T) {
        if gdb != ours {
            self.differs(what, format!("gdb {gdb:?}, we {ours:?}"));
        }
    }

    fn differs(&mut self, what: &str, how: String) {
        self.tally.differences.push(format!("{}: {what}: {how}", self.place));
    }
}

/// gdb 13 has two spellings for one type, and no space before the brackets of constant pointers.
fn usual(spelled: &str) -> String {
    let spelled = spelled.replace("unsigned int __int128", "unsigned __int128").replace("const[", "const [");
    spelled.replace("__int128 unsigned", "unsigned __int128")
}

/// A C++ type without template arguments.
fn without_arguments(spelled: &str) -> String {
    let mut depth = 0;
    let mut kept = String::new();
    for letter in spelled.chars() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    kept
}

/// The part of `value` at a path of bases (`^n`), members (`#n`), elements (`[n]`) and what references refer to (`*`).
fn follow(value: &Value, path: &str, frame: &mut OracleFrame<'_>) -> Result<Value, Unavailable> {
    let mut value = value.clone();
    for step in path.split('/').skip(1) {
        let (kind, rest) = step.split_at(1);
        let number = || rest.trim_end_matches(']').parse::<usize>().expect("number");
        value = match kind {
            "^" => value.base(number(), frame.memory())?,
            "[" => value.index(number() as i64, frame.memory())?,
            "*" => value.deref(frame.memory())?,
            _ => member(&value, number(), frame)?,
        };
    }
    Ok(value)
}

/// Member `number`; gdb shows a Rust enum as its discriminant and its active variant.
fn member(value: &Value, number: usize, frame: &mut OracleFrame<'_>) -> Result<Value, Unavailable> {
    let value_type: Type = value.value_type().resolved();
    let is_enum = matches!(value_type.kind(), TypeKind::Record(record) if record.variants.is_some());
    match (is_enum, value_type.discriminant(), number) {
        (true, Some(discriminant), 0) => Ok(value.field(&discriminant)),
        (true, _, _) => Ok(value.variant(frame.memory())?.1),
        (false, _, _) => {
            let fields = value_type.fields();
            fields.get(number).map(|field| value.field(field)).ok_or(Unavailable::WrongType)
        }
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
    assert!(tally.parts >= least_parts, "{flags}: only {tally:?}");
    assert!(tally.untold * 20 < tally.parts, "{flags}: {tally:?}");
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
