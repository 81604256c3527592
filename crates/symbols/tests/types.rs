//! Layouts of types against gdb's: types of a separate debug file, of other units, names that are spelled in several ways.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use outpost_symbols::{
    ElfFile, FileSource, LocalFiles, Module, ModuleFiles, SymbolPath, TypeKind, declaration, find_debug_files,
};

fn open(path: &Path) -> Arc<ElfFile> {
    Arc::new(ElfFile::parse(FileSource::open(path).expect("opens")).expect("is ELF"))
}

fn module_of(path: &Path) -> Module {
    Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(open(path)) })
}

/// Compiles several C files into one program.
fn build(sources: &[(&str, &str)], flags: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut command = Command::new("gcc");
    command.current_dir(&directory).args(flags.split_whitespace()).args(["-o", "program"]);
    for (name, text) in sources {
        std::fs::write(directory.path().join(name), text).expect("is written");
        command.arg(name);
    }
    assert!(command.status().expect("gcc runs").success());
    let path = directory.path().join("program");
    (directory, path)
}

/// What gdb says of each type: its size, then a line for each field.
fn gdb_layouts(program: &Path, names: &[&str]) -> Vec<Vec<String>> {
    let script = format!(
        "python\nfor name in '{}'.split():\n    try: t = gdb.lookup_type('struct ' + name)\n    \
         except gdb.error: t = gdb.lookup_type(name)\n    t = t.strip_typedefs()\n    print('#')\n    \
         print('=', t.sizeof)\n    for f in t.fields():\n        \
         if hasattr(f, 'bitpos'): print('=', f.name or '', f.bitpos, f.bitsize, f.type.sizeof)\nend\n",
        names.join(" ")
    );
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("script");
    std::fs::write(&file, script).expect("is written");
    let output = Command::new("timeout")
        .args(["60", "gdb", "-nx", "-batch", "-ex", "set debuginfod enabled off", "-x"])
        .arg(&file)
        .arg(program)
        .output()
        .expect("gdb runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let fields = |part: &str| part.lines().filter_map(|line| line.strip_prefix("= ")).map(str::to_owned).collect();
    let layouts: Vec<Vec<String>> = text.split("#\n").skip(1).map(fields).collect();
    assert_eq!(layouts.len(), names.len(), "gdb: {}", String::from_utf8_lossy(&output.stderr));
    layouts
}

#[track_caller]
fn compare(module: &Module, program: &Path, names: &[&str]) {
    for (name, gdb) in names.iter().zip(gdb_layouts(program, names)) {
        assert_eq!(our_layout(module, name), gdb, "{name}");
    }
}

/// The same from ours.
fn our_layout(module: &Module, name: &str) -> Vec<String> {
    let found = module.types().expect("has DWARF").named(name);
    let found = found.first().unwrap_or_else(|| panic!("no type {name}")).resolved();
    let mut lines = vec![found.size().expect("has a size").to_string()];
    for field in found.fields() {
        let (at, bits) = field.bits.map_or((8 * field.offset, 0), |bits| (bits.offset, bits.size));
        lines.push(format!("{} {at} {bits} {}", field.name, field.field_type.size().unwrap_or(0)));
    }
    lines
}

#[test]
fn types_of_libc() {
    let path = Path::new("/lib/x86_64-linux-gnu/libc.so.6");
    let image = open(path);
    let (found, _) = find_debug_files(&image, Some(path), &SymbolPath::default(), &LocalFiles, None);
    if found.debug.is_none() {
        outpost_testkit::skip("libc's debug file is not installed");
        return;
    }
    let module = Module::new(ModuleFiles { cache: None, ..found.module_files(image) });
    let names = ["malloc_state", "malloc_chunk", "_IO_FILE", "pthread", "link_map", "sigaction", "tm", "siginfo_t"];
    compare(&module, path, &names);
}

#[test]
fn declarations_lead_to_definitions_of_other_units() {
    let user = "struct hidden; struct holder { struct hidden *inside; } holder; void *use(void);\n\
                int main(void) { holder.inside = use(); return 0; }";
    let maker = "struct hidden { int a; char b[3]; } made = { 1, \"ab\" }; void *use(void) { return &made; }";
    for flags in ["-g", "-g -gdwarf-4 -fdebug-types-section"] {
        let (_directory, path) = build(&[("user.c", user), ("maker.c", maker)], flags);
        let module = module_of(&path);
        let holder = module.types().expect("has DWARF").named("holder");
        let inside = holder.first().expect("has the type").field("inside").expect("has the field");
        let hidden = inside.field_type.target().expect("is a pointer");
        assert_eq!(hidden.to_string(), "struct hidden");
        let defined = hidden.resolved();
        assert!(!defined.kind().is_declaration(), "{flags}");
        assert_eq!(defined.size(), Some(8));
        assert_eq!(defined.field("b").map(|field| field.offset), Some(4));
        compare(&module, &path, &["hidden"]);
    }
}

#[test]
fn declarations_are_spelled_around_their_name() {
    let source = "typedef int (*table_t[3])(const char *, ...);\n\
                  typedef void (*signal_t(int, void (*)(int)))(int);\n\
                  typedef char *const *volatile pointers_t;\n\
                  typedef struct { int x; } anonymous_t;\n\
                  typedef int old_t();\n\
                  table_t table; signal_t *handler; pointers_t pointers; anonymous_t a; old_t *old; \
                  long unsigned wide; int matrix[2][3]; int main(void) { return 0; }";
    let (_directory, path) = build(&[("spell.c", source)], "-g");
    let module = module_of(&path);
    let spelled = |name: &str| {
        let die = module.variables_named(name, outpost_symbols::CaseRule::Exact);
        let variable = module.variable_of(*die.first().expect("has the variable")).expect("is a variable");
        let of = variable.value_type;
        // Typedefs by what they stand for.
        let of = match of.kind() {
            TypeKind::Typedef { target } => of.sibling(*target),
            _ => of,
        };
        declaration(&of, name)
    };
    assert_eq!(spelled("table"), "int (*table[3])(const char *, ...)");
    assert_eq!(spelled("pointers"), "char * const * volatile pointers");
    assert_eq!(spelled("a"), "struct {...} a");
    assert_eq!(spelled("wide"), "unsigned long wide");
    assert_eq!(spelled("matrix"), "int matrix[2][3]");
    assert_eq!(spelled("handler"), "signal_t *handler");
    let signal = module.types().expect("has DWARF").named("signal_t");
    assert_eq!(declaration(&signal[0].resolved(), "f"), "void (*f(int, void (*)(int)))(int)");
    let old = module.types().expect("has DWARF").named("old_t");
    assert_eq!(declaration(&old[0].resolved(), "f"), "int f()");
}

#[test]
fn base_types_are_found_by_all_their_names() {
    let source = "unsigned long a; short b; long long c; int main(void) { return 0; }";
    let (_directory, path) = build(&[("names.c", source)], "-g");
    let module = module_of(&path);
    let types = module.types().expect("has DWARF");
    for (name, size) in [("unsigned long", 8), ("long unsigned int", 8), ("short", 2), ("short int", 2), ("int", 4)] {
        assert_eq!(types.named(name).first().and_then(|found| found.size()), Some(size), "{name}");
    }
    assert!(types.named("nothing").is_empty());
}
