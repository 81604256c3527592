//! Locals of programs with debug info are what gdb says they are.

use std::io::{BufRead, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use outpost_testkit::{Build, Compiler, ProcessServer, Running, skip};

use crate::explained::{Explained, Tally};
use crate::locals::Debugged;
use crate::settle;

/// Nothing differs that is not explained, and at least so much was compared.
#[track_caller]
#[expect(clippy::print_stdout, reason = "how much was compared is for people to read")]
pub(crate) fn assert_agrees(name: &str, tally: &Tally, frames: usize, variables: usize) {
    let shown: Vec<_> = tally.differences.iter().take(60).collect();
    assert!(shown.is_empty(), "{name}: {} differences: {shown:#?}", tally.differences.len());
    assert!(tally.frames >= frames && tally.variables >= variables, "{name}: only {tally:?}");
    println!("{name}: {}", tally.summary());
}

/// Compares where the program is at rest, and at each of `places` after it was given work.
fn tour(running: &mut Running, places: &[&str], poke: impl FnOnce(&mut Running)) -> Tally {
    settle(running.pid());
    let server = ProcessServer::start();
    let mut tally = Tally::default();
    let mut debugged = Debugged::attach(&server, running.pid());
    debugged.compare(&mut tally);
    poke(running);
    for place in places {
        debugged.run_to(place);
        debugged.compare(&mut tally);
    }
    debugged.let_go();
    tally
}

const DEEP_PYTHON: &str = "import sys, threading\n\
     def wait(): threading.Event().wait()\n\
     for _ in range(2): threading.Thread(target=wait, daemon=True).start()\n\
     def key(x): return int(sys.stdin.readline()) + x\n\
     def deep(n): return deep(n - 1) if n else sorted([3, 1], key=key)\n\
     print('ready', flush=True)\n\
     for _ in range(2): print(sum(map(lambda x: len(deep(x)), [1, 2])), flush=True)\n";

fn python_locals(python: &str, frames: usize, variables: usize) {
    if !std::path::Path::new(python).exists() {
        return skip("python3-dbg is not installed");
    }
    let mut running = Running::command(Command::new(python).args(["-c", DEEP_PYTHON]).stdin(Stdio::piped()));
    running.line();
    let tally = tour(&mut running, &["PyLong_FromUnicodeObject", "PyNumber_Add"], |running| running.say("1\n2\n"));
    running.say("1\n1\n1\n1\n1\n1\n");
    assert_eq!([running.line(), running.line()], ["4", "4"], "it calculates on");
    assert!(running.wait(Duration::from_secs(10)).success());
    assert_agrees(python, &tally, frames, variables);
}

#[test]
fn python_locals_are_gdbs() {
    python_locals("/usr/bin/python3", 250, 2000);
}

#[test]
fn python_dbg_locals_are_gdbs() {
    python_locals("/usr/bin/python3-dbg", 250, 2000);
}

/// Answers queries; a function of SQL asks back, deep inside of one.
const QUERIES: &str = r#"
#include "sqlite3.c"
#include <stdio.h>

static void ask(sqlite3_context *context, int count, sqlite3_value **values) {
    char line[256];
    printf("asked %d\n", sqlite3_value_int(values[0]));
    fflush(stdout);
    if (fgets(line, sizeof line, stdin))
        sqlite3_result_int(context, atoi(line));
}

static int row(void *rows, int count, char **values, char **names) {
    ++*(int *)rows;
    for (int column = 0; column < count; ++column)
        printf("%s%s", column ? "|" : "", values[column] ? values[column] : "");
    printf("\n");
    return fflush(stdout);
}

int main(void) {
    sqlite3 *database;
    int rows = 0;
    if (sqlite3_open(":memory:", &database))
        return 1;
    sqlite3_create_function(database, "ask", 1, SQLITE_UTF8, 0, ask, 0, 0);
    const char *text =
        "create table item(name text, price int); create index by_price on item(price);"
        "insert into item values('lamp', 5), ('desk', 90), ('sofa', 400);"
        "create trigger asking after insert on item begin update item set price = ask(new.price) where name = new.name; end;"
        "insert into item select name || '2', price + 1 from item where price > ask(7) order by price desc limit 1;"
        "select count(*), sum(price) from item where name like '%' || (select max(name) from item);";
    if (sqlite3_exec(database, text, row, &rows, 0))
        return 2;
    printf("%d rows\n", rows);
    return sqlite3_close(database);
}
"#;

/// The folder of SQLite's amalgamated source, which a package of Rust carries.
pub(crate) fn sqlite_source() -> std::path::PathBuf {
    let cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|package| package["name"] == "sqlite3-src").unwrap();
    std::path::Path::new(found["manifest_path"].as_str().unwrap()).with_file_name("source")
}

#[test]
fn sqlite_locals_are_gdbs() {
    let folder = sqlite_source();
    let build = Build::source(Compiler::Gcc, "queries", QUERIES);
    let program = build.flags(&format!("-g -O2 -lm -I {}", folder.display())).path();
    let mut running = Running::command(Command::new(program).stdin(Stdio::piped()));
    assert_eq!(running.line(), "asked 7");
    let places =
        ["sqlite3BtreeInsert", "sqlite3VdbeRecordCompareWithSkip", "sqlite3Select", "sqlite3WhereBegin", "row"];
    let tally = tour(&mut running, &places, |running| running.say("6\n1\n1\n1\n8\n"));
    let mut lines: Vec<String> =
        std::iter::repeat_with(|| running.line()).take_while(|line| !line.is_empty()).collect();
    lines.retain(|line| !line.starts_with("asked"));
    assert_eq!(lines, ["1|1", "1 rows"], "it answers");
    assert!(running.wait(Duration::from_secs(10)).success());
    assert_agrees("sqlite3 -O2", &tally, 50, 450);
}

#[test]
fn cpp_locals_are_gdbs() {
    let mut running = Running::start(Build::fixture("shop.cpp").flags("-g -O2").path(), &[]);
    let port: u16 = running.line().parse().unwrap();
    let mut customer = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    customer.write_all(b"STOCK").unwrap();
    let places = ["shop::Inventory::left", "shop::Inventory::reserve"];
    let mut ask = customer.try_clone().unwrap();
    let tally = tour(&mut running, &places, |_| ask.write_all(b" apple\nBUY brick 2\nPING\n").unwrap());
    let answers: Vec<String> = std::io::BufReader::new(customer).lines().take(3).map(Result::unwrap).collect();
    assert_eq!(answers, ["120", "500", "PONG"], "it serves on");
    // Variables that gdb lists a second time are not so many by chance: we used to list them, too.
    assert!(tally.count(Explained::AbstractBlock) >= 50, "{:?}", tally.explained);
    assert_agrees("shop -O2", &tally, 150, 800);
}

/// The debug info of one of Debian's programs whose types and functions `dwz` has moved to a common file, as in most of its
/// debug packages: `.gnu_debugaltlink` leads there.
#[test]
fn locals_of_dwz_are_gdbs() {
    let (program, places) = ("/usr/bin/x86_64-linux-gnu-addr2line", DWARF_READER);
    if !std::path::Path::new("/usr/lib/debug/.dwz/x86_64-linux-gnu/libbinutils.debug").exists() {
        return skip("libbinutils-dbg and binutils-x86-64-linux-gnu-dbg are not installed");
    }
    let lines = Build::source(Compiler::Gcc, "dwz_lines", "int main(void) { return 0; }\n").flags("-g -O0").path();
    let symbols = Command::new("nm").arg(&lines).output().unwrap();
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    let main = symbols.lines().find_map(|line| line.strip_suffix(" T main")).unwrap();
    let mut running = Running::command(Command::new(program).arg("-fe").arg(&lines).stdin(Stdio::piped()));
    // `parse_comp_unit` is inlined, and `stash` is what rdi was at the entry of `stash_comp_unit`: gdb 13 asks one call too
    // far out, as with SQLite.
    let too_far = |difference: &String| difference.contains("parse_comp_unit stash: value : gdb");
    let mut tally = tour(&mut running, places, |running| running.say(&format!("0x{main}\n")));
    assert_eq!(running.line(), "main", "it answers");
    tally.differences.retain(|difference| !too_far(difference));
    assert_agrees("addr2line of dwz", &tally, 30, 200);
}

/// Functions of libbfd on the way from an address to a line.
const DWARF_READER: &[&str] = &[
    "_bfd_elf_find_nearest_line",
    "_bfd_dwarf2_find_nearest_line_with_alt",
    "read_attribute_value",
    "concat_filename",
];

#[test]
fn tokio_locals_are_gdbs() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_cdb")).with_file_name("examples").join("tokio_service");
    if !program.exists() {
        return skip("the tokio example of testkit is not built (cargo test --workspace builds it)");
    }
    let mut running = Running::command(Command::new(program).stdin(Stdio::piped()));
    running.line();
    let tally = tour(&mut running, &["tokio_service::answer"], |running| running.say("how many words\n"));
    assert_eq!(running.line(), "3 words, 6 counted", "it answers");
    assert_agrees("tokio", &tally, 100, 300);
}
