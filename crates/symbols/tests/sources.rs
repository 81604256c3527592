//! What debug info knows of the content of source files.

mod support;

use support::{build, module, run_in};

const HEADER: &str = "static inline int twice(int a) {\n  return a + a; }\n";
const SOURCE: &str = "#include \"twice.h\"\nint main(int argc, char **argv) {\n  return twice(argc); }\n";

#[test]
fn clang_notes_checksums_and_every_table_has_the_last_line() {
    let folder = tempfile::tempdir().expect("temporary directory");
    std::fs::write(folder.path().join("twice.h"), HEADER).expect("writes");
    let include = folder.path().display();
    for (compiler, has_checksum) in
        [("clang -gdwarf-5", true), ("clang -gdwarf-4", false), ("gcc -gdwarf-5", false), ("gcc -gdwarf-4", false)]
    {
        let built = build(&format!("{compiler} -O0 -I{include}"), "a.c", SOURCE);
        let module = module(&built.path);
        for (file, last_line, place) in [("a.c", 3, built.dir.path()), ("twice.h", 2, folder.path())] {
            let path = &module.source_files(file)[0];
            let facts = module.source_facts(path).expect("is known");
            assert_eq!(facts.last_line, last_line, "{compiler}: {path}");
            let told = run_in(place, &format!("md5sum {file}"));
            let sums =
                facts.checksums.iter().map(|sum| sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            let expected = if has_checksum { vec![told[..32].to_owned()] } else { Vec::new() };
            assert_eq!(sums.collect::<Vec<_>>(), expected, "{compiler}: {path}");
        }
        assert_eq!(module.source_facts("/nowhere/a.c"), None);
    }
}
