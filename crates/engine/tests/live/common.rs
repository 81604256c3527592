//! What the tests share: an engine over a created process, waits with a deadline, counts of round trips.

use std::path::Path;
use std::time::{Duration, Instant};

use outpost_base::Va;
use outpost_engine::*;
use outpost_ptrace::LiveTarget;
use outpost_target::{CreateSpec, StdioSpec, StopReason};

/// No wait of a test takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// An engine with one created process, whose first stop was taken.
pub(crate) struct Session {
    pub(crate) engine: Engine,
    pub(crate) system: SystemOrdinal,
    /// What was noticed on the way, in order.
    pub(crate) notices: Vec<Notice>,
    pub(crate) steps: Vec<TracedStep>,
    pub(crate) output: String,
}

pub(crate) fn spec(program: &Path, arguments: &[&str]) -> CreateSpec {
    CreateSpec {
        program: program.to_str().unwrap().into(),
        arguments: arguments.iter().map(|argument| (*argument).into()).collect(),
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Client,
        randomize: false,
        break_in: true,
    }
}

impl Session {
    pub(crate) fn create(program: impl AsRef<Path>, arguments: &[&str]) -> Session {
        let mut session = Session::empty();
        session.engine.create(session.system, &spec(program.as_ref(), arguments)).unwrap();
        let stop = session.stop();
        assert_eq!(stop.reason, StopReason::Created);
        session
    }

    pub(crate) fn empty() -> Session {
        Session::over(Box::new(LiveTarget::new("<Local>").unwrap()))
    }

    pub(crate) fn over(target: Box<dyn outpost_target::Target>) -> Session {
        let mut engine = Engine::new();
        engine.set_symbol_cache(Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/symbols").into()));
        let system = engine.add_system(target).unwrap();
        Session { engine, system, notices: Vec::new(), steps: Vec::new(), output: String::new() }
    }

    /// The next stop; notices and output on the way are kept.
    pub(crate) fn stop(&mut self) -> Stop {
        let deadline = Instant::now() + LIMIT;
        loop {
            assert!(Instant::now() < deadline, "no stop");
            match self.engine.wait(Some(LIMIT), &[]).unwrap() {
                Wait::Event(EngineEvent::Stopped(stop)) => return stop,
                Wait::Event(EngineEvent::Noticed(notice)) => self.notices.push(notice),
                Wait::Event(EngineEvent::Stepped(step)) => self.steps.push(step),
                Wait::Event(EngineEvent::Output { bytes, .. }) => self.output += &String::from_utf8_lossy(&bytes),
                Wait::Event(other) => panic!("{other:?}"),
                Wait::OtherReadable => panic!("nothing else was waited for"),
                Wait::TimedOut => {}
            }
        }
    }

    pub(crate) fn go(&mut self) -> Stop {
        self.engine.go(&RunOptions::default(), &[]).unwrap();
        self.stop()
    }

    /// Sets a breakpoint by expression.
    pub(crate) fn bp(&mut self, place: &str) -> BreakpointNumber {
        self.engine.set_breakpoint(BreakpointRequest::code(BreakpointPlace::Expression(place.into()))).unwrap()
    }

    /// Runs to a breakpoint on `place`, which is removed.
    pub(crate) fn run_to(&mut self, place: &str) -> Stop {
        let number = self.bp(place);
        let stop = self.go();
        assert_eq!(stop.breakpoints.len(), 1, "{:?}", stop.reason);
        self.engine.clear_breakpoints(&[number]).unwrap();
        stop
    }

    /// Source line at the event thread's pc.
    pub(crate) fn line(&mut self, stop: &Stop) -> u32 {
        self.engine.line_at(stop.pc).map_or(0, |location| location.line)
    }

    pub(crate) fn step(&mut self, kind: StepKind, unit: StepUnit, until: StepUntil) -> Stop {
        let request = StepRequest { kind, unit, until, show_each: false, options: RunOptions::default() };
        self.engine.step(&request).unwrap();
        self.stop()
    }

    /// Source line after one line step.
    pub(crate) fn line_step(&mut self, kind: StepKind) -> u32 {
        let stop = self.step(kind, StepUnit::Line, StepUntil::Count(1));
        assert!(stop.ends_step, "{:?}", stop.reason);
        self.line(&stop)
    }

    /// Functions of the current thread's stack.
    pub(crate) fn functions(&mut self) -> Vec<String> {
        let thread = self.engine.current_thread().unwrap();
        let stack = self.engine.stack(thread, 100).unwrap();
        stack.frames.into_iter().map(|frame| frame.function).collect()
    }

    /// A local's number.
    pub(crate) fn local(&mut self, name: &str) -> i128 {
        let value = self.engine.local(name).unwrap().unwrap_or_else(|| panic!("no local {name}"));
        let mut memory = self.engine.memory().unwrap();
        value.scalar(&mut memory).unwrap_or_else(|error| panic!("{name}: {error}")).as_i128()
    }

    pub(crate) fn address(&mut self, name: &str) -> Va {
        self.engine.find_name(name).unwrap()[0].address
    }
}

/// The number of the line that holds `mark`.
pub(crate) fn line_of(source: &str, mark: &str) -> u32 {
    let at = source.lines().position(|line| line.contains(mark));
    at.unwrap_or_else(|| panic!("no line with {mark}")) as u32 + 1
}
