//! Four kinds of programs at work, their frames compared with gdb's: SQLite's shell, a service on tokio, a monitor of Ceph
//! (C++ at -O2 with its package of debug info, which is Debian's), and this debugger itself. A part of it is an ordinary
//! test; `./x compare` runs the whole, and writes `docs/COMPARISON.md`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use outpost_testkit::{Build, Compiler, skip};

use crate::explained::{Explained, Tally};
use crate::locals_of_programs::{assert_agrees, sqlite_source};
use crate::tours::Tour;

/// Work for SQLite: each kind of statement and function, a sort that does not fit in memory, and errors.
const STATEMENTS: &str = "\
create table item(id integer primary key, name text, price real, tags text);
create index by_price on item(price); create index by_name on item(name collate nocase);
create table sale(item int references item(id) on delete cascade, at text, count int, primary key(item, at)) without rowid;
create trigger sold after insert on sale begin update item set price = price * 1.001 where id = new.item; end;
with recursive n(i) as (select 1 union all select i + 1 from n where i < ROWS) insert into item \
select i, printf('thing %d %x', i, i * 7919), (i * 37 % 1000) / 7.0, json_array(i, i % 3, 'x' || i) from n;
insert into sale select id, date('2020-01-01', id || ' days'), id % 17 from item where id % 3;
select count(*), sum(price), avg(price), group_concat(distinct id % 5) from item;
select name, rank() over (partition by id % 7 order by price desc) r, sum(price) over (order by id rows 5 preceding) \
from item order by r, name limit 20;
select i.name, s.at from item i join sale s on s.item = i.id where i.price between 20 and 60 and s.count > 3 \
order by s.at desc limit 40;
select json_extract(item.tags, '$[2]'), json_group_array(item.id) from item, json_each(item.tags) e \
where e.value = 1 group by 1 limit 10;
create view dear as select * from item where price > (select avg(price) from item);
select count(*) from dear where name like '%7%' or name glob 't*f';
explain query plan select * from item where name like 'thing 1%' union select * from dear \
except select * from item where id in (select item from sale where count = 4);
analyze; select * from sqlite_stat1; pragma integrity_check;
update item set name = upper(name) where id in (select item from sale order by count limit 500);
delete from item where id % 11 = 0; savepoint a; delete from sale; rollback to a; release a;
select strftime('%Y-%m', at) m, total(count) from sale group by m having m > '2021' order by 2 limit 5;
.mode box
select id, name, price from item limit 15;
.schema
.mode csv
select * from item limit 300;
.dump sale
vacuum; reindex;
with recursive fib(a, b) as (select 0, 1 union all select b, a + b from fib limit 60) select group_concat(a, ' ') from fib;
select hex(randomblob(20)), quote(zeroblob(3)), round(2.5), instr('abc', 'c'), replace('aXbX', 'X', '--'), trim('  a ');
select * from nosuch; select 1 +;
";

/// Work for this debugger: SQLite's shell, stopped, looked at, and looked at again at each of many breakpoints.
const COMMANDS: &str = "\
bp sqlite3_step
g
k
dv
.frame 1
dv -v
x sqlite_shell!sqlite3V*
dt -r1 sqlite3
?? sizeof(sqlite3)
dt -v Vdbe
u
~*k
p
t
gu
bc *
bp sqlite3VdbeExec \".printf \\\"%p\\\\n\\\", @rip; k 3; dv; .frame 2; dv; gc\"
bp sqlite3BtreeInsert \"dv; dx pX; gc\"
g
q
";

/// SQLite's shell as Debian builds it: optimised, with debug info.
fn sqlite_shell() -> PathBuf {
    let folder = sqlite_source();
    let library = folder.join("sqlite3.c");
    let flags = format!("-g -O2 -I {} {} -lm -ldl", folder.display(), library.display());
    Build::source(Compiler::Gcc, "sqlite_shell", "#include \"shell.c\"\n").flags(&flags).path()
}

fn sqlite(rows: usize, folder: &Path, tour: Tour) -> Tour {
    let script = folder.join("work.sql");
    fs::write(&script, STATEMENTS.replace("ROWS", &rows.to_string())).unwrap();
    let arguments = format!("-batch :memory: < {} > /dev/null 2>&1", script.display());
    Tour { program: sqlite_shell(), arguments, folder: folder.to_owned(), ..tour }
}

/// The example of testkit, if it was built beside this program.
fn tokio_store(folder: &Path, tour: Tour) -> Option<Tour> {
    let program = Path::new(env!("CARGO_BIN_EXE_cdb")).with_file_name("examples").join("tokio_store");
    let arguments = "100000 > /dev/null".to_owned();
    program.exists().then(|| Tour { program, arguments, folder: folder.to_owned(), ..tour })
}

/// This debugger, which debugs SQLite's shell.
fn cdb(folder: &Path, tour: Tour) -> Tour {
    let rows = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)";
    let statements =
        format!("create table t(a, b, c); {rows} insert into t select i, i * 2, 'x' || i from n; select 1;");
    fs::write(folder.join("work.sql"), statements).unwrap();
    fs::write(folder.join("commands"), COMMANDS).unwrap();
    let shell = sqlite_shell();
    let arguments =
        format!("-cf commands {} :memory: \".read work.sql\" < /dev/null > /dev/null 2>&1", shell.display());
    Tour { program: env!("CARGO_BIN_EXE_cdb").into(), arguments, folder: folder.to_owned(), ..tour }
}

/// A monitor of Ceph that is its own cluster; it elects itself, writes its store, and serves until it is ended.
fn ceph_monitor(folder: &Path, tour: Tour) -> Tour {
    // Nobody else gets the port soon.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = format!("v1:127.0.0.1:{port}");
    let cluster = "a7f64266-0894-4f1e-a635-d0aeaca0e993";
    let here = folder.display();
    let settings = format!(
        "[global]\nfsid = {cluster}\nmon host = {place}\nauth cluster required = none\nauth service required = none\n\
         auth client required = none\nmon data = {here}/data\nrun dir = {here}\nlog file = {here}/log\n\
         mon cluster log file = {here}/cluster.log\nmon data avail crit = 0\n"
    );
    fs::write(folder.join("ceph.conf"), settings).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("monmaptool", &["--create", "--addv", "a", &format!("[{place}]"), "--fsid", cluster, "--clobber", "map"]);
    run("ceph-mon", &["-c", "ceph.conf", "--mkfs", "-i", "a", "--monmap", "map"]);
    let arguments = "-c ceph.conf -i a -f > /dev/null 2>&1".to_owned();
    Tour { program: "/usr/bin/ceph-mon".into(), arguments, folder: folder.to_owned(), ..tour }
}

#[test]
fn sqlite_shell_agrees_with_gdb() {
    let folder = tempfile::tempdir().unwrap();
    let tour = sqlite(20_000, folder.path(), Tour { stops: 20, pause: "0.03", ..Tour::default() });
    assert_agrees("sqlite3's shell -O2", &tour.compare(), 100, 1000);
}

#[test]
fn tokio_store_agrees_with_gdb() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tour) = tokio_store(folder.path(), Tour { stops: 2, every: 40, ..Tour::default() }) else {
        return skip("the tokio examples of testkit are not built (cargo build --workspace --examples builds them)");
    };
    assert_agrees("a store on tokio", &tour.compare(), 100, 300);
}

/// What `./x compare` runs. It needs this debugger and the examples optimised with all debug info, and Debian's Ceph.
#[test]
#[ignore = "takes many minutes; ./x compare runs it"]
fn everything() {
    let folders: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let [shell, store, monitor, debugger] = [0, 1, 2, 3].map(|number| folders[number].path());
    let long = || Tour { limit: 3000, ..Tour::default() };
    let store = tokio_store(store, Tour { stops: 12, ..long() }).expect("./x compare builds it");
    let many = Tour { places: 20_000, stops: 24, every: 12, pause: "0.15", ..long() };
    let tours = [
        ("SQLite's shell, C by gcc -O2", sqlite(100_000, shell, Tour { stops: 60, ..long() })),
        ("a store on tokio, Rust at opt-level 3", store),
        (
            "Ceph's monitor, Debian's C++ by g++ -O2",
            ceph_monitor(monitor, Tour { stops: 10, every: 6, pause: "0.5", ..long() }),
        ),
        ("this debugger, Rust at opt-level 3", cdb(debugger, many)),
    ];
    let only = std::env::var("OUTPOST_COMPARE").unwrap_or_default();
    let chosen = tours.into_iter().filter(|(name, _)| name.contains(&only));
    let compared: Vec<(&str, Tally)> = chosen
        .map(|(name, tour)| {
            let tally = tour.compare();
            assert!(2 * tally.stops >= tour.stops, "{name} ended after {} stops", tally.stops);
            println!("{name}: {}", tally.summary());
            tally.differences.iter().for_each(|difference| println!("unexplained: {difference}"));
            (name, tally)
        })
        .collect();
    if only.is_empty() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/COMPARISON.md");
        fs::write(page, document(&compared)).unwrap();
    }
    let unexplained: usize = compared.iter().map(|(_, tally)| tally.differences.len()).sum();
    assert_eq!(unexplained, 0, "differences that nobody explains");
    let frames: usize = compared.iter().map(|(_, tally)| tally.distinct.len()).sum();
    assert!(frames >= 500 || !only.is_empty(), "only {frames} frames that are not alike");
}

fn document(compared: &[(&str, Tally)]) -> String {
    let mut page = String::from(HEAD);
    for (name, tally) in compared {
        let Tally { stops, frames, distinct, variables, types, parts, gone, differences, .. } = tally;
        let explained: usize = tally.explained.values().map(|class| class.count).sum();
        let (distinct, unexplained) = (distinct.len(), differences.len());
        let counts = [*stops, *frames, distinct, *variables, *types, *parts, *gone, explained, unexplained];
        let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
        writeln!(page, "| {name} | {} |", counts.join(" | ")).unwrap();
    }
    page += "\n## Differences\n";
    let mut classes: Vec<Explained> = compared.iter().flat_map(|(_, tally)| tally.explained.keys().copied()).collect();
    classes.sort_unstable();
    classes.dedup();
    for class in classes {
        writeln!(page, "\n### {class:?}\n").unwrap();
        let counts = compared.iter().map(|(name, tally)| (name, tally.count(class))).filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts.map(|(name, count)| format!("{count} in {name}")).collect();
        writeln!(page, "Right: {}. Seen {}.\n", class.who_is_right(), counts.join("; ")).unwrap();
        let mut line = String::new();
        for word in class.text().split_whitespace() {
            if line.len() + word.len() > 118 {
                writeln!(page, "{}", line.trim_end()).unwrap();
                line.clear();
            }
            line += word;
            line.push(' ');
        }
        writeln!(page, "{}\n", line.trim_end()).unwrap();
        let example = compared.iter().find_map(|(_, tally)| tally.explained.get(&class)).unwrap().example.as_str();
        writeln!(page, "    {}", shortened(example)).unwrap();
    }
    let left: Vec<&String> = compared.iter().flat_map(|(_, tally)| &tally.differences).collect();
    if !left.is_empty() {
        page += "\n## Not explained\n\n";
        left.iter().for_each(|difference| writeln!(page, "    {difference}").unwrap());
    }
    page
}

/// An example without the middle of long names.
fn shortened(example: &str) -> String {
    let letters: Vec<char> = example.chars().collect();
    match letters.len() {
        0..400 => example.to_owned(),
        length => letters[..200].iter().chain(&[' ', '…', ' ']).chain(&letters[length - 190..]).collect(),
    }
}

const HEAD: &str = "\
# Beside gdb

`./x compare` stops programs at work at places drawn by chance in the middle of their functions, and wherever their threads
happen to be, keeps each stop as a core, and compares every frame of every thread with gdb's: function, inlined or not,
program counter; each variable by name and block; its type, the names, places and sizes of members down to the sixth level;
its value, member by member, element by element, and what references refer to. This page is what the last run wrote;
`bins/cdb/tests/real/compared.rs` has the programs and their work, `crates/symbols/tests/oracle/` the comparison.

*Distinct* are frames at another instruction or of another function; threads that wait have the same ones at each stop.
*Without value* is what neither debugger can tell. *Explained* are differences of the classes below.

| Program | Stops | Frames | Distinct | Variables | Types | Values | Without value | Explained | Unexplained |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";
