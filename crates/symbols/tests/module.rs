//! Modules as compilers make them, compared with what gdb says of the same files.

mod support;

use std::collections::BTreeSet;

use outpost_base::ImageOffset;
use outpost_symbols::{CaseRule, Module, SymbolKind, SymbolStatus, Wildcard};
use support::{Built, CPP, build, gdb, gdb_breakpoints, module, module_cached, run_in};

const COMPILERS: &[&str] = &[
    "g++ -g -O0 -gdwarf-5",
    "g++ -g -O0 -gdwarf-4",
    "g++ -g -O2 -gdwarf-5",
    "g++ -g -O3 -gdwarf-4 -fdebug-types-section",
    "g++ -g -O1 -static",
    "clang++ -g -O0 -gdwarf-5",
    "clang++ -g -O2 -gdwarf-5",
    "clang++ -g -O0 -gdwarf-4",
    "clang++ -g -O3 -gdwarf-4 -fdebug-types-section",
];

fn each_compiler(mut test: impl FnMut(&str, &Built, &Module)) {
    for compiler in COMPILERS {
        let built = build(compiler, "a.cpp", CPP);
        let module = module(&built.path);
        test(compiler, &built, &module);
        assert_eq!(module.problems(), [], "{compiler}");
    }
}

#[test]
fn function_breakpoints_are_where_gdb_puts_them() {
    each_compiler(|compiler, built, module| {
        let names = ["main", "shapes::(anonymous namespace)::hidden", "shapes::Box<int>::area", "overloaded"];
        let theirs = gdb_breakpoints(&built.path, &names.map(str::to_owned));
        for (name, theirs) in names.iter().zip(theirs) {
            let locations = module.code_locations(name, CaseRule::Exact);
            let own = locations.iter().filter(|location| !location.is_inlined);
            let ours: BTreeSet<u64> = own.map(|location| location.body.0).collect();
            // Inlined copies are compared elsewhere: gdb 13 does not look at their entry points.
            let inlined = locations.iter().any(|location| location.is_inlined);
            let same = if inlined { ours.is_subset(&theirs) } else { ours == theirs };
            assert!(same, "{compiler}: {name}: {ours:x?} {theirs:x?}");
        }
    });
}

#[test]
fn names_find_what_they_name() {
    each_compiler(|compiler, _, module| {
        assert_eq!(module.status(), SymbolStatus::Dwarf);
        let find = |name: &str| module.symbols_named(name, CaseRule::Exact);
        let one = |name: &str| {
            let found = find(name);
            assert_eq!(found.len(), 1, "{compiler}: {name}: {found:?}");
            found[0].clone()
        };
        assert_eq!(one("shapes::Shape::count").kind, SymbolKind::Data);
        assert_eq!(one("shapes::Shape::count").size, 4);
        assert_eq!(one("count").name, "shapes::Shape::count");
        assert_eq!(one("_ZN6shapes5Shape5countE").address, one("count").address);
        assert_eq!(one("per_thread").kind, SymbolKind::ThreadLocal);
        assert_eq!(one("main::calls").kind, SymbolKind::Data, "a static of a function");
        assert_eq!(one("hidden").name, "shapes::(anonymous namespace)::hidden");
        assert_eq!(one("shapes::hidden").address, one("hidden").address);
        assert_eq!(find("overloaded").len(), 2, "{compiler}: overloads share a name");
        assert_eq!(find("MAIN"), []);
        assert_eq!(module.symbols_named("MAIN", CaseRule::Ignore).len(), 1);

        for name in ["Point", "Anonymous", "Color", "Mode", "shapes::Shape", "shapes::Box<int>", "Box", "int"] {
            let types = module.types_named(name, CaseRule::Exact);
            assert_eq!(types.len(), 1, "{compiler}: type {name}: {types:?}");
            let full = module.qualified_name(types[0]).expect("has a name");
            assert!(full.ends_with(name) || full == "shapes::Box<int>", "{compiler}: {name} is {full}");
        }
        assert_eq!(module.types_named("nothing", CaseRule::Exact), []);
        assert_eq!(module.enumerators_named("RED", CaseRule::Exact).len(), 1, "{compiler}");
        assert_eq!(module.enumerators_named("Mode::Slow", CaseRule::Exact).len(), 1, "{compiler}");
        for pattern in ["SHAPES::*cou?t", "shapes::shape::count", "*ape::coun[s-u]", "_ZN6shapes5Shape5count#E"] {
            let matching = module.symbols_matching(&Wildcard::new(pattern));
            assert_eq!(matching.len(), 1, "{compiler}: {pattern}: {matching:?}");
        }
        let linkage = module.symbols_matching(&Wildcard::new("_Z*hidden*"));
        assert_eq!(linkage.iter().map(|symbol| symbol.address).collect::<Vec<_>>(), [one("hidden").address]);
    });
}

#[test]
fn addresses_find_their_symbols() {
    each_compiler(|compiler, built, module| {
        let names = module.symbols_matching(&Wildcard::new("*"));
        let questions: Vec<String> = names
            .iter()
            .filter(|symbol| matches!(symbol.kind, SymbolKind::Function | SymbolKind::Data) && symbol.size > 1)
            .filter(|symbol| symbol.die.is_some())
            .map(|symbol| format!("info symbol {:#x}", symbol.address.0 + 1))
            .collect();
        let answers = gdb(&built.path, &questions);
        let answers: Vec<&str> = answers.lines().filter(|line| line.contains(" + 1 in section")).collect();
        assert_eq!(answers.len(), questions.len(), "{compiler}");
        for (question, answer) in questions.iter().zip(answers) {
            let address = u64::from_str_radix(&question["info symbol 0x".len()..], 16).expect("an address");
            let ours = module.symbol_at(ImageOffset(address)).expect("a symbol");
            assert_eq!(ours.displacement, 1, "{compiler}: {ours:?}");
            // gdb shows parameters, and "const", which a name to type has not.
            let theirs = answer.split_once(" + 1").expect("an answer").0;
            let ours = ours.symbol.name.replace("::(anonymous namespace)", "");
            let theirs = theirs.replace("::(anonymous namespace)", "");
            // clang names the class of a lambda in linkage names only.
            let lambda = theirs.contains("lambda") || theirs.contains("$_");
            assert!(theirs.starts_with(&ours) || lambda, "{compiler}: {ours}: {theirs}");
        }
    });
}

#[test]
fn lines_have_the_addresses_that_gdb_gives() {
    for compiler in ["g++ -g -O0", "clang++ -g -O0", "g++ -g -O0 -gdwarf-3"] {
        let built = build(compiler, "a.cpp", CPP);
        let module = module(&built.path);
        let lines = 1..CPP.lines().count() as u32;
        let places: Vec<String> = lines.clone().map(|line| format!("a.cpp:{line}")).collect();
        for (line, theirs) in lines.zip(gdb_breakpoints(&built.path, &places)) {
            let found = module.addresses_of_line("a.cpp", line);
            let ours: BTreeSet<u64> =
                found.iter().flat_map(|found| &found.addresses).map(|found| found.address.0).collect();
            assert_eq!(ours, theirs, "{compiler}: line {line}: {found:?}");
        }
        assert_eq!(module.addresses_of_line("a.cpp", 10_000), []);
        assert_eq!(module.addresses_of_line("b.cpp", 1), []);
        assert_eq!(module.source_files("a.cpp").len(), 1);
        let path = built.dir.path().join("a.cpp").canonicalize().expect("exists").display().to_string();
        assert_eq!(module.addresses_of_line(&path, 30), module.addresses_of_line("a.cpp", 30));
    }
}

#[test]
fn a_cached_index_gives_the_same_answers() {
    let cache = tempfile::tempdir().expect("temporary directory");
    let built = build("g++ -g -O2", "a.cpp", CPP);
    let first = module_cached(&built.path, cache.path());
    let names = first.symbols_matching(&Wildcard::new("*"));
    assert!(names.len() > 20);
    let index =
        std::fs::read_dir(cache.path().join("index")).expect("is made").next().expect("has one").expect("reads");
    let written = index.metadata().expect("is there").modified().expect("is known");

    let second = module_cached(&built.path, cache.path());
    assert_eq!(second.symbols_matching(&Wildcard::new("*")), names);
    assert_eq!(second.addresses_of_line("a.cpp", 34), first.addresses_of_line("a.cpp", 34));
    assert_eq!(index.metadata().expect("is there").modified().expect("is known"), written, "it was not built again");
    assert_eq!(second.problems(), []);

    // A damaged one is reported, and replaced by a sound one.
    let bytes = std::fs::read(index.path()).expect("reads");
    std::fs::write(index.path(), &bytes[..bytes.len() / 2]).expect("writes");
    let third = module_cached(&built.path, cache.path());
    assert_eq!(third.symbols_matching(&Wildcard::new("*")), names);
    assert_eq!(third.problems().len(), 1, "{:?}", third.problems());
    assert_eq!(std::fs::read(index.path()).expect("reads"), bytes, "the same build gives the same index");
}

#[test]
fn copies_inlined_into_other_units_are_found() {
    // Link-time optimisation describes a function in the unit of its source, and its copies where they ended up.
    let shared = "extern volatile int sink;\ninline __attribute__((always_inline)) int shared(int x) { sink = x; return x * 3; }\n";
    let other =
        format!("{shared}volatile int sink;\n__attribute__((noinline)) int other(int x) {{ return shared(x) + 1; }}\n");
    let built = build("g++ -g -O2 -flto -c", "other.cpp", &other);
    let dir = built.dir.path();
    std::fs::rename(&built.path, dir.join("other.o")).expect("moves");
    let main = format!("{shared}int other(int);\nint main(int n, char **) {{ return shared(n) + other(n); }}\n");
    std::fs::write(dir.join("main.cpp"), main).expect("writes");
    run_in(dir, "g++ -g -O2 -flto -flto-partition=1to1 -o program main.cpp other.o");
    let module = module(&built.path);
    let places = ["shared".to_owned()];
    let theirs = gdb_breakpoints(&built.path, &places).remove(0);
    let ours: BTreeSet<u64> =
        module.code_locations("shared", CaseRule::Exact).iter().map(|location| location.body.0).collect();
    assert!(ours.len() >= 2 && ours.is_superset(&theirs), "{ours:x?} {theirs:x?}");
    assert_eq!(module.problems(), []);
}
