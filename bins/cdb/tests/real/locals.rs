//! Values of locals and arguments in running programs, beside gdb's at the same stop.
//!
//! The engine stops the program through a `dbgsrv`, leaves it stopped for gdb, takes it over again and compares.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use outpost_base::ProcessId;
use outpost_engine::values::Value;
use outpost_engine::{
    BreakpointPlace, BreakpointRequest, Engine, EngineEvent, FrameKind, Leave, ProcessOrdinal, RunOptions,
    SystemOrdinal, Wait,
};
use outpost_remote::{Options, RemoteTarget};
use outpost_target::AttachMode;
use outpost_testkit::ProcessServer;

use crate::compare::{Tally, compare_variables};
use crate::facts::VariableFacts;
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
struct Frame {
    pc: u64,
    inlined: bool,
    function: String,
    variables: Vec<VariableFacts>,
}

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
        debugged.stop();
        debugged
    }

    fn stop(&mut self) {
        let end = std::time::Instant::now() + LIMIT;
        loop {
            assert!(std::time::Instant::now() < end, "no stop");
            if let Wait::Event(EngineEvent::Stopped(_)) = self.engine.wait(Some(LIMIT), &[]).unwrap() {
                return;
            }
        }
    }

    /// Runs to a breakpoint, which goes.
    pub(crate) fn run_to(&mut self, place: &str) {
        let request = BreakpointRequest::code(BreakpointPlace::Expression(place.into()));
        let number = self.engine.set_breakpoint(request).unwrap();
        self.engine.go(&RunOptions::default(), &[]).unwrap();
        self.stop();
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
        self.stop();
        let threads = self.engine.threads(self.process).unwrap();
        assert_eq!(threads.len(), theirs.len(), "threads");
        for thread in threads {
            let (_, theirs) = theirs.iter().find(|(id, _)| *id == thread.id.0).unwrap();
            self.engine.select_thread(thread.ordinal).unwrap();
            let ours = self.engine.stack(thread.ordinal, theirs.len()).unwrap().frames;
            for (frame, wanted) in ours.iter().zip(theirs) {
                let kinds = (frame.kind == FrameKind::Inline, wanted.inlined);
                let place = format!("{:x}, frame {:x} {}", thread.id.0, frame.index, frame.function);
                if kinds.0 != kinds.1 || !kinds.0 && frame.instruction.0 != wanted.pc {
                    tally.differences.push(format!("{place}: gdb has {} at {:x}", wanted.function, wanted.pc));
                    break;
                }
                if wanted.function == "?" {
                    continue;
                }
                tally.frames += 1;
                self.engine.select_frame(frame.index).unwrap();
                let ours: Vec<(String, Value)> =
                    self.engine.locals().unwrap().into_iter().map(|variable| (variable.name, variable.value)).collect();
                let mut memory = self.engine.memory().unwrap();
                compare_variables(&place, &wanted.variables, &ours, &mut memory, tally);
            }
        }
    }

    /// Lets it run on.
    pub(crate) fn let_go(mut self) {
        self.engine.leave(self.process, Leave::Detach { deliver: false }).unwrap();
    }
}

/// Frames by thread, innermost first, as gdb sees the process.
fn ask_gdb(pid: u32) -> Vec<(u32, Vec<Frame>)> {
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
    let mut threads: Vec<(u32, Vec<Frame>)> = Vec::new();
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
                inlined: words[2] == "inline",
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
