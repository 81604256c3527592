//! Hits that are written down by the debuggee itself, against a program that knows how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use outpost_base::{Arch, ProcessId};
use outpost_engine::code::{JumpPlan, make_jump, make_pad};
use outpost_remote::{Options, RemoteTarget};
use outpost_target::condition::{Assembler, Condition, Op};
use outpost_target::*;
use outpost_testkit::{Build, Compiler, Running, text_differences};

use crate::debuggee::{LIMIT, attach, breakpoint, event, live, run, space, symbol};
use crate::links::over_a_pair;

/// The first number, which is no address.
const FIRST: u64 = 1 << 40;

/// Threads that each call `note` so often, and pause after so many calls, once a line has come; 0 is its end if all was added up.
const NOTES: &str = r#"
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    #define FIRST (1L << 40)
    unsigned long count, pause_after, total;
    const char *names[4] = {"worker-0", "worker-1", "worker-2", "a worker with a long name"};
    __attribute__((noinline)) void note(long thread, long n, const char *name) {
        __atomic_add_fetch(&total, n, __ATOMIC_RELAXED);
        __asm__ volatile("" :: "r"(thread), "r"(name));
    }
    static void *work(void *thread) {
        for (unsigned long n = 0; n < count; n++) {
            note((long)thread, FIRST + n, names[(long)thread]);
            if (pause_after && n % pause_after == 0) usleep(200);
        }
        return 0;
    }
    int main(int argc, char **argv) {
        pthread_t threads[4];
        char line[16];
        count = atol(argv[1]), pause_after = atol(argv[2]);
        puts("ready");
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin)) return 2;
        for (long i = 0; i < 4; i++) if (pthread_create(&threads[i], 0, work, (void *)i)) return 3;
        for (long i = 0; i < 4; i++) pthread_join(threads[i], 0);
        return total == 4 * (count * FIRST + count * (count - 1) / 2) ? 0 : 1;
    }
"#;

/// Far from small numbers: what looks like an address of ours keeps our mappings where they are.
fn program() -> std::path::PathBuf {
    Build::source(Compiler::Gcc, "notes", NOTES).flags("-g -O1 -fpie -pie -pthread").path()
}

struct Noting {
    running: Running,
    remote: RemoteTarget,
    process: ProcessId,
    /// What is mapped, without the debugger.
    maps: String,
}

/// What comes of a run.
#[derive(Default)]
struct Told {
    records: Vec<LogRecord>,
    dropped: u64,
}

impl Noting {
    fn start(count: u64, pause_after: u64) -> Noting {
        let mut command = std::process::Command::new(program());
        command.args([count.to_string(), pause_after.to_string()]).stdin(std::process::Stdio::piped());
        let mut running = Running::command(&mut command);
        assert_eq!(running.line(), "ready");
        let maps = maps(running.pid());
        let mut remote = over_a_pair(Options::default());
        attach(&mut remote, running.pid());
        let process = ProcessId(running.pid());
        Noting { running, remote, process, maps }
    }

    /// Logs `note`, of whose hits those count that are of these threads and for which the condition holds.
    fn log(&mut self, condition: Option<Condition>, skip: u64, threads: ThreadFilter) {
        let image = self.remote.modules(self.process).unwrap()[0].range.start;
        let at = image + symbol(&program(), "note").0;
        let space = space(&mut self.remote, self.process);
        let argument = |name, text| LogArgument { value: register(name), text };
        let log = LogPlan { arguments: vec![argument("rdi", 0), argument("rsi", 0), argument("rdx", 16)] };
        let mut code = [0; 32];
        assert_eq!(self.remote.read_memory(space, at, &mut code).unwrap(), code.len());
        let id = BreakpointId(1);
        let plan = JumpPlan {
            condition: condition.as_ref(),
            passes: skip > 0,
            log: Some((id, &log)),
            one_thread: threads != ThreadFilter::All,
        };
        let jump = Some(Box::new(make_jump(Arch::X86_64, at, &code, plan).unwrap()));
        let pad = Some(make_pad(Arch::X86_64, at, &code).unwrap());
        let spec = BreakpointSpec { condition, skip, threads, log: Some(log), pad, jump, ..breakpoint(1, space, at) };
        let answers = self.remote.change_breakpoints(&[BreakpointChange::Set(spec)]).unwrap();
        assert!(answers[0].as_ref().unwrap().logs);
    }

    fn go(&mut self) {
        run(&mut self.remote);
        self.running.say("go\n");
    }

    /// Waits for the end of the program, or until so many records have come.
    fn take(&mut self, enough: usize) -> (Told, Option<StopBundle>) {
        let (mut told, begin) = (Told::default(), Instant::now());
        while told.records.len() < enough {
            match event(&mut self.remote) {
                Event::Logged { records, dropped } => {
                    told.records.extend(records);
                    told.dropped += dropped.iter().map(|(_, count)| count).sum::<u64>();
                }
                Event::Stopped(bundle) => return (told, Some(bundle)),
                _ => {}
            }
            assert!(begin.elapsed() < 3 * LIMIT, "{} records have come", told.records.len());
        }
        (told, None)
    }

    #[track_caller]
    fn assert_in_debuggee(&mut self) {
        let states = self.remote.breakpoint_states().unwrap();
        assert!(states.iter().all(|state| state.condition == ConditionPlace::Debuggee), "{states:?}");
    }

    /// Lets it go; nothing is left in it, and it ends as it should, if it ever does.
    fn let_go(mut self, ends: bool) {
        live(&mut self.remote).detach(self.process, DetachMode::Deliver).unwrap();
        assert_eq!(text_differences(self.running.pid()), []);
        // Stacks of threads that were made meanwhile are its own.
        let left = maps(self.running.pid());
        let left: Vec<&str> = left.lines().filter(|line| !self.maps.contains(line)).collect();
        let ours = |line: &&&str| line.contains("r-xp") || line.contains(" rw-p") && is_of_size(line, jump_data::LEN);
        assert!(!left.iter().any(|line| ours(&line)), "{left:#?}");
        assert!(!ends || self.running.wait(LIMIT).code() == Some(0));
    }
}

fn is_of_size(line: &str, len: u64) -> bool {
    let range = line.split_once(' ').unwrap().0.split_once('-').unwrap();
    let [start, end] = [range.0, range.1].map(|word| u64::from_str_radix(word, 16).unwrap());
    end - start == len
}

fn maps(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap()
}

fn register(name: &str) -> Condition {
    let mut code = Assembler::default();
    code.register(Arch::X86_64.register_by_name(name).unwrap());
    code.finish().unwrap()
}

/// What each thread did, in the order in which it was told: all of it whole, and no number twice or out of order.
fn by_thread(records: &[LogRecord]) -> BTreeMap<u64, Vec<u64>> {
    let mut threads = BTreeMap::<u64, Vec<u64>>::new();
    for record in records {
        let [LogValue::Number(thread), LogValue::Number(n), text] = &record.values[..] else { panic!("{record:?}") };
        let name: &[u8] = [&b"worker-0"[..], b"worker-1", b"worker-2", b"a worker with a "][*thread as usize];
        assert_eq!(*text, LogValue::Text { bytes: name.to_vec(), is_whole: *thread != 3 });
        threads.entry(*thread).or_default().push(*n);
    }
    for (thread, numbers) in &threads {
        let wrong = numbers.windows(2).position(|pair| pair[0] >= pair[1]);
        let around = wrong.map(|at| &numbers[at.saturating_sub(3)..(at + 5).min(numbers.len())]);
        assert_eq!(wrong, None, "thread {thread}: {around:?}");
    }
    threads
}

#[test]
fn each_hit_of_many_threads_is_told_where_there_is_room() {
    let mut noting = Noting::start(4000, 20);
    noting.log(None, 0, ThreadFilter::All);
    noting.go();
    let (told, _) = noting.take(1000);
    noting.assert_in_debuggee();
    let (rest, end) = noting.take(usize::MAX);
    let end = end.unwrap();
    assert_eq!(end.stop.reason, StopReason::Exited { status: ExitStatus::Code(0) });
    assert_eq!((told.dropped, rest.dropped), (0, 0));
    let all = by_thread(&[told.records, rest.records].concat());
    assert_eq!(all.len(), 4);
    for (thread, numbers) in all {
        assert!(numbers.iter().copied().eq(FIRST..FIRST + 4000), "thread {thread}: {} of 4000", numbers.len());
    }
}

#[test]
fn a_flood_of_hits_is_told_as_far_as_there_is_room_and_the_rest_is_counted() {
    const COUNT: u64 = 1_000_000;
    let mut noting = Noting::start(COUNT, 0);
    noting.log(None, 0, ThreadFilter::All);
    noting.go();
    let (told, end) = noting.take(usize::MAX);
    let end = end.unwrap();
    assert_eq!(end.stop.reason, StopReason::Exited { status: ExitStatus::Code(0) }, "the program is right");
    assert!(told.dropped > 0);
    assert_eq!(told.records.len() as u64 + told.dropped, 4 * COUNT);
    by_thread(&told.records);
}

#[test]
fn conditions_and_passes_come_before_what_is_written_down() {
    // n % 8 == 3, in whatever thread.
    let mut code = Assembler::default();
    code.register(Arch::X86_64.register_by_name("rsi").unwrap());
    code.constant(8);
    code.op(Op::RemainderUnsigned);
    code.constant(3);
    code.op(Op::Equal);
    let mut noting = Noting::start(4000, 100);
    noting.log(Some(code.finish().unwrap()), 900, ThreadFilter::All);
    noting.go();
    let (told, end) = noting.take(usize::MAX);
    assert_eq!(told.dropped, 0);
    assert_eq!(told.records.len(), 4 * 4000 / 8 - 900);
    assert!(by_thread(&told.records).values().flatten().all(|n| n % 8 == 3));
    let hits = end.unwrap().hits;
    assert!(hits.is_empty() || hits[0].1 <= 2000, "{hits:?}");
}

#[test]
fn letting_go_while_hits_are_written_down_leaves_nothing() {
    let mut noting = Noting::start(30_000_000, 0);
    noting.log(None, 0, ThreadFilter::All);
    noting.go();
    noting.take(1000);
    noting.assert_in_debuggee();
    noting.let_go(true);
}

/// Whoever asks or breaks in is answered, however much is written down.
#[test]
fn a_flood_keeps_nobody_from_breaking_in() {
    let mut noting = Noting::start(1 << 40, 0);
    noting.log(None, 0, ThreadFilter::All);
    noting.go();
    noting.take(1000);
    for _ in 0..3 {
        noting.assert_in_debuggee();
        live(&mut noting.remote).interrupter().break_in();
        let (_, stop) = noting.take(usize::MAX);
        assert_eq!(stop.unwrap().stop.reason, StopReason::BreakIn);
        // All is still: nothing more comes.
        let waited = live(&mut noting.remote).wait_event(Some(Duration::from_millis(50)), &[]).unwrap();
        assert!(matches!(waited, Waited::TimedOut), "{waited:?}");
        run(&mut noting.remote);
    }
    noting.remote.change_breakpoints(&[BreakpointChange::Clear(BreakpointId(1))]).unwrap();
    noting.let_go(false);
}

#[test]
fn only_one_threads_hits_are_written_down() {
    // No flood: all that is written until a break-in arrives has to be read.
    let mut noting = Noting::start(1 << 40, 5);
    noting.log(None, 0, ThreadFilter::All);
    noting.go();
    // The first threads have written much before the last one is made.
    let mut begun = BTreeSet::new();
    while begun.len() < 4 {
        let (told, _) = noting.take(100);
        begun.extend(by_thread(&told.records).into_keys());
    }
    let stopped = |noting: &mut Noting| {
        live(&mut noting.remote).interrupter().break_in();
        let (told, stop) = noting.take(usize::MAX);
        assert_eq!(stop.unwrap().stop.reason, StopReason::BreakIn);
        told
    };
    stopped(&mut noting);
    let threads = noting.remote.threads(noting.process).unwrap();
    assert_eq!(threads.len(), 5);
    for thread in &threads[2..4] {
        noting.log(None, 0, ThreadFilter::Only(thread.id));
        run(&mut noting.remote);
        let (before, _) = noting.take(500);
        let (after, _) = noting.take(20_000);
        noting.assert_in_debuggee();
        let rest = stopped(&mut noting);
        let all = by_thread(&[before.records, after.records, rest.records].concat());
        assert_eq!(all.len(), 1, "{:?}", all.keys());
    }
    noting.remote.change_breakpoints(&[BreakpointChange::Clear(BreakpointId(1))]).unwrap();
    run(&mut noting.remote);
    noting.let_go(false);
}
