//! `!heap` on this machine's allocator, on those of other releases, and of programs that nobody here wrote.

use std::path::Path;
use std::process::{Command, Stdio};

use outpost_testkit::{Build, Compiler, ProcessServer, Running, skip};

use crate::{cdb, verdict};

/// The heap is the same through a server and of a core, for few round trips however many chunks there are.
#[test]
fn a_heap_is_the_same_at_a_distance_and_of_a_core() {
    const MANY: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
    for (int number = 0; number < 30000; number++) {
        void *some = malloc(number % 1500);
        if (number % 3 == 0) free(some);
    }
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
"#;
    let program = Build::source(Compiler::Gcc, "many", MANY).flags("-g -O0").path();
    let mut running = Running::start(&program, &[]);
    assert_eq!(running.line(), "ready");
    let pid = running.pid().to_string();
    let here = cdb(&["-p", &pid, "-c", ".echo verdict follows; !heap; !heap -stat; !heap -v; qd"]);
    assert!(here.contains(" 0n0 problems"), "{here}");
    let told = |text: &str, what: &str| {
        let row = text.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("no {what} in {text}"));
        row.to_owned()
    };
    let server = ProcessServer::start();
    // What names and types need is there before the account is opened.
    let script = "k; x libc_so!main_arena; dt libc_so!malloc_state; .echo verdict follows; .linkstats; !heap; .linkstats; !heap -stat; \
                  !heap -v; qd";
    let there = cdb(&["-premote", server.connection(), "-p", &pid, "-c", script]);
    let trips: Vec<u64> = there
        .lines()
        .filter_map(|line| line.trim().strip_prefix("round trips")?.split_whitespace().next()?.parse().ok())
        .collect();
    assert_eq!(trips.len(), 2, "{there}");
    assert!(trips[1] <= 12, "{trips:?}");
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core").to_str().unwrap().to_owned();
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-p", &pid, "-ex"]);
    let written = gdb.arg(format!("generate-core-file {core}")).stdin(Stdio::null()).output();
    for what in ["  0000", "In use:", "Mapped chunks:", "0n2", "    5d8 "] {
        assert_eq!(told(verdict(&there), what), told(verdict(&here), what));
    }
    if written.is_err() || !Path::new(&core).exists() {
        return skip("gdb writes no core here");
    }
    let dead = cdb(&["-z", &core, "-c", ".echo verdict follows; !heap; !heap -stat; !heap -v; q"]);
    for what in ["  0000", "In use:", "Mapped chunks:", "0n2", "    5d8 "] {
        assert_eq!(told(verdict(&dead), what), told(verdict(&here), what));
    }
}

/// Allocators of releases that are newer than this machine's: `fixtures/heap_newer.c` lays their structures out as they do.
/// What is expected was compared with Debian's 2.43; of 2.42 there was only the source.
#[test]
fn heaps_of_releases_with_lists_of_large_chunks() {
    let flags = "-nostdlib -static -O1 -fno-stack-protector";
    let said = |more: &str| {
        let path = Build::fixture("heap_newer.c").flags(flags).flags(more).path();
        let script = "g; .echo verdict follows; !heap; !heap -v; !heap poi(mapped)+100";
        cdb(&["-c", script, path.to_str().unwrap()])
    };
    // By debug info, and by what is known of the release.
    for (more, release, given) in [
        ("-g", "2.43; layout by its debug info", "30fe8"),
        ("", "2.43; layout by that release", "30fe8"),
        ("-g -DRELEASE=42", "2.42; layout by its debug info", "30ff0"),
        ("-DRELEASE=42", "2.42; layout by that release", "30ff0"),
    ] {
        let text = said(more);
        assert!(text.contains(&format!("glibc {release}")), "{more}: {text}");
        // Two chunks in a list of one size, three in lists of ranges.
        assert!(
            text.contains("  3b0 (3)         5390 (5)                   -       500 (1)        1b3c0 (1)"),
            "{text}"
        );
        assert!(text.contains("0n10 chunks in 0n1 arenas, 0n1 mapped; 0n0 problems"), "{more}: {text}");
        assert!(text.contains(&format!("    {given}  busy, mapped")), "{more}: {text}");
    }
    // A thread that has allocated nothing is led to a constant.
    let idle = said("-g -DIDLE");
    assert!(idle.contains(" b0 (2)                   -                -       500 (1) "), "{idle}");
    assert!(idle.contains("; 0n0 problems"), "{idle}");
    let damaged = said("-DDAMAGED");
    assert!(damaged.contains("tcache of thread 0 for 0x800 to 0xff0 bytes has 0n2 chunks and counts 0n3"), "{damaged}");
}

/// In programs that nobody here wrote the sums are those that the allocator itself tells gdb (mallinfo2(3)).
#[test]
fn heaps_of_real_programs_have_the_sums_that_their_allocator_says() {
    const PYTHON: &str = "import json, decimal\n\
         kept = [{'a': i, 'b': str(i) * 3} for i in range(5000)]\n\
         del kept[::3]\n\
         big = bytearray(3_000_000)\n\
         print('ready', flush=True)\n\
         input()";
    const SHELL: &str = "for i in {1..500}; do a[$i]=\"text $i\"; done; unset 'a[5]'; echo ready; read x";
    const SQL: &str = "create table t(a, b);\n\
         with recursive c(x) as (select 1 union all select x + 1 from c where x < 3000)\n\
         insert into t select x, hex(randomblob(50)) from c;\ncreate index i on t(b);\nselect 'ready';\n";
    let mut compared = 0;
    for (program, arguments, input) in
        [("python3", &["-c", PYTHON][..], ""), ("bash", &["-c", SHELL], ""), ("sqlite3", &["-batch"], SQL)]
    {
        if Command::new(program).arg("--version").output().is_err() {
            continue;
        }
        let mut running = Running::command(Command::new(program).args(arguments).stdin(Stdio::piped()));
        running.say(input);
        assert_eq!(running.line(), "ready", "{program}");
        let pid = running.pid().to_string();
        outpost_testkit::wait_until("it waits for input", std::time::Duration::from_secs(10), || {
            outpost_testkit::state(running.pid()) == Some('S')
        });
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-p", &pid, "-ex", "print mallinfo2()"]);
        let Ok(said) = gdb.stdin(Stdio::null()).output() else { return skip("gdb is not installed") };
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let field = |name: &str| -> Option<u64> {
            let (_, rest) = said.split_once(&format!(" {name} = "))?;
            rest.split([',', '}']).next()?.parse().ok()
        };
        let Some(used) = field("uordblks") else {
            return skip("gdb knows no mallinfo2 without debug info of the C library");
        };
        let text = cdb(&["-p", &pid, "-c", ".echo verdict follows; !heap; !heap -v; qd"]);
        assert!(text.contains("; 0n0 problems"), "{program}: {text}");
        let hex = |word: Option<&str>| word.and_then(|word| u64::from_str_radix(word, 16).ok());
        // One arena: the address, what it has from the system, then bytes with counts.
        let row = verdict(&text).lines().find(|line| line.starts_with("  0000")).unwrap_or_else(|| panic!("{text}"));
        let cells: Vec<u64> = row
            .split_whitespace()
            .skip(2)
            .filter(|cell| !cell.starts_with('('))
            .map(|cell| hex(Some(cell)).unwrap_or(0))
            .collect();
        let [busy, cached, fast, bins, top] = cells[..] else { panic!("{program}: {row}") };
        assert_eq!(busy + cached, used, "{program}: {row}\n{said}");
        assert_eq!(fast + bins + top, field("fordblks").unwrap(), "{program}: {row}\n{said}");
        let mapped = verdict(&text).lines().find_map(|line| line.strip_prefix("Mapped chunks: ")).unwrap();
        assert_eq!(hex(mapped.split(' ').next()), field("hblkhd"), "{program}: {mapped}\n{said}");
        compared += 1;
    }
    if compared == 0 {
        skip("none of python3, bash and sqlite3 is installed");
    }
}
