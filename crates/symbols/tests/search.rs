//! Debug files in the places where distributions and people put them.

mod support;

use std::path::Path;
use std::sync::Arc;

use outpost_symbols::{
    CaseRule, LocalFiles, Module, ModuleFiles, SearchOutcome, SymbolPath, SymbolStatus, find_debug_files,
};
use support::{build, open, run_in};

const PROGRAM: &str = r#"
#include <stdio.h>
struct Shared { int a; long b; };
static struct Shared shared = { 1, 2 };
static int helper(struct Shared *s, int a) { return s->a + a; }
int main(int argc, char **argv) { puts("hello"); return helper(&shared, argc); }
"#;

/// Builds the program with `flags` and splits it into `stripped` and `program.debug`.
fn split(flags: &str) -> Arc<support::Built> {
    let built = build(&format!("gcc -g {flags}"), "a.c", PROGRAM);
    run_in(built.dir.path(), "objcopy --only-keep-debug program program.debug");
    run_in(built.dir.path(), "objcopy --strip-all --add-gnu-debuglink=program.debug program stripped");
    built
}

fn find(image: &Path, symbol_path: &str) -> (Option<Arc<outpost_symbols::ElfFile>>, outpost_symbols::SearchReport) {
    let (found, report) =
        find_debug_files(&open(image), Some(image), &SymbolPath::parse(symbol_path), &LocalFiles, None);
    (found.debug, report)
}

fn move_to(dir: &Path, from: &str, to: &str) {
    let to = dir.join(to);
    std::fs::create_dir_all(to.parent().expect("has one")).expect("is made");
    std::fs::rename(dir.join(from), to).expect("moves");
}

#[test]
fn beside_the_image_and_in_its_debug_directory() {
    let built = split("-Wl,--build-id=sha1");
    let dir = built.dir.path();
    let (found, report) = find(&dir.join("stripped"), "");
    assert!(found.is_some() && report.found && report.missing().is_none());
    move_to(dir, "program.debug", ".debug/program.debug");
    let (found, _) = find(&dir.join("stripped"), "");
    let image = Arc::new(open(&dir.join("stripped")));
    let module = Module::new(ModuleFiles { debug: found, cache: None, ..ModuleFiles::new(image) });
    assert_eq!(module.status(), SymbolStatus::Dwarf);
    let main = module.symbols_named("main", CaseRule::Exact);
    assert_eq!(main.len(), 1);
    let line = module.line_at(main[0].address).expect("has a line");
    assert!(line.file.ends_with("/a.c") && line.line == 6, "{line:?}");
}

#[test]
fn by_build_id_below_the_symbol_path() {
    let built = split("-Wl,--build-id=0x0123456789abcdef");
    let dir = built.dir.path();
    move_to(dir, "program.debug", "symbols/.build-id/01/23456789abcdef.debug");
    let symbols = dir.join("symbols").display().to_string();
    assert!(find(&dir.join("stripped"), &symbols).0.is_some());
    assert!(find(&dir.join("stripped"), &format!("{symbols}/.build-id")).0.is_some());
    let (found, report) = find(&dir.join("stripped"), "/nonexistent;odd*thing");
    assert!(found.is_none());
    let missing = report.missing().expect("is missing");
    assert!(missing.contains("build-id 0123456789abcdef"), "{missing}");
    assert!(missing.contains("/nonexistent/.build-id/01/23456789abcdef.debug, "), "{missing}");
    assert!(missing.contains("odd*thing (not supported)"), "{missing}");
}

#[test]
fn files_of_another_build_are_refused_and_named() {
    let built = split("-Wl,--build-id=0x01234567");
    let dir = built.dir.path();
    run_in(dir, "gcc -g a.c -Wl,--build-id=0x89abcdef -o other");
    run_in(dir, "objcopy --only-keep-debug other program.debug");
    let (found, report) = find(&dir.join("stripped"), "");
    assert!(found.is_none());
    assert!(report.missing().expect("is missing").contains("mismatched: its build-id is 89abcdef"), "{report:?}");
    std::fs::write(dir.join("program.debug"), b"not ELF at all").expect("writes");
    let (_, report) = find(&dir.join("stripped"), "");
    assert!(report.missing().expect("is missing").contains("unreadable"), "{report:?}");
}

#[test]
fn checksums_count_where_there_is_no_build_id() {
    let built = split("-Wl,--build-id=none");
    let dir = built.dir.path();
    assert!(find(&dir.join("stripped"), "").0.is_some());
    run_in(dir, "objcopy --strip-debug program.debug program.debug");
    let (found, report) = find(&dir.join("stripped"), "");
    assert!(found.is_none());
    let wrong = |outcome: &SearchOutcome| matches!(outcome, SearchOutcome::WrongChecksum { .. });
    assert!(report.steps.iter().any(|step| wrong(&step.outcome)), "{report:?}");
}

#[test]
fn an_image_with_debug_info_needs_no_search() {
    let built = build("gcc -g", "a.c", PROGRAM);
    let (found, report) = find(&built.path, "/usr/lib/debug");
    assert!(found.is_none() && report.found && report.missing().is_none());
    assert_eq!(report.steps.len(), 1);
}

#[test]
fn shared_dwarf_of_dwz_is_found_and_read() {
    // dwz moves what several files have in common to a third one.
    let built = build("gcc -g -gdwarf-5 -Wl,--build-id=sha1", "a.c", PROGRAM);
    let dir = built.dir.path();
    run_in(dir, "gcc -g -gdwarf-5 -O2 -Wl,--build-id=sha1 a.c -o second");
    run_in(dir, "dwz -m shared.debug -M shared.debug program second");
    let image = Arc::new(open(&dir.join("program")));
    assert!(image.debug_alt_link().is_some(), "dwz found something to share");
    let path = dir.join("program");
    let (found, report) = find_debug_files(&image, Some(&path), &SymbolPath::default(), &LocalFiles, None);
    let alt = found.alt.unwrap_or_else(|| panic!("{report:?}"));
    let module = Module::new(ModuleFiles { alt: Some(alt), cache: None, ..ModuleFiles::new(image) });
    assert_eq!(module.types_named("Shared", CaseRule::Exact).len(), 1, "{:?}", module.problems());
    assert_eq!(module.symbols_named("helper", CaseRule::Exact).len(), 1);
    assert_eq!(module.symbols_named("shared", CaseRule::Exact).len(), 1);
    assert_eq!(module.problems(), []);
}

#[test]
fn the_mini_symtab_names_functions_of_a_stripped_image() {
    let built = build("gcc -g -static-pie -Wl,--build-id=sha1", "a.c", PROGRAM);
    let dir = built.dir.path();
    // As rpm's find-debuginfo.sh makes it.
    run_in(dir, "objcopy --only-keep-debug program mini");
    run_in(dir, "objcopy -S --remove-section .gdb_index --remove-section .comment --keep-symbol=helper mini");
    run_in(dir, "xz mini");
    run_in(dir, "objcopy --strip-all --add-section .gnu_debugdata=mini.xz program stripped");
    let image = Arc::new(open(&dir.join("stripped")));
    let module = Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(image) });
    assert_eq!(module.status(), SymbolStatus::Symtab);
    let found = module.symbols_named("helper", CaseRule::Exact);
    assert_eq!(found.len(), 1, "{:?}", module.problems());
    let listing = run_in(dir, "nm program");
    assert!(listing.contains(&format!("{:016x} t helper", found[0].address.0)), "{found:?}");
    assert_eq!(module.symbol_at(found[0].address).expect("is there").symbol.name, "helper");
}

#[test]
fn decompressed_sections_are_kept_and_made_anew_when_cut() {
    let built = build("rustc -g -C link-arg=-Wl,--build-id=sha1", "a.rs", support::RUST);
    let dir = built.dir.path();
    run_in(dir, "objcopy --compress-debug-sections=zlib program packed");
    let plain = support::module(&built.path).symbols_matching(&outpost_symbols::Wildcard::new("*"));
    let cache = dir.join("cache");
    let ask = || {
        let module = support::module_cached(&dir.join("packed"), &cache);
        let symbols = module.symbols_matching(&outpost_symbols::Wildcard::new("*"));
        assert_eq!(symbols, plain);
        assert!(module.line_at(module.symbols_named("a::compute", CaseRule::Exact)[0].address).is_some());
        assert_eq!(module.problems(), []);
    };
    ask();
    let kept: Vec<_> = std::fs::read_dir(cache.join("sections")).expect("is made").map(|e| e.expect("reads")).collect();
    assert!(!kept.is_empty());
    let written =
        |file: &std::fs::DirEntry| std::fs::metadata(file.path()).expect("is there").modified().expect("is known");
    let times: Vec<_> = kept.iter().map(written).collect();
    ask();
    assert_eq!(kept.iter().map(written).collect::<Vec<_>>(), times, "they were used, not made again");
    let len = kept[0].metadata().expect("is there").len();
    std::fs::File::options().write(true).open(kept[0].path()).expect("opens").set_len(len / 2).expect("cuts");
    ask();
    assert_eq!(std::fs::metadata(kept[0].path()).expect("is there").len(), len);
}
