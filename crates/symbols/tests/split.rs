//! Split DWARF: the same program with and without it, its files in several places, and without them.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use outpost_base::ImageOffset;
use outpost_symbols::{
    CaseRule, LocalFiles, Module, ModuleFiles, SearchOutcome, SearchReport, SearchRule, SymbolKind, SymbolPath,
    SymbolStatus, Type, TypeKind, Wildcard, find_debug_files,
};
use support::{CPP, RUST, open, run_in};
use tempfile::TempDir;

/// A second unit that shares types, an inline function and a class with the first.
const OTHER: &str = r#"
#include <vector>
namespace shapes { struct Shape { virtual ~Shape() {} virtual int area() const = 0; static int count; }; }
struct Point { int x, y; };
struct Node { Node *next; Point at; union { int small; long large; }; unsigned flags : 3; };
static inline __attribute__((always_inline)) int twice(int a) { int doubled = a + a; return doubled; }
int other(const Node *node, std::vector<Point> &points) {
  int sum = shapes::Shape::count;
  for (; node; node = node->next) sum += twice(node->at.x) + (int)points.size();
  return sum;
}
"#;

/// Two units, compiled by `compiler` with and without `split`, each in a folder of its own, sources in `/`.
struct Pair {
    directory: TempDir,
}

impl Pair {
    fn new(compiler: &str, split: &str) -> Pair {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join("a.cpp"), CPP).expect("writes");
        fs::write(directory.path().join("b.cpp"), OTHER).expect("writes");
        for (folder, split) in [("whole", ""), ("split", split)] {
            let folder = directory.path().join(folder);
            fs::create_dir(&folder).expect("is new");
            for unit in ["a", "b"] {
                run_in(&folder, &format!("{compiler} {split} -c ../{unit}.cpp -o {unit}.o"));
            }
            run_in(&folder, &format!("{compiler} {split} a.o b.o -o program"));
        }
        Pair { directory }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self, folder: &str) -> PathBuf {
        self.folder(folder).join("program")
    }

    /// Facts of the split program, which must be those of the whole one.
    #[track_caller]
    fn assert_same(&self, what: &str) {
        assert_same(&self.program("whole"), &self.program("split"), "*", what);
    }
}

#[track_caller]
fn assert_same(whole: &Path, split: &Path, names: &str, what: &str) {
    let (whole, split) = (found(whole).0, found(split).0);
    assert_same_facts(&whole, &split, names, what);
    assert_eq!(split.problems(), [], "{what}");
}

#[track_caller]
fn assert_same_facts(whole: &Module, split: &Module, names: &str, what: &str) {
    // gcc leaves types that nothing uses, and their files, out of the program, but not out of .dwo files.
    let (wanted, there) = (type_facts(whole, names), type_facts(split, names));
    let missing: Vec<_> = wanted.difference(&there).collect();
    assert!(missing.is_empty() && wanted.len() > 2, "{what}: types and files {missing:#?}");
    let (expected, actual) = (facts(whole, names), facts(split, names));
    assert!(expected.len() > 200, "{what}: only {} facts", expected.len());
    let differing: Vec<_> = expected.iter().zip(&actual).filter(|(expected, actual)| expected != actual).collect();
    assert!(differing.is_empty(), "{what}: {} differ: {:#?}", differing.len(), &differing[..differing.len().min(8)]);
    assert_eq!(expected.len(), actual.len(), "{what}");
}

/// A module found as the debugger finds it, its index in memory.
fn found(path: &Path) -> (Module, SearchReport) {
    found_with(path, &SymbolPath { items: Vec::new() }, None)
}

fn found_with(path: &Path, symbol_path: &SymbolPath, cache: Option<&Path>) -> (Module, SearchReport) {
    let image = Arc::new(open(path));
    let (found, report) = find_debug_files(&image, Some(path), symbol_path, &LocalFiles, None);
    (Module::new(ModuleFiles { cache: cache.map(Path::to_owned), ..found.module_files(image) }), report)
}

/// Everything that a debugger shows, DIEs' places excepted.
fn facts(module: &Module, names: &str) -> Vec<String> {
    let mut facts = Vec::new();
    let symbols = module.symbols_matching(&Wildcard::new(names));
    for symbol in &symbols {
        facts.push(format!("{} {:?} {:?} {}", symbol.name, symbol.kind, symbol.address, symbol.size));
        if symbol.kind == SymbolKind::Function && symbol.die.is_some() {
            let places = module.code_locations(&symbol.name, CaseRule::Exact);
            facts.extend(places.iter().map(|at| format!("break {} {:?} {}", at.name, at.body, at.is_inlined)));
            let range = symbol.address.0..symbol.address.0 + symbol.size;
            range.step_by(5).for_each(|at| facts.extend(facts_at(module, ImageOffset(at))));
        }
        if symbol.kind != SymbolKind::Function {
            let variables = module.variables_named(&symbol.name, CaseRule::Exact);
            let variables = variables.into_iter().filter_map(|die| module.variable_of(die));
            facts.extend(variables.map(|it| format!("{} {} {:?} {:?}", it.name, it.value_type, it.kind, it.declared)));
        }
    }
    facts.iter().map(|fact| fact.replace("/whole", "").replace("/split", "")).collect()
}

fn type_facts(module: &Module, names: &str) -> BTreeSet<String> {
    let described = |(name, die): (String, _)| {
        assert!(!module.types_named(&name, CaseRule::Exact).is_empty(), "{name}");
        format!("{name}: {}", shape(&module.type_of(die).expect("is a type")))
    };
    let types = module.types_matching(&Wildcard::new(names)).into_iter().map(described);
    let files = module.source_files("").into_iter();
    types.chain(files.map(|file| file.replace("/whole", "").replace("/split", ""))).collect()
}

fn shape(described: &Type) -> String {
    let fields: Vec<String> = described
        .fields()
        .iter()
        .map(|field| format!("{}:{}@{}{:?}", field.name, field.field_type, field.offset, field.bits))
        .collect();
    let kind = match described.resolved().kind() {
        TypeKind::Enumeration { enumerators, .. } => format!("{enumerators:?}"),
        _ => String::new(),
    };
    format!("{described} {:?} {:?} {} {kind}", described.size(), described.language(), fields.join(" "))
}

/// The line, the inlined calls and all variables at an instruction.
fn facts_at(module: &Module, at: ImageOffset) -> Vec<String> {
    let mut facts = vec![format!("{at:?} {:?} {:?}", module.line_at(at), module.statement_at(at, None))];
    for frame in module.inline_frames_at(at) {
        facts.push(format!("{} {:?} {:?} {:?}", frame.name, frame.entry, frame.ranges, frame.call_site));
    }
    for activation in module.variables().expect("has DWARF").activations_at(at) {
        let variables = activation.scopes.iter().flat_map(|scope| &scope.variables);
        facts.extend(variables.map(|it| {
            format!(
                "{:?} {} {} {:?} {:?} {}",
                activation.name, it.name, it.value_type, it.kind, it.declared, it.shadowed
            )
        }));
    }
    facts
}

#[test]
fn gcc_describes_the_same_split_and_whole() {
    for compiler in ["g++ -g -O0 -gdwarf-5", "g++ -g -O2 -gdwarf-5", "g++ -g -O0 -gdwarf-4", "g++ -g -O2 -gdwarf-4"] {
        Pair::new(compiler, "-gsplit-dwarf").assert_same(compiler);
    }
}

#[test]
fn types_in_units_of_their_own_are_found() {
    for compiler in ["g++ -g -O2 -gdwarf-5 -fdebug-types-section", "g++ -g -O2 -gdwarf-4 -fdebug-types-section"] {
        Pair::new(compiler, "-gsplit-dwarf").assert_same(compiler);
    }
}

#[test]
fn clang_describes_the_same_split_and_whole() {
    // Without -fsplit-dwarf-inlining clang leaves no copy of inlined calls in the program.
    for compiler in ["clang++ -g -O0 -gdwarf-5", "clang++ -g -O2 -gdwarf-4", "clang++ -g -O2 -gdwarf-5 -gz"] {
        Pair::new(compiler, "-gsplit-dwarf").assert_same(compiler);
    }
}

#[test]
fn rust_describes_the_same_split_and_whole() {
    for (version, how) in [(4, "unpacked"), (5, "packed")] {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join("a.rs"), RUST).expect("writes");
        for (folder, how) in [("whole", "off"), ("split", how)] {
            let folder = directory.path().join(folder);
            fs::create_dir(&folder).expect("is new");
            let flags = format!("-g -Copt-level=1 -Cdwarf-version={version} -Csplit-debuginfo={how}");
            run_in(&folder, &format!("rustc {flags} ../a.rs -o program"));
        }
        let [whole, split] = ["whole", "split"].map(|folder| directory.path().join(folder).join("program"));
        assert_same(&whole, &split, "a::*", &format!("rustc, {how}, DWARF {version}"));
    }
}

/// Whether `tool` made a package of the files beside the program, which are gone then.
fn pack(folder: &Path, tool: &str) -> bool {
    let made = Command::new(tool).args(["-e", "program", "-o", "program.dwp"]).current_dir(folder).status();
    if !made.is_ok_and(|status| status.success()) {
        outpost_testkit::skip(&format!("{tool} cannot make a package"));
        return false;
    }
    for unit in ["a.dwo", "b.dwo"] {
        fs::remove_file(folder.join(unit)).expect("was there");
    }
    true
}

#[test]
fn a_package_describes_the_same_as_its_files() {
    let cases = [
        ("g++ -g -O2 -gdwarf-4", "dwp"),
        ("g++ -g -O2 -gdwarf-4 -fdebug-types-section", "dwp"),
        ("clang++ -g -O2 -gdwarf-5", "llvm-dwp"),
        ("clang++ -g -O0 -gdwarf-4 -fdebug-types-section", "llvm-dwp"),
        ("clang++ -g -O0 -gdwarf-5 -fdebug-types-section", "llvm-dwp"),
    ];
    for (compiler, tool) in cases {
        let pair = Pair::new(compiler, "-gsplit-dwarf");
        if pack(&pair.folder("split"), tool) {
            pair.assert_same(compiler);
            let (_, report) = found(&pair.program("split"));
            let used = |step: &&outpost_symbols::SearchStep| step.rule == SearchRule::Package;
            let step = report.steps.iter().find(used).unwrap_or_else(|| panic!("{report:?}"));
            assert_eq!(step.outcome, SearchOutcome::Used);
        }
    }
}

#[test]
fn what_is_missing_is_said_once_and_everything_else_works() {
    let pair = Pair::new("g++ -g -O1", "-gsplit-dwarf");
    let cache = tempfile::tempdir().expect("temporary directory");
    let kept = tempfile::tempdir().expect("temporary directory");
    let none = SymbolPath { items: Vec::new() };
    let program = pair.program("split");
    for unit in ["a.dwo", "b.dwo"] {
        fs::rename(pair.folder("split").join(unit), kept.path().join(unit)).expect("moves");
    }
    let (whole, _) = found(&pair.program("whole"));
    let (module, _) = found_with(&program, &none, Some(cache.path()));
    let main = module.symbols_named("main", CaseRule::Exact).remove(0);
    assert_eq!(module.status(), SymbolStatus::Dwarf);
    assert_eq!((main.die, main.address), (None, whole.symbols_named("main", CaseRule::Exact)[0].address));
    let line = |module: &Module| {
        let line = module.line_at(main.address).expect("lines are in the program");
        (line.line, module.addresses_of_line("a.cpp", 40).len())
    };
    assert_eq!(line(&module), line(&whole));
    let problems = module.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let reason = &problems[0].reason;
    assert!(reason.starts_with("2 of 2 units lack their .dwo file"), "{reason}");
    assert!(reason.contains(".sympath+ DIR") && reason.contains("/split/a.dwo"), "{reason}");

    // They come back elsewhere: the index that was kept is not used, and neither is the next one when one goes again.
    let path = SymbolPath::parse(&kept.path().display().to_string());
    let (module, _) = found_with(&program, &path, Some(cache.path()));
    assert_same_facts(&whole, &module, "*", "elsewhere");
    assert_eq!(module.problems(), []);
    let (again, _) = found_with(&program, &path, Some(cache.path()));
    assert_same_facts(&whole, &again, "*", "from the cache");
    fs::remove_file(kept.path().join("b.dwo")).expect("is there");
    let (module, _) = found_with(&program, &path, Some(cache.path()));
    assert_eq!(module.types_named("Node", CaseRule::Exact), []);
    assert!(module.problems()[0].reason.starts_with("1 of 2 units"), "{:?}", module.problems());
    assert_eq!(module.types_named("Anonymous", CaseRule::Exact).len(), 1);
}

#[test]
fn a_file_of_another_build_is_refused() {
    let pair = Pair::new("g++ -g -O1", "-gsplit-dwarf");
    let folder = pair.folder("split");
    fs::write(pair.directory.path().join("b.cpp"), OTHER.replace("doubled", "two")).expect("writes");
    run_in(&folder, "g++ -g -O1 -gsplit-dwarf -c ../b.cpp -o other.o");
    fs::rename(folder.join("other.dwo"), folder.join("b.dwo")).expect("moves");
    let (module, _) = found(&pair.program("split"));
    assert_eq!(module.types_named("Node", CaseRule::Exact), []);
    let problems = module.problems();
    assert!(problems.len() == 1 && problems[0].reason.contains("b.dwo (of another build)"), "{problems:?}");
    // One that vanishes after the index was made takes answers away, no more.
    let main = module.symbols_named("main", CaseRule::Exact).remove(0);
    fs::remove_file(folder.join("a.dwo")).expect("is there");
    assert_eq!(module.inline_frames_at(main.address), []);
    assert!(module.line_at(main.address).is_some());
}
