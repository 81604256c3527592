//! What the tests of this crate share: debuggees started off the tracer's thread, waits with a deadline.

use std::path::Path;
use std::time::{Duration, Instant};

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId, Va};
use outpost_ptrace::LiveTarget;
use outpost_target::*;
use outpost_testkit::{Build, Compiler, Running};

/// No wait of a test takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Starts a program from another thread: a tracer's thread must have no children of its own.
pub(crate) fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Running {
    let program = program.as_ref().to_owned();
    std::thread::scope(|scope| scope.spawn(|| Running::start(program, arguments)).join().unwrap())
}

/// Compiles C; the program is not position-independent unless the flags say so.
pub(crate) fn compile(name: &str, source: &str, flags: &str) -> std::path::PathBuf {
    Build::source(Compiler::Gcc, name, source).flags("-g -O0").flags(flags).path()
}

pub(crate) fn target() -> LiveTarget {
    LiveTarget::new("<Local>").unwrap()
}

/// Attaches and stops.
pub(crate) fn attach(target: &mut LiveTarget, pid: u32) -> StopBundle {
    let mode = AttachMode::Invasive { break_in: true };
    target.attach(ProcessId(pid), mode, &BundleRequest::default()).unwrap().unwrap()
}

/// Creates a process, stopped before its first instruction.
pub(crate) fn create(
    target: &mut LiveTarget,
    program: impl AsRef<Path>,
    arguments: &[&str],
) -> (ProcessId, StopBundle) {
    let spec = CreateSpec {
        program: program.as_ref().to_str().unwrap().into(),
        arguments: arguments.iter().map(|argument| (*argument).into()).collect(),
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Client,
        randomize: false,
        break_in: true,
    };
    let (process, bundle) = target.create(&spec, &BundleRequest::default()).unwrap();
    (process, bundle.unwrap())
}

/// The next event, whatever it is.
pub(crate) fn event(target: &mut LiveTarget) -> Event {
    let begin = Instant::now();
    loop {
        match target.wait_event(Some(LIMIT), &[]).unwrap() {
            Waited::Event(event) => return event,
            _ => assert!(begin.elapsed() < LIMIT, "no event"),
        }
    }
}

/// The next stop; notices, output and traces are passed over.
pub(crate) fn stop(target: &mut LiveTarget) -> StopBundle {
    let begin = Instant::now();
    loop {
        if let Event::Stopped(bundle) = event(target) {
            return bundle;
        }
        assert!(begin.elapsed() < LIMIT, "no stop");
    }
}

/// Everything runs.
pub(crate) fn run(target: &mut LiveTarget) {
    let plan = Plan::run_all(generation(target));
    target.resume(&plan).unwrap();
}

/// Runs to the next stop.
pub(crate) fn go(target: &mut LiveTarget) -> StopBundle {
    run(target);
    stop(target)
}

pub(crate) fn generation(target: &LiveTarget) -> StopGeneration {
    target.last_stop().map_or(StopGeneration(0), |bundle| bundle.generation)
}

/// One thread steps, the others hold.
pub(crate) fn step_plan(target: &LiveTarget, thread: ThreadId, step: StepPlan) -> Plan {
    Plan {
        threads: vec![ThreadPlan { thread, action: Action::Step(step), signal: SignalAction::Deliver }],
        others: Action::Hold,
        ..Plan::run_all(generation(target))
    }
}

/// One thread steps to the plan's end, the others hold.
pub(crate) fn step(target: &mut LiveTarget, thread: ThreadId, step: StepPlan) -> StopBundle {
    let plan = step_plan(target, thread, step);
    target.resume(&plan).unwrap();
    stop(target)
}

pub(crate) fn breakpoint(id: u32, space: AddressSpaceId, at: Va) -> BreakpointSpec {
    BreakpointSpec {
        id: BreakpointId(id),
        space,
        at,
        kind: BreakpointKind::Software,
        threads: ThreadFilter::All,
        condition: None,
        skip: 0,
        one_shot: false,
        auto_continue: false,
        pad: None,
        log: None,
        jump: None,
    }
}

pub(crate) fn set(target: &mut LiveTarget, spec: BreakpointSpec) -> BreakpointState {
    target.change_breakpoints(&[BreakpointChange::Set(spec)]).unwrap().remove(0).unwrap()
}

pub(crate) fn clear(target: &mut LiveTarget, id: u32) {
    target.change_breakpoints(&[BreakpointChange::Clear(BreakpointId(id))]).unwrap();
}

pub(crate) fn hits(target: &mut LiveTarget, id: u32) -> u64 {
    let states = target.breakpoint_states().unwrap();
    states.iter().find(|state| state.id == BreakpointId(id)).unwrap().hits
}

pub(crate) fn space(target: &mut LiveTarget, process: ProcessId) -> AddressSpaceId {
    target.processes().unwrap().iter().find(|known| known.id == process).unwrap().space
}

/// Address of a symbol of a program that is not position-independent, by nm(1).
pub(crate) fn symbol(program: impl AsRef<Path>, name: &str) -> Va {
    let output = std::process::Command::new("nm").arg(program.as_ref()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
    let line = line.unwrap_or_else(|| panic!("no symbol {name}"));
    Va(u64::from_str_radix(line.split_whitespace().next().unwrap(), 16).unwrap())
}

pub(crate) fn registers(target: &mut LiveTarget, thread: ThreadId) -> RegisterContext {
    target.registers_many(&[thread], RegisterSets::default()).unwrap().remove(0).unwrap()
}

pub(crate) fn word(target: &mut LiveTarget, space: AddressSpaceId, at: Va) -> u64 {
    let mut bytes = [0; 8];
    assert_eq!(target.read_memory(space, at, &mut bytes).unwrap(), 8);
    u64::from_le_bytes(bytes)
}
