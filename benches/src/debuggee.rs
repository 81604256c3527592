//! The programs that are debugged.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use outpost_testkit::{Build, Compiler};

/// Rounds of as many calls of `work` as the argument says, each round closed by `done`. Holds 256 MiB and prints where; with
/// a second argument, the seconds of a round, too.
const SPIN: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
volatile long total;
__attribute__((noinline)) long work(long value) {
    total += value;
    return total;
}
__attribute__((noinline)) void done(void) {
    total = 0;
}
int main(int argc, char **argv) {
    long calls = argc > 1 ? atol(argv[1]) : 1000;
    size_t size = (256u << 20) + 4096;
    unsigned char *block = malloc(size);
    for (size_t at = 0; at + 8 <= size; at += 8) *(unsigned long *)(block + at) = at * 0x9e3779b97f4a7c15u;
    printf("%lx\n", (unsigned long)block);
    fflush(stdout);
    for (;;) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (long call = 0; call < calls; ++call) work(call);
        clock_gettime(CLOCK_MONOTONIC, &end);
        done();
        if (argc > 2) {
            printf("%f\n", end.tv_sec - begin.tv_sec + (end.tv_nsec - begin.tv_nsec) / 1e9);
            fflush(stdout);
        }
    }
}
"#;

/// Threads that wait a few frames deep.
const THREADS: &str = r#"
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static sem_t ready;
__attribute__((noinline)) int wait_here(int depth) {
    if (depth > 0) return wait_here(depth - 1) + 1;
    sem_post(&ready);
    for (;;) pause();
}
static void *body(void *argument) { return (void *)(long)wait_here(5 + ((long)argument & 3)); }
int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 200;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    sem_init(&ready, 0, 0);
    for (long number = 0; number < count; ++number) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, body, (void *)number)) return 1;
    }
    for (int number = 0; number < count; ++number) sem_wait(&ready);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
"#;

/// The spinning program.
pub(crate) fn spin() -> PathBuf {
    Build::source(Compiler::Gcc, "spin", SPIN).flags("-g -O0").path()
}

/// The program of many threads.
pub(crate) fn threads() -> PathBuf {
    Build::source(Compiler::Gcc, "threads", THREADS).flags("-g -O1").path()
}

/// A C++ program with at least 300 MB of DWARF, linked from parts that differ in every name. Built once, in minutes.
pub(crate) fn large(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = root.join("target/debuggees/large");
    let program = folder.join("large");
    if program.exists() {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("part.cpp"), part_source())?;
    let next = AtomicUsize::new(0);
    let compile_rest = || -> anyhow::Result<()> {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= PARTS {
                return Ok(());
            }
            let object = folder.join(format!("part{part}.o"));
            // A run that was ended goes on where it was.
            if object.exists() {
                continue;
            }
            let unfinished = format!("part{part}.unfinished");
            let mut command = Command::new("g++");
            command.args(["-g", "-O0", "-c", "part.cpp", &format!("-DPART={part}"), "-o", &unfinished]);
            anyhow::ensure!(command.current_dir(&folder).status()?.success(), "part {part} does not compile");
            std::fs::rename(folder.join(unfinished), object)?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(compile_rest)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("a compiler thread ended")))
    })?;
    let mut main = String::new();
    (0..PARTS).for_each(|part| writeln!(main, "int part{part}_run();").unwrap_or_default());
    main.push_str("int main() {\n int sum = 0;\n");
    (0..PARTS).for_each(|part| writeln!(main, " sum += part{part}_run();").unwrap_or_default());
    main.push_str(" return sum & 1;\n}\n");
    std::fs::write(folder.join("main.cpp"), main)?;
    let objects = (0..PARTS).map(|part| format!("part{part}.o"));
    let mut command = Command::new("g++");
    command.args(["-g", "main.cpp", "-o", "large"]).args(objects).current_dir(&folder);
    anyhow::ensure!(command.status()?.success(), "the parts do not link");
    (0..PARTS).for_each(|part| drop(std::fs::remove_file(folder.join(format!("part{part}.o")))));
    Ok(program)
}

/// Parts of [`large`], and namespaces in each.
const PARTS: usize = 56;
const SPACES: usize = 45;

fn part_source() -> String {
    let mut source = String::from(
        "#include <functional>\n#include <map>\n#include <string>\n#include <vector>\n\
         #define GLUE2(a, b) a##b\n#define GLUE(a, b) GLUE2(a, b)\n#define SPACE(n) GLUE(GLUE(part, PART), _##n)\n",
    );
    for number in 0..SPACES {
        let _ = write!(source, "{}", TABLE.replace("NUMBER", &number.to_string()));
    }
    source.push_str("int GLUE(GLUE(part, PART), _run)() {\n int sum = 0;\n");
    for number in 0..SPACES {
        let _ = writeln!(source, " {{ SPACE({number})::Table table; sum += table.find(\"a\", 9); }}");
    }
    source.push_str(" return sum;\n}\n");
    source
}

/// Each struct gives types of its own to every template below it, and they are what debug info is full of.
const TABLE: &str = r#"
namespace SPACE(NUMBER) {
struct Item { int id; std::string name; double weight[4]; Item *next; };
struct Table {
    std::map<std::string, Item> items;
    std::vector<Item> order;
    std::map<int, std::vector<Item>> by;
    std::function<int(const Item &)> key;
    int find(const std::string &name, int limit);
};
int Table::find(const std::string &name, int limit) {
    int found = 0;
    for (auto &entry : items)
        if (entry.first == name && entry.second.id < limit) {
            order.push_back(entry.second);
            by[limit].push_back(entry.second);
            ++found;
        }
    return key ? key(order.back()) + found : found;
}
}
"#;
