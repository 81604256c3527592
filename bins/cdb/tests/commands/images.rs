//! What images say of themselves, beside binutils.

use std::process::Command;

use outpost_testkit::{Build, Compiler, ProcessServer, Running};

use crate::common::*;

/// The words of a table's lines after the one that begins with `title`, as far as they are indented.
fn table(text: &str, title: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(title)).skip(1);
    let rows = lines.take_while(|line| line.starts_with("  "));
    rows.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn headers_are_those_that_readelf_shows() {
    let program = "/bin/bash";
    let ours = cdb(program, "!dh bash");
    let theirs = Command::new("readelf").args(["-SW", program]).output().unwrap();
    let theirs = String::from_utf8(theirs.stdout).unwrap();
    // [Nr] Name Type Address Off Size
    let sections = theirs.lines().filter_map(|line| line.trim_start().strip_prefix('[')?.split_once(']'));
    let sections = sections.map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    let sections: Vec<_> = sections.filter(|words| words.first().is_some_and(|word| word.starts_with('.'))).collect();
    let shown = table(&ours, "Sections:");
    assert_eq!(shown.len(), sections.len(), "{ours}");
    assert!(sections.len() > 20);
    for (ours, theirs) in shown.iter().zip(&sections) {
        let offset = u64::from_str_radix(theirs[3], 16).unwrap();
        assert_eq!(ours[0], theirs[0]);
        assert!(ours.contains(&format!("{offset:#x}")), "{ours:?} {theirs:?}");
    }
    let loads = table(&ours, "Segments:").into_iter().filter(|row| row[0] == "LOAD");
    let accesses: Vec<_> = loads.map(|row| row[2].clone()).collect();
    assert!(accesses.iter().any(|access| access == "rx") && accesses.iter().any(|access| access == "rw"), "{ours}");
}

/// An update of the system replaces files that are in use. Symbols are those of what is mapped, with and without a
/// build-id, and of a program that never had a name.
#[test]
fn files_that_were_replaced_while_they_are_mapped() {
    const HELPS: &str = "int helped; void help(int n) { helped += n; }";
    const USES: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int rounds;
__attribute__((noinline)) void spin(void) { rounds++; }
int main(int count, char **argument) {
    if (count == 3) { // becomes a copy of itself without a name
        char bytes[65536];
        int from = open("/proc/self/exe", O_RDONLY), to = memfd_create("no name", 0);
        for (ssize_t got; (got = read(from, bytes, sizeof bytes)) > 0;) write(to, bytes, got);
        char *again[] = {"copy", argument[1], 0}, *none[] = {0};
        fexecve(to, again, none);
    }
    void *library = dlopen(argument[1], RTLD_NOW);
    void (*help)(int) = library ? dlsym(library, "help") : 0;
    puts(help ? "ready" : dlerror());
    fflush(stdout);
    for (;;) { spin(); help(1); usleep(1000); }
}
"#;
    let other = Build::source(Compiler::Gcc, "other", "int spin(void) { return 0; } int main(void) { return spin(); }");
    for id in ["-Wl,--build-id", "-Wl,--build-id=none"] {
        let library = Build::source(Compiler::Gcc, "libhelps.so", HELPS).flags("-g -shared -fPIC").flags(id).path();
        let program = Build::source(Compiler::Gcc, "uses", USES).flags("-g -O0 -w").flags(id).path();
        for named in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let (there, used) = (folder.path().join("uses"), folder.path().join("libhelps.so"));
            std::fs::copy(&program, &there).unwrap();
            std::fs::copy(&library, &used).unwrap();
            let mut arguments = vec![used.to_str().unwrap()];
            arguments.extend((!named).then_some("copy"));
            let mut running = Running::start(&there, &arguments);
            assert_eq!(running.line(), "ready");
            for replaced in [&there, &used] {
                std::fs::remove_file(replaced).unwrap();
                std::fs::copy(other.clone().flags("-g").flags(id).path(), replaced).unwrap();
            }
            let pid = running.pid().to_string();
            let script = "bp libhelps!help; bp spin; g; .echo [first]; ? poi(rounds) > 0; k 2; bc 1; g; .echo [second]; \
                          k 2; ?? libhelps!helped > 0; .echo [end]; qd";
            let server = ProcessServer::start();
            for remote in [None, Some(server.connection())] {
                let mut all = vec!["-p", &pid, "-c", script];
                all.splice(0..0, remote.iter().flat_map(|connection| ["-premote", connection]));
                let text = run(&all);
                let both = part(&text, "first").to_owned() + part(&text, "second");
                for line in ["uses.c @ 10", "libhelps.so.c @ 1", "= 00000000`00000001", "bool true"] {
                    assert!(both.contains(line), "{id}, named: {named}: {text}");
                }
            }
        }
    }
}
