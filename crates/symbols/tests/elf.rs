//! ELF files as real tools make them, compared with what `nm`, `readelf` and `objdump` say.

mod support;

use std::collections::BTreeSet;

use outpost_symbols::{
    ByteSource, CaseRule, DebugInfo, ElfFile, ElfKind, ElfSymbolSource, Module, ModuleFiles, SectionData, SymbolsError,
};
use support::{build, open, run_in};

const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
int counter = 3;
static __thread int per_thread = 4;
__attribute__((noinline)) static int helper(int a) { return a * counter + per_thread; }
int main(int argc, char **argv) { puts("hello"); free(malloc(4)); return helper(argc); }
"#;

#[test]
fn symbols_are_those_of_nm() {
    let built = build("gcc -g -O1", "a.c", PROGRAM);
    let (symbols, problems) = built.elf().symbols();
    assert!(problems.is_empty(), "{problems:?}");
    let ours: BTreeSet<(u64, String)> = symbols
        .iter()
        .filter(|symbol| symbol.source == ElfSymbolSource::Symtab)
        .map(|symbol| (symbol.address.0, symbol.name.clone()))
        .collect();
    let listing = run_in(built.dir.path(), "nm --defined-only program");
    let theirs: BTreeSet<(u64, String)> = listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|words| (u64::from_str_radix(words[0], 16).expect("an address"), words[2].to_owned()))
        .collect();
    assert_eq!(ours, theirs);
}

/// What libpthread before glibc 2.34 tells debuggers is in its full table alone.
#[test]
fn what_is_not_exported_is_found_in_the_full_table() {
    let built = build("gcc -rdynamic -O1", "a.c", PROGRAM);
    let at = |text: &str| -> u64 {
        let listing = run_in(built.dir.path(), "nm --defined-only program");
        let line = listing.lines().find(|line| line.ends_with(&format!(" {text}"))).expect("nm shows it");
        u64::from_str_radix(line.split(' ').next().expect("an address"), 16).expect("hexadecimal")
    };
    let found =
        |names: &[&str]| built.elf().exports(names).map(|found| found.iter().map(|at| at.0).collect::<Vec<_>>());
    assert_eq!(found(&["main", "counter"]), Some(vec![at("main"), at("counter")]));
    assert_eq!(found(&["main", "helper"]), Some(vec![at("main"), at("helper")]));
    assert_eq!(found(&["main", "no_such_name"]), None);
    run_in(built.dir.path(), "strip program");
    assert_eq!(found(&["main", "helper"]), None, "exported is main alone");
}

#[test]
fn plt_entries_are_those_of_objdump() {
    for flags in ["-fcf-protection=none", "-fcf-protection=full -Wl,-z,ibtplt", "-Wl,-z,now", "-static"] {
        let built = build(&format!("gcc {flags}"), "a.c", PROGRAM);
        let (symbols, _) = built.elf().symbols();
        let plt = symbols.iter().filter(|symbol| symbol.source == ElfSymbolSource::Plt);
        let ours: BTreeSet<String> = plt.map(|symbol| format!("{:016x} <{}>", symbol.address.0, symbol.name)).collect();
        let listing = run_in(built.dir.path(), "objdump -d program");
        let theirs: BTreeSet<String> = listing
            .lines()
            .filter_map(|line| line.strip_suffix(">:").map(|line| format!("{line}>")))
            .filter(|line| line.contains("@plt>") && !line.contains("*ABS*"))
            .collect();
        // objdump invents a name for the second table of an IBT image; both tables are entries of the same function.
        assert!(theirs.is_subset(&ours), "{flags}: {theirs:?} {ours:?}");
        assert!(flags == "-static" || ours.iter().any(|entry| entry.ends_with("<puts@plt>")), "{flags}: {ours:?}");
    }
}

#[test]
fn build_id_links_and_names() {
    let built = build("gcc -g -shared -fPIC -Wl,--build-id=0x0123456789ab -Wl,-soname,libx.so.7", "a.c", PROGRAM);
    run_in(built.dir.path(), "objcopy --only-keep-debug program program.debug");
    run_in(built.dir.path(), "objcopy --strip-all --add-gnu-debuglink=program.debug program stripped");
    let (whole, stripped) = (built.elf(), open(&built.dir.path().join("stripped")));
    let debug = open(&built.dir.path().join("program.debug"));
    for file in [&whole, &stripped, &debug] {
        assert_eq!(file.build_id().expect("has one").to_string(), "0123456789ab");
        assert!(file.problems().is_empty());
    }
    assert_eq!(whole.kind(), ElfKind::SharedObject);
    assert_eq!(stripped.soname().as_deref(), Some("libx.so.7"));
    assert_eq!(debug.soname(), None, "a debug file has no dynamic section");
    assert_eq!(stripped.needed().first().map(String::as_str), Some("libc.so.6"));
    assert_eq!(stripped.debug_link().expect("has one").file_name, "program.debug");
    assert!(whole.has_dwarf() && whole.has_symtab());
    assert!(!stripped.has_dwarf() && !stripped.has_symtab());
    assert_eq!(stripped.text_ranges(), whole.text_ranges());
}

#[test]
fn compressed_sections_read_like_plain_ones() {
    let built = build("gcc -g", "a.c", PROGRAM);
    let plain = built.elf().section_data(".debug_info").expect("reads").expect("is there");
    for kind in ["zlib", "zlib-gnu", "zlib-gabi", "zstd"] {
        run_in(built.dir.path(), &format!("objcopy --compress-debug-sections={kind} program packed"));
        let packed = open(&built.dir.path().join("packed"));
        assert!(packed.has_dwarf());
        assert_eq!(&*packed.section_data(".debug_info").expect("reads").expect("is there"), &*plain, "{kind}");
    }
}

#[test]
fn symbols_survive_without_section_headers() {
    let built = build("gcc -g -rdynamic", "a.c", PROGRAM);
    let mut bytes = std::fs::read(&built.path).expect("reads");
    // e_shoff, e_shentsize, e_shnum, e_shstrndx
    bytes[0x28..0x30].fill(0);
    bytes[0x3a..0x40].fill(0);
    let bare = outpost_symbols::ElfFile::from_memory("bare", bytes).expect("is ELF");
    let names = |file: &outpost_symbols::ElfFile| -> BTreeSet<String> {
        let (symbols, _) = file.symbols();
        symbols.into_iter().filter(|s| s.source == ElfSymbolSource::Dynsym).map(|symbol| symbol.name).collect()
    };
    assert!(names(&bare).contains("counter"));
    assert_eq!(names(&bare), names(&built.elf()));
    assert_eq!(bare.build_id(), built.elf().build_id());
}

#[test]
fn units_cover_their_code() {
    for flags in
        ["gcc -g -gdwarf-4", "gcc -g -gdwarf-5", "clang -g -gdwarf-4", "gcc -g -gdwarf-4 -fdebug-types-section"]
    {
        let built = build(flags, "a.c", PROGRAM);
        let file = built.elf();
        let mut problems = Vec::new();
        let info = DebugInfo::load(&file, None, &mut problems).expect("loads").expect("has DWARF");
        assert!(problems.is_empty(), "{problems:?}");
        let main = file.symbols().0.into_iter().find(|symbol| symbol.name == "main").expect("is there");
        let index = info.unit_at(main.address).expect("a unit covers main");
        let unit = info.unit(index).expect("parses");
        let name = unit.name.clone().expect("has a name");
        assert_eq!(&*gimli::Reader::to_string_lossy(&name).expect("reads"), "a.c", "{flags}");
        let root = info.die(index, unit.header.root_offset()).expect("has a root");
        assert_eq!(info.locate(root), Some((index, unit.header.root_offset())));
    }
}

/// A source that counts how often it is asked, as one on a server would be.
#[derive(Debug)]
struct Counting {
    inner: std::sync::Arc<outpost_symbols::FileSource>,
    asked: std::sync::atomic::AtomicU32,
    bytes: std::sync::atomic::AtomicU64,
}

impl Counting {
    fn count(&self, bytes: u64) {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.bytes.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }
}

impl ByteSource for Counting {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read(&self, offset: u64, len: u64) -> Result<SectionData, SymbolsError> {
        self.count(len);
        self.inner.read(offset, len)
    }

    fn read_many(&self, ranges: &[std::ops::Range<u64>]) -> Result<Vec<SectionData>, SymbolsError> {
        self.count(ranges.iter().map(|range| range.end - range.start).sum());
        ranges.iter().map(|range| self.inner.read(range.start, range.end - range.start)).collect()
    }
}

#[test]
fn a_remote_image_is_asked_for_sections_at_once_and_never_as_a_whole() {
    let built = build("gcc -g -O1 -static", "a.c", PROGRAM);
    let (asked, bytes) = Default::default();
    let inner = outpost_symbols::FileSource::open(&built.path).expect("opens");
    let source = std::sync::Arc::new(Counting { inner, asked, bytes });
    let image = std::sync::Arc::new(ElfFile::parse(source.clone()).expect("is ELF"));
    let module = Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(image) });
    let main = module.code_locations("main", CaseRule::Exact);
    assert_eq!(main.len(), 1);
    assert!(module.line_at(main[0].body).is_some());
    let asked = source.asked.load(std::sync::atomic::Ordering::Relaxed);
    let bytes = source.bytes.load(std::sync::atomic::Ordering::Relaxed);
    // Headers, section names, segments, notes; symbols; DWARF; a prologue.
    assert!(asked <= 14, "asked {asked} times");
    assert!(bytes * 3 < source.len(), "{bytes} of {}", source.len());
}
