//! Values of locals and arguments in running programs, beside gdb's at the same stop.
//!
//! The engine stops the program through a `dbgsrv`, leaves it stopped for gdb, takes it over again and compares.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use outpost_base::ProcessId;
use outpost_engine::values::Value;
use outpost_engine::{
    BreakpointPlace, BreakpointRequest, Engine, EngineEvent, FrameKind, Leave, ProcessOrdinal, RunOptions, StackFrame,
    SystemOrdinal, Wait,
};
use outpost_remote::{Options, RemoteTarget};
use outpost_target::AttachMode;
use outpost_testkit::ProcessServer;

use crate::compare::compare_variables;
use crate::explained::{Explained, Tally};
use crate::facts::VariableFacts;
use crate::stacks::normal;
use crate::transfers::is_seen;
use crate::wait_for_state;

const LIMIT: Duration = Duration::from_secs(60);

/// A program under the engine, through a server.
pub(crate) struct Debugged {
    engine: Engine,
    system: SystemOrdinal,
    process: ProcessOrdinal,
    pid: u32,
}

/// One frame as gdb sees it.
pub(crate) struct Frame {
    pc: u64,
    kind: FrameKind,
    function: String,
    variables: Vec<VariableFacts>,
}

/// Frames by thread, innermost first.
pub(crate) type Threads = Vec<(u32, Vec<Frame>)>;

impl Debugged {
    /// Attaches and stops it.
    pub(crate) fn attach(server: &ProcessServer, pid: u32) -> Debugged {
        let transport = server.connection().parse().unwrap();
        let (target, _) = RemoteTarget::connect(&transport, Options::default()).unwrap();
        let mut engine = Engine::new();
        engine.set_symbol_cache(Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/symbols").into()));
        let system = engine.add_system(Box::new(target)).unwrap();
        let process = engine.attach(system, ProcessId(pid), AttachMode::Invasive { break_in: true }).unwrap();
        let mut debugged = Debugged { engine, system, process, pid };
        stop(&mut debugged.engine);
        debugged
    }

    /// Runs to a breakpoint, which goes.
    pub(crate) fn run_to(&mut self, place: &str) {
        let request = BreakpointRequest::code(BreakpointPlace::Expression(place.into()));
        let number = self.engine.set_breakpoint(request).unwrap();
        self.engine.go(&RunOptions::default(), &[]).unwrap();
        stop(&mut self.engine);
        self.engine.clear_breakpoints(&[number]).unwrap();
    }

    /// Compares every frame of every thread with gdb's, which has the process meanwhile.
    pub(crate) fn compare(&mut self, tally: &mut Tally) {
        self.engine.leave(self.process, Leave::Abandon).unwrap();
        // The stop that was asked for is taken by a thread when it runs next. gdb, if it is there first, takes it for its
        // own, and lets the process run at the end.
        wait_for_state(self.pid, 'T');
        let theirs = ask_gdb(self.pid);
        // Threads that gdb let go are on their way back into the stop.
        wait_for_state(self.pid, 'T');
        self.process = self.engine.attach(self.system, ProcessId(self.pid), AttachMode::Existing).unwrap();
        stop(&mut self.engine);
        compare_stacks(&mut self.engine, self.process, &theirs, "", tally);
    }

    /// Lets it run on.
    pub(crate) fn let_go(mut self) {
        self.engine.leave(self.process, Leave::Detach { deliver: false }).unwrap();
    }
}

/// Waits for a stop.
pub(crate) fn stop(engine: &mut Engine) {
    let end = std::time::Instant::now() + LIMIT;
    loop {
        assert!(std::time::Instant::now() < end, "no stop");
        if let Wait::Event(EngineEvent::Stopped(_)) = engine.wait(Some(LIMIT), &[]).unwrap() {
            return;
        }
    }
}

/// Compares every frame of every thread of a stopped process with gdb's.
pub(crate) fn compare_stacks(
    engine: &mut Engine,
    process: ProcessOrdinal,
    theirs: &Threads,
    stop: &str,
    tally: &mut Tally,
) {
    let threads = engine.threads(process).unwrap();
    assert_eq!(threads.len(), theirs.len(), "threads");
    for thread in threads {
        let (_, theirs) = theirs.iter().find(|(id, _)| *id == thread.id.0).unwrap();
        engine.select_thread(thread.ordinal).unwrap();
        let ours = engine.stack(thread.ordinal, 2 * theirs.len() + 20).unwrap().frames;
        let mut memory = engine.memory().unwrap();
        let mut rest = &theirs[..];
        let mut at = 0;
        while let (Some(frame), Some((wanted, more))) = (ours.get(at), rest.split_first()) {
            let place = format!("{stop} {:x}, frame {:x} {}", thread.id.0, frame.index, frame.function);
            let has = format!("{place}: gdb has {} at {:x}", wanted.function, wanted.pc);
            if frame.is_tail_call {
                // What was inlined into a function that ended by a tail call is one frame with it to gdb.
                let is_of_same = |other: &&StackFrame| other.instruction == frame.instruction;
                let rows = at..at + ours[at..].iter().take_while(is_of_same).count();
                at = rows.end;
                if wanted.kind == FrameKind::TailCall && wanted.pc == frame.instruction.0 {
                    compare_names(&place, &frame.function, &wanted.function, tally);
                    tally.frames += 1;
                    rest = more;
                    continue;
                }
                match is_seen(&mut memory, &ours, rows) {
                    true => tally.explain(Explained::TailCall, has),
                    false => tally.differences.push(has),
                }
                continue;
            }
            at += 1;
            rest = more;
            if frame.kind != wanted.kind || frame.is_physical() && frame.instruction.0 != wanted.pc {
                tally.differences.push(has);
                rest = &[];
                break;
            }
            if wanted.function == "?" {
                continue;
            }
            compare_names(&place, &frame.function, &wanted.function, tally);
            tally.frames += 1;
            tally.distinct.insert((frame.instruction.0, frame.function.clone()));
            engine.select_frame(frame.index).unwrap();
            let ours: Vec<(String, Value)> =
                engine.locals().unwrap().into_iter().map(|variable| (variable.name, variable.value)).collect();
            compare_variables(&place, &wanted.variables, &ours, &mut memory, tally);
        }
        if !rest.is_empty() {
            let last = ours.last().map_or("", |frame| frame.function.as_str());
            let how = format!("{stop} {:x}: the stack ends after {last}, gdb has {} more", thread.id.0, rest.len());
            match ["_start", "__clone3"].contains(&last) && rest.iter().all(|frame| frame.function == "?") {
                true => tally.explain(Explained::PastEntry, how),
                false => tally.differences.push(how),
            }
        }
    }
}

/// Compares what a function is called.
fn compare_names(place: &str, ours: &str, theirs: &str, tally: &mut Tally) {
    let how = format!("{place}: gdb calls it {theirs}");
    let (name, theirs) = (normal(ours), normal(theirs));
    match name == theirs {
        true => {}
        false if name.strip_suffix(&theirs).is_some_and(|scope| scope.ends_with("::")) => {
            tally.explain(Explained::LocalType, how);
        }
        false if is_alias(&name, &theirs) => tally.explain(Explained::Alias, how),
        false => tally.differences.push(how),
    }
}

/// Whether two names are one function's in the C library, whose `memcpy` may be its `memmove`.
fn is_alias(one: &str, other: &str) -> bool {
    let usual = |name: &str| crate::plain(name).replace("memcpy", "memmove");
    usual(one) == usual(other)
}

/// Frames as gdb sees a process.
fn ask_gdb(pid: u32) -> Threads {
    let directory = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("timeout")
        .args(["100", "gdb", "-nx", "-batch", "-p", &pid.to_string(), "-x"])
        .arg(folder.join("tests/real/frames.py"))
        .env("ORACLE_DIRECTORY", directory.path())
        .env("ORACLE_SCRIPTS", folder.join("../../crates/symbols/tests/oracle"))
        .output()
        .unwrap();
    let facts = std::fs::read_to_string(directory.path().join("facts")).unwrap_or_default();
    assert!(facts.ends_with("END\n"), "gdb: {}", String::from_utf8_lossy(&output.stderr));
    parse(&facts)
}

/// What `frames.py` wrote.
pub(crate) fn parse(facts: &str) -> Threads {
    let mut threads = Threads::new();
    for line in facts.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        if words[0] == "THREAD" {
            threads.push((words[1].parse().unwrap(), Vec::new()));
            continue;
        }
        let Some((_, frames)) = threads.last_mut() else { continue };
        match words[0] {
            "FRAME" => frames.push(Frame {
                pc: words[1].parse().unwrap(),
                kind: match words[2] {
                    "inline" => FrameKind::Inline,
                    "tail" => FrameKind::TailCall,
                    _ => FrameKind::Physical,
                },
                function: words[3].to_owned(),
                variables: Vec::new(),
            }),
            "VAR" => frames.last_mut().unwrap().variables.push(VariableFacts::new(words[1])),
            _ => {
                let frame = frames.last_mut();
                if let Some(variable) = frame.and_then(|frame| frame.variables.last_mut()) {
                    variable.take(&words);
                }
            }
        }
    }
    threads
}
