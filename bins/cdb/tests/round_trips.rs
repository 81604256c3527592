//! What an action costs on the link, by what `.linkstats` says: the budgets of a session as users have it, from `cdb` over
//! tcp to a `dbgsrv`, on a process of 1,000 threads and 100 modules.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "real/client.rs"]
mod client;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outpost_testkit::{Build, Compiler, ProcessServer, Running, skip};

use client::cdb;

const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>
static sem_t ready;
static void *wait_here(void *argument) {
    sem_post(&ready);
    for (;;) pause();
    return argument;
}
static int leaf(int number) {
    return number * 3;
}
static int work(std::vector<int> &numbers, std::map<int, std::string> &words) {
    int sum = 0;
    for (int number : numbers) sum += number; // loop
    sum += leaf(sum); // call
    sum += words.size(); // after
    return sum;
}
int main(int argc, char **argv) {
    char path[4096], line[16];
    for (int number = 0; number < atoi(argv[2]); number++) {
        snprintf(path, sizeof path, "%s/lib%d.so", argv[1], number);
        if (!dlopen(path, RTLD_NOW)) return 1;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    for (int number = 0; number < 999; number++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, wait_here, nullptr)) return 2;
    }
    for (int number = 0; number < 999; number++) sem_wait(&ready);
    std::vector<int> numbers;
    std::map<int, std::string> words;
    for (int number = 0; number < 1000; number++) {
        numbers.push_back(number);
        words[number * 7919 % 1000] = "number " + std::to_string(number);
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) printf("%d\n", work(numbers, words)), fflush(stdout);
    return 0;
}
"#;

/// The program itself, the C++ and C libraries with what they need, the loader and the vdso are the others.
const LIBRARIES: usize = 94;

fn program() -> PathBuf {
    Build::source(Compiler::Gxx, "budgets", PROGRAM).flags("-g -O0").path()
}

/// Copies of one library, told apart by their build-ids.
fn libraries(folder: &Path) {
    let one = Build::source(Compiler::Gcc, "libone.so", "int one(void) { return 1; }").flags("-shared -fPIC -g").path();
    let bytes = std::fs::read(one).unwrap();
    // An ELF note: sizes of name and description, type NT_GNU_BUILD_ID, name.
    let note = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0];
    let at = bytes.windows(note.len()).position(|window| window == note).unwrap() + note.len();
    for number in 0..LIBRARIES {
        let mut copy = bytes.clone();
        copy[at] = number as u8;
        std::fs::write(folder.join(format!("lib{number}.so")), copy).unwrap();
    }
}

fn start(folder: &Path) -> Running {
    libraries(folder);
    let mut command = Command::new(program());
    command.arg(folder).arg(LIBRARIES.to_string()).stdin(Stdio::piped());
    let mut running = Running::command(&mut command);
    assert_eq!(running.line(), "ready");
    running
}

/// Carries out each command and gives what was said in all, and the round trips that each took.
fn costs(server: &ProcessServer, running: &mut Running, commands: &[&str]) -> (String, Vec<u64>) {
    let (text, costs) = costs_and_bytes(server, running, commands);
    (text, costs.into_iter().map(|(trips, _)| trips).collect())
}

/// As [`costs`], with the bytes that came.
fn costs_and_bytes(server: &ProcessServer, running: &mut Running, commands: &[&str]) -> (String, Vec<(u64, u64)>) {
    // The first report closes the account of attaching.
    let script = std::iter::once(".linkstats").chain(commands.iter().flat_map(|command| [*command, ".linkstats"]));
    let script = script.chain(["bc *", "qd"]).collect::<Vec<_>>().join("; ");
    let pid = running.pid();
    let text = cdb(server, pid, &script, || running.say("work\n"));
    let recent = |row: &str| -> Vec<u64> {
        let rows = text.lines().filter_map(|line| line.trim().strip_prefix(row));
        rows.map(|numbers| numbers.split_whitespace().next().unwrap().parse().unwrap()).collect()
    };
    let recent: Vec<_> = recent("round trips").into_iter().zip(recent("bytes received")).collect();
    assert_eq!(recent.len(), commands.len() + 1, "{text}");
    (text, recent)
}

/// The lines of one command's output.
fn said<'a>(text: &'a str, from: &str) -> &'a str {
    text.split_once(from).unwrap_or_else(|| panic!("no {from}: {text}")).1
}

#[test]
fn attaching_to_a_thousand_threads_and_a_hundred_modules_costs_four_and_all_stacks_two() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path());
    let server = ProcessServer::start();
    let (text, trips) = costs(&server, &mut running, &["k", "lm", "~*k", "~*k"]);
    // From nothing to the prompt: connecting and authenticating are in it.
    assert!(trips[0] <= 4, "attach: {trips:?}");
    assert_eq!(trips[1..3], [0, 0], "the stack and the modules came along");
    assert_eq!(text.lines().filter(|line| line.contains(" Suspend: ")).count(), 2 * 1000);
    assert!(text.matches("budgets!wait_here").count() >= 2 * 999, "{trips:?}");
    let modules = said(&text, "module name").split("round trips").next().unwrap();
    assert!(modules.lines().filter(|line| line.contains('`')).count() >= 100, "{modules}");
    assert!(trips[3] <= 2, "all stacks: {trips:?}");
    assert_eq!(trips[4], 0, "all stacks again: {trips:?}");
}

#[test]
fn looking_around_costs_nothing_a_step_one_and_a_container_two() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path());
    let server = ProcessServer::start();
    let budgets: &[(&str, u64)] = &[
        ("bp budgets!work", 0),
        ("l+t", 0),
        // Setting the breakpoint and running.
        ("g", 2),
        ("k", 0),
        ("r", 0),
        ("u", 0),
        ("?? sum", 0),
        ("?? numbers", 2),
        // All thousand elements, a line each.
        ("dt -a words", 2),
        ("?? words", 0),
        ("p", 1),
        // What was read at one stop comes with the next.
        ("?? numbers", 0),
        ("?? numbers[500]", 2),
        // One of a thousand entries: all keys are compared.
        ("?? words[77]", 2),
        // Over the whole loop.
        ("p", 1),
        // Into a function that was sent ahead.
        ("t", 1),
        ("k", 0),
        ("dv", 0),
        ("gu", 1),
        ("p", 1),
        ("pt", 1),
        // Each of several is shown, and they cost as one does.
        ("l-t", 0),
        ("t 4", 1),
        ("tt 3", 1),
    ];
    let commands: Vec<&str> = budgets.iter().map(|(command, _)| *command).collect();
    let (text, trips) = costs(&server, &mut running, &commands);
    for ((command, budget), spent) in budgets.iter().zip(&trips[1..]) {
        assert!(spent <= budget, "{command}: {spent} round trips, {budget} allowed: {trips:?} {text}");
    }
    assert_eq!(text.matches("size=1000").count(), 3, "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("   [0n")).count(), 1000, "{text}");
    // 7919 * 283 is 77 modulo 1000.
    assert!(text.contains("> \"number 283\""), "{text}");
    assert!(text.contains("number 679") && text.contains("budgets!leaf"), "{text}");
    let line = |mark: &str| PROGRAM.lines().position(|line| line.contains(mark)).unwrap() + 1;
    let shown = |mark: &str| text.contains(&format!("budgets.cpp @ {}]", line(mark)));
    assert!(shown("// loop") && shown("// call"), "the loop took one step: {text}");
}

/// Nothing of these was read before: a query fetches what all elements need at once, and so does a listing.
#[test]
fn objects_cost_what_their_containers_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path());
    let server = ProcessServer::start();
    let budgets: &[(&str, u64)] = &[
        ("bp budgets!work", 0),
        ("g", 2),
        ("dx words.Where(w => w.second.Length > 9).Count()", 2),
        ("dx -c1000 words", 0),
        ("dx -c1000 numbers", 2),
        ("dx numbers.OrderByDescending(n => n).First()", 0),
        // Stacks of a thousand threads.
        ("dx @$curprocess.Threads.Sum(t => t.Stack.Frames.Count(f => f.Attributes.Function == \"wait_here\"))", 2),
    ];
    let commands: Vec<&str> = budgets.iter().map(|(command, _)| *command).collect();
    let (text, trips) = costs(&server, &mut running, &commands);
    for ((command, budget), spent) in budgets.iter().zip(&trips[1..]) {
        assert!(spent <= budget, "{command}: {spent} round trips, {budget} allowed: {trips:?} {text}");
    }
    // Of 1,000 numbers 100 have less than three digits.
    assert!(text.contains(".Count() : 0x384\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains(" : \"number ")).count(), 1000, "{text}");
    assert_eq!(text.lines().filter(|line| line.ends_with(" [Type: int]")).count(), 1000 + 1, "{text}");
    assert!(text.contains("First() : 999 [Type: int]") && text.contains(")) : 999\n"), "{text}");
}

/// Elements by views cost what those of known containers do; the nodes of a list lie near each other, as an allocator has them.
#[test]
fn a_thousand_elements_by_a_view_cost_two() {
    const SHOWN: &str = r#"
        #include <stdio.h>
        struct point { int x, y; };
        struct many { point *items; long used; };
        struct link { int value; link *next; };
        struct chain { link *first; };
        volatile int sink;
        __attribute__((noinline)) void work(many *points, chain *links) { sink = points->used + links->first->value; }
        int main() {
            char line[16];
            many points{new point[1000], 1000};
            chain links{nullptr};
            for (int at = 0; at < 1000; at++) {
                points.items[at] = point{at, -at};
                links.first = new link{at, links.first};
            }
            puts("ready");
            fflush(stdout);
            while (fgets(line, sizeof line, stdin)) work(&points, &links);
        }"#;
    const VIEWS: &str = r#"<AutoVisualizer>
        <Type Name="point"><DisplayString>at {x}, {y}</DisplayString></Type>
        <Type Name="many"><Expand>
            <ArrayItems><Size>used</Size><ValuePointer>items</ValuePointer></ArrayItems>
        </Expand></Type>
        <Type Name="chain"><Expand><LinkedListItems>
            <HeadPointer>first</HeadPointer><NextPointer>next</NextPointer><ValueNode>value</ValueNode>
        </LinkedListItems></Expand></Type>
    </AutoVisualizer>"#;
    let folder = tempfile::tempdir().unwrap();
    let views = folder.path().join("shown.natvis");
    std::fs::write(&views, VIEWS).unwrap();
    let load = format!(".nvload {}", views.display());
    let mut command = Command::new(Build::source(Compiler::Gxx, "shown", SHOWN).flags("-g -O0").path());
    let mut running = Running::command(command.stdin(Stdio::piped()));
    assert_eq!(running.line(), "ready");
    let server = ProcessServer::start();
    let commands = [
        "bp shown!work",
        "g",
        &load,
        "dx -c1000 points",
        "dx points.Sum(p => p.x)",
        "dx -c1000 links",
        "dx links.Count()",
    ];
    let (text, trips) = costs(&server, &mut running, &commands);
    assert_eq!(text.lines().filter(|line| line.contains(" : at ")).count(), 1000, "{text}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("    [") && line.ends_with(" [Type: int]")).count(),
        1000,
        "{text}"
    );
    assert!(text.contains(" : 499500\n") && text.contains(" : 0x3e8\n"), "{text}");
    assert!(trips[4] <= 2 && trips[5] == 0, "an array and a query over it: {trips:?}");
    assert!(trips[6] <= 2 && trips[7] == 0, "a list and its length: {trips:?}");
}

/// What the shown instructions read was read a round ago, which is not the last stop.
#[test]
fn stepping_round_a_loop_costs_one_a_step() {
    const LOOP: &str = r#"
        #include <stdio.h>
        volatile long total;
        __attribute__((noinline)) long work(long number) {
            total += number;
            return total;
        }
        int main(void) {
            char line[16];
            puts("ready");
            fflush(stdout);
            while (fgets(line, sizeof line, stdin)) {
                for (long number = 0; number < 1000; number++) work(number);
            }
            return 0;
        }"#;
    let mut command = Command::new(Build::source(Compiler::Gcc, "rounds", LOOP).flags("-g -O0").path());
    let mut running = Running::command(command.stdin(Stdio::piped()));
    assert_eq!(running.line(), "ready");
    let server = ProcessServer::start();
    let commands = [vec!["bp rounds!work", "g", "bc *", "l+t"], vec!["t"; 20]].concat();
    let (text, trips) = costs(&server, &mut running, &commands);
    let steps = &trips[trips.len() - 20..];
    assert!(text.matches("rounds!work").count() > 20, "{text}");
    assert!(steps[..8].iter().sum::<u64>() <= 8 + 4, "the first round: {steps:?}");
    assert_eq!(steps[8..], [1; 12], "{steps:?}");
}

/// Hits that go on by themselves, whether by a false condition, a pass or their commands, are counted where they are.
#[test]
fn hits_that_go_on_cost_nothing() {
    const HITS: &str = r#"
        #include <stdio.h>
        __attribute__((noinline)) void plain(int number) { __asm__ volatile("" :: "r"(number)); }
        __attribute__((noinline)) void done(void) { __asm__ volatile(""); }
        int main(void) {
            char line[16];
            puts("ready");
            fflush(stdout);
            while (fgets(line, sizeof line, stdin)) {
                for (int number = 0; number < 500; number++) plain(number);
                done();
            }
            return 0;
        }"#;
    let mut command = Command::new(Build::source(Compiler::Gcc, "hits", HITS).flags("-g -O1").path());
    let mut running = Running::command(command.stdin(Stdio::piped()));
    assert_eq!(running.line(), "ready");
    let server = ProcessServer::start();
    let script = ["bp hits!plain \"gc\"; bp hits!done; g", "bl 0"];
    let (text, trips) = costs(&server, &mut running, &script);
    assert!(text.contains("Breakpoint 1 hit") && !text.contains("Breakpoint 0 hit"), "{text}");
    // Setting the breakpoints and running.
    assert!(trips[1] <= 2, "{trips:?}");
    let script = ["bp hits!plain \".printf \\\"it is %d\\n\\\", @edi; gc\"; bp hits!done; g", "bl 0"];
    let (text, trips) = costs(&server, &mut running, &script);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("it is ")).collect();
    let expected: Vec<String> = (0..500).map(|number| format!("it is {number}")).collect();
    assert_eq!(lines, expected, "{text}");
    assert!(trips[1] <= 2, "{trips:?}");
    // What the target says of conditions comes with the answer to setting them, or by one question after each run.
    let script = ["bp /w \"number == 900\" hits!plain; bl", "bl", "bp hits!done; bl", "g", "bl", "bl"];
    let (text, trips) = costs(&server, &mut running, &script);
    assert_eq!(trips[1..], [1, 0, 1, trips[4], 1, 0], "{text}");
    let why = "(evaluated beside the target: another breakpoint is within the bytes of a jump)";
    assert_eq!(text.matches(why).count(), 2, "{text}");
    let pid = running.pid();
    let text =
        cdb(&server, pid, "bp hits!plain 0n499 \"gc\"; bp /w \"number == 499\" hits!plain; g; r rdi; bc *; qd", || {
            running.say("work\n");
        });
    assert!(text.contains("rdi=00000000000001f3"), "{text}");
}

/// A program whose file this machine does not have: of its 32 MiB the symbols come, by few round trips.
#[test]
fn of_a_file_that_only_the_server_has_the_sections_needed_come() {
    const LARGE: &str = r#"
        #include <stdio.h>
        unsigned char blob[32 << 20] = { 1 };
        int answer(int number) { return number + blob[number]; }
        int main(void) {
            char line[16];
            puts("ready");
            fflush(stdout);
            while (fgets(line, sizeof line, stdin)) printf("%d\n", answer(0)), fflush(stdout);
            return 0;
        }"#;
    let program = Build::source(Compiler::Gcc, "elsewhere", LARGE).flags("-g -O0").path();
    // In a namespace of its own the program runs from a folder that is empty for everybody else.
    let folder = tempfile::tempdir().unwrap();
    let script = "mount --bind \"$1\" \"$2\" && exec \"$2\"/elsewhere";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]);
    command.arg(program.parent().unwrap()).arg(folder.path()).stdin(Stdio::piped());
    let mut running = Running::command(&mut command);
    if running.line() != "ready" {
        return skip("user namespaces are not allowed here, so no file can be hidden");
    }
    let server = ProcessServer::start();
    let script = ["k", "bp elsewhere!answer", "g", "k; dv", "lm"];
    let (text, costs) = costs_and_bytes(&server, &mut running, &script);
    assert!(text.contains("elsewhere!answer") && text.contains("number = 0n0"), "{text}");
    let bytes: u64 = costs.iter().map(|(_, bytes)| bytes).sum();
    let size = std::fs::metadata(program).unwrap().len();
    assert!(size > 32 << 20 && bytes < 1 << 20, "{bytes} of {size}: {costs:?}");
    // The file is opened, its headers come, then what symbols, lines and unwinding need.
    let symbols = costs[1].0;
    assert!((2..=4).contains(&symbols), "{costs:?}");
    assert_eq!([costs[2].0, costs[3].0, costs[4].0], [0, 2, 0], "a breakpoint by name, going on, variables: {costs:?}");
}
