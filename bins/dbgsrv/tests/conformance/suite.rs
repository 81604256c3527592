//! The checks: what a live system does, whatever lies between it and us.

mod system;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use outpost_base::{Arch, ProcessId, RegisterValue, ThreadId, Va};
use outpost_target::condition::{Assembler, Op};
use outpost_target::*;
use outpost_testkit::{state, text_differences, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use system::{create, created_on_a_pty, created_with_streams, family_and_modules, files_and_processes, search};

use crate::debuggee::{
    Debuggee, LIMIT, attach, breakpoint, clear, event, generation, go, is_free, live, read, run, set, space, step,
    stop, symbol, worker_program,
};

type Check = fn(&mut dyn Target, &Path);

const CHECKS: [(&str, Check); 14] = [
    ("lists", lists),
    ("memory", memory),
    ("registers", registers),
    ("breakpoints", breakpoints),
    ("conditions", conditions),
    ("logpoints", logpoints),
    ("steps", steps),
    ("signals", signals),
    ("created, streams to the client", created_with_streams),
    ("created, on a pty", created_on_a_pty),
    ("fork, exec and modules", family_and_modules),
    ("search", search),
    ("files and processes", files_and_processes),
    ("letting go", letting_go),
];

/// Every check over targets that `make` makes, one for each; whose name is `way`.
pub(crate) fn conforms(way: &str, make: &dyn Fn() -> Box<dyn Target>) {
    conforms_with(way, 3_000_000, make);
}

/// The same with less to carry: the file that is read has so many bytes, at least 2,000.
pub(crate) fn conforms_with(way: &str, bulk: u32, make: &dyn Fn() -> Box<dyn Target>) {
    let bytes: Vec<u8> = (0..bulk).map(|at| (at % 249) as u8).collect();
    let fails = |(name, check): &(&'static str, Check)| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a file"), &bytes).unwrap();
        let body = || check(make().as_mut(), folder.path());
        catch_unwind(AssertUnwindSafe(body)).is_err().then_some(*name)
    };
    let failed: Vec<_> = CHECKS.iter().filter_map(fails).collect();
    assert!(failed.is_empty(), "{way}: {failed:?}");
}

/// Starts off the tracer's thread, which must have no children of its own.
fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn slow(folder: &Path) -> Debuggee {
    elsewhere(|| Debuggee::start("slow", folder, "page"))
}

fn os(target: &mut dyn Target) -> &mut dyn Os {
    target.as_os().unwrap()
}

fn lists(target: &mut dyn Target, folder: &Path) {
    let program = worker_program();
    let mut debuggee = elsewhere(|| Debuggee::start("plain", folder, "page"));
    assert!(debuggee.page.advances(3, LIMIT));
    let process = ProcessId(debuggee.pid());
    assert_eq!(target.info().arch, Arch::X86_64);
    let bundle = attach(target, debuggee.pid());
    assert_eq!((bundle.stop.process, &bundle.stop.reason), (process, &StopReason::Attached));
    let processes = target.processes().unwrap();
    assert_eq!(processes.len(), 1);
    assert_eq!((processes[0].id, processes[0].origin), (process, ProcessOrigin::Attached));
    let threads = target.threads(process).unwrap();
    assert_eq!((threads.len(), threads[0].id), (3, ThreadId(process.0)));
    assert!(threads.iter().all(|thread| thread.name == "worker" && thread.process == process));
    let modules = target.modules(process).unwrap();
    assert!(modules[0].is_main);
    assert_eq!(Path::new(&modules[0].path).canonicalize().unwrap(), program.canonicalize().unwrap());
    assert!(modules.iter().any(|module| module.path.contains("libc.so")));
    assert!(modules.iter().any(|module| module.path == "[vdso]"));
    let regions = target.regions(process).unwrap();
    assert!(regions.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
    let work = symbol(&program, "work");
    let text = regions.iter().find(|region| region.range.contains(work)).unwrap();
    assert!(text.read && text.execute && !text.write && text.usage == RegionUsage::Image);
    assert!(regions.iter().any(|region| region.usage == RegionUsage::Stack));
    live(target).detach(process, DetachMode::Deliver).unwrap();
    assert!(target.processes().unwrap().is_empty());
    assert!(is_free(debuggee.pid()));
    assert_eq!(debuggee.end(), Some(42));
}

fn memory(target: &mut dyn Target, folder: &Path) {
    let program = worker_program();
    let debuggee = slow(folder);
    attach(target, debuggee.pid());
    let space = space(target, ProcessId(debuggee.pid()));
    let (place, watched) = (symbol(&program, "elsewhere"), symbol(&program, "watched"));
    let original = read(target, space, place, 8);
    // The loader's own site is there all the time.
    let in_program = |debuggee: &Debuggee| {
        text_differences(debuggee.pid()).into_iter().filter(|at| at.abs_diff(place.0) < 0x1000).collect::<Vec<_>>()
    };
    assert_eq!(in_program(&debuggee), []);
    set(target, breakpoint(1, space, place));
    assert_eq!(in_program(&debuggee), [place.0]);
    assert_eq!(read(target, space, place, 8), original, "the trap is hidden");
    // What is written over it lands under it.
    let write = |target: &mut dyn Target, at: Va, bytes: &[u8]| {
        live(target).write_many(space, &[WriteRequest { at, bytes: bytes.to_vec() }]).unwrap()[0]
    };
    assert_eq!(write(target, place, &[0x90, 0x90]), 2);
    assert_eq!(read(target, space, place, 2), [0x90, 0x90]);
    clear(target, 1);
    assert_eq!(read(target, space, place, 2), [0x90, 0x90]);
    assert_eq!(write(target, place, &original), 8);
    assert_eq!(in_program(&debuggee), []);
    assert_eq!(write(target, watched, &77_u64.to_le_bytes()), 8);
    let reads = [
        ReadRequest { at: watched, len: 8 },
        ReadRequest { at: Va(8), len: 8 },
        ReadRequest { at: Va(u64::MAX - 3), len: 8 },
        ReadRequest { at: place, len: 8 },
    ];
    let answers = target.read_many(space, &reads).unwrap();
    assert_eq!(answers, [77_u64.to_le_bytes().to_vec(), vec![], vec![], original]);
    assert_eq!(write(target, Va(8), &[1]), 0);
}

fn registers(target: &mut dyn Target, folder: &Path) {
    let debuggee = slow(folder);
    let bundle = attach(target, debuggee.pid());
    let thread = ThreadId(debuggee.pid());
    let sets = RegisterSets { floating: true, debug: true };
    let read = |target: &mut dyn Target| target.registers_many(&[thread], sets).unwrap().remove(0).unwrap();
    let before = read(target);
    assert_eq!(before.pc(), bundle.registers[0].1.pc());
    assert!(!before.floating.is_empty() && !before.debug.is_empty());
    let r12 = Arch::X86_64.register_by_name("r12").unwrap();
    let mut changed = before.clone();
    assert!(changed.set(r12, RegisterValue::from_u64(0x1234_5678_9abc, 64)));
    live(target).set_registers(thread, &changed).unwrap();
    assert_eq!(read(target).get_u64(r12), Some(0x1234_5678_9abc));
    live(target).set_registers(thread, &before).unwrap();
    assert_eq!(read(target).get_u64(r12), before.get_u64(r12));
    let other = target.registers_many(&[ThreadId(u32::MAX), thread], sets).unwrap();
    assert!(other[0].is_err() && other[1].is_ok());
}

fn breakpoints(target: &mut dyn Target, folder: &Path) {
    let program = worker_program();
    let mut debuggee = slow(folder);
    attach(target, debuggee.pid());
    let space = space(target, ProcessId(debuggee.pid()));
    let (work, odd, watched) = (symbol(&program, "work"), symbol(&program, "odd_site"), symbol(&program, "watched"));
    set(target, breakpoint(1, space, work));
    set(target, BreakpointSpec { one_shot: true, ..breakpoint(2, space, odd) });
    let hit = |ids: &[u32]| StopReason::Breakpoint { ids: ids.iter().copied().map(BreakpointId).collect() };
    let mut seen = [go(target), go(target), go(target)].map(|bundle| (bundle.stop.reason, bundle.registers[0].1.pc()));
    seen.sort_by_key(|(_, pc)| pc.0);
    let mut expected = [(hit(&[1]), work), (hit(&[1]), work), (hit(&[2]), odd)];
    expected.sort_by_key(|(_, pc)| pc.0);
    assert_eq!(seen, expected, "the second is gone after its hit");
    clear(target, 1);
    let execute = BreakpointKind::Hardware { access: HardwareAccess::Execute, len: 1 };
    set(target, BreakpointSpec { kind: execute, skip: 2, ..breakpoint(3, space, work) });
    let bundle = go(target);
    assert_eq!((bundle.stop.reason, bundle.registers[0].1.pc()), (hit(&[3]), work));
    let states = target.as_breakpoints().unwrap().breakpoint_states().unwrap();
    assert_eq!(states.iter().find(|state| state.id == BreakpointId(3)).unwrap().hits, 3);
    clear(target, 3);
    let write = BreakpointKind::Hardware { access: HardwareAccess::Write, len: 8 };
    set(target, BreakpointSpec { kind: write, ..breakpoint(4, space, watched) });
    let before = read(target, space, watched, 8);
    let bundle = go(target);
    assert_eq!(bundle.stop.reason, hit(&[4]));
    assert_ne!(read(target, space, watched, 8), before, "the stop comes after the access");
    let in_use = set_many(
        target,
        (0..5).map(|id| BreakpointSpec { kind: write, ..breakpoint(10 + id, space, watched + 64 * u64::from(id)) }),
    );
    let by_pages = in_use.iter().map(|state| !state.as_ref().unwrap().by_pages.is_empty());
    assert_eq!(
        by_pages.collect::<Vec<_>>(),
        [false, false, false, true, true],
        "four debug registers, one of them in use"
    );
    assert_eq!(text_differences(debuggee.pid()).len() as u64, loader_sites(target, debuggee.pid()));
    live(target).detach(ProcessId(debuggee.pid()), DetachMode::Deliver).unwrap();
    assert_eq!(text_differences(debuggee.pid()), []);
    assert_eq!(debuggee.end(), Some(42));
}

pub(crate) fn set_many(
    target: &mut dyn Target,
    specs: impl Iterator<Item = BreakpointSpec>,
) -> Vec<Result<BreakpointState, TargetError>> {
    let changes: Vec<_> = specs.map(BreakpointChange::Set).collect();
    target.as_breakpoints().unwrap().change_breakpoints(&changes).unwrap()
}

/// The one place in the dynamic loader that is watched while a process is in the session.
fn loader_sites(target: &mut dyn Target, pid: u32) -> u64 {
    let modules = target.modules(ProcessId(pid)).unwrap();
    let loader = modules.iter().find(|module| module.path.contains("ld-linux")).unwrap();
    text_differences(pid).iter().filter(|at| loader.range.contains(Va(**at))).count() as u64
}

fn conditions(target: &mut dyn Target, folder: &Path) {
    let program = worker_program();
    let mut debuggee = slow(folder);
    attach(target, debuggee.pid());
    let space = space(target, ProcessId(debuggee.pid()));
    let rdi = Arch::X86_64.register_by_name("rdi").unwrap();
    // rdi % 16 == 5, and the value that is stored last is one less.
    let mut code = Assembler::default();
    code.register(rdi);
    code.constant(16);
    code.op(Op::RemainderUnsigned);
    code.constant(5);
    code.op(Op::Equal);
    code.constant(symbol(&program, "watched").0);
    code.load(8, true);
    code.constant(1);
    code.op(Op::Add);
    code.register(rdi);
    code.op(Op::Equal);
    code.op(Op::And);
    code.op(Op::Return);
    let condition = Some(code.finish().unwrap());
    let work = symbol(&program, "work");
    set(target, BreakpointSpec { condition: condition.clone(), ..breakpoint(1, space, work) });
    for _ in 0..2 {
        let before = target.link_statistics().messages_received;
        let bundle = go(target);
        assert_eq!(bundle.registers[0].1.get_u64(rdi).unwrap() % 16, 5);
        let messages = target.link_statistics().messages_received - before;
        assert!(messages <= 2, "a false condition costs no message: {messages}");
    }
    // Nobody else's hits count.
    let only = ThreadFilter::Only(ThreadId(u32::MAX - 1));
    set(target, BreakpointSpec { threads: only, ..breakpoint(1, space, work) });
    run(target);
    let waited = live(target).wait_event(Some(Duration::from_millis(100)), &[]).unwrap();
    assert!(matches!(waited, Waited::TimedOut), "no stop");
    live(target).interrupter().break_in();
    assert_eq!(stop(target).stop.reason, StopReason::BreakIn);
    live(target).detach(ProcessId(debuggee.pid()), DetachMode::Deliver).unwrap();
    assert_eq!(debuggee.end(), Some(42));
}

/// Hits that are written down stop nobody, and are told in their order and before a stop that comes after them.
fn logpoints(target: &mut dyn Target, folder: &Path) {
    let program = worker_program();
    let mut debuggee = slow(folder);
    attach(target, debuggee.pid());
    let process = ProcessId(debuggee.pid());
    let (space, image) = (space(target, process), target.modules(process).unwrap()[0].range.start);
    let rdi = Arch::X86_64.register_by_name("rdi").unwrap();
    let code = |build: &dyn Fn(&mut Assembler)| {
        let mut code = Assembler::default();
        build(&mut code);
        code.finish().unwrap()
    };
    let number = |value| LogArgument { value, text: 0 };
    let arguments = vec![
        number(code(&|code| code.register(rdi))),
        number(code(&|code| {
            code.constant(symbol(&program, "watched").0);
            code.load(8, true);
        })),
        LogArgument { value: code(&|code| code.constant(image.0)), text: 40 },
        number(code(&|code| {
            code.constant(8);
            code.load(8, true);
        })),
    ];
    let log = Some(LogPlan { arguments });
    let (work, odd) = (symbol(&program, "work"), symbol(&program, "odd_site"));
    // From here on it comes to each once in a round.
    set(target, breakpoint(2, space, odd));
    go(target);
    assert!(set(target, BreakpointSpec { log, ..breakpoint(1, space, work) }).logs);
    for hits in [30, 5] {
        assert!(!set(target, BreakpointSpec { skip: hits - 1, ..breakpoint(2, space, odd) }).logs);
        run(target);
        let (mut told, mut before) = (Vec::new(), None);
        let bundle = loop {
            match event(target) {
                Event::Logged { records, dropped } => {
                    assert_eq!(dropped, []);
                    told.extend(records);
                }
                Event::Stopped(bundle) => break bundle,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(bundle.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(2)] });
        assert_eq!(bundle.hits.iter().find(|(id, _)| *id == BreakpointId(1)), Some(&(BreakpointId(1), hits)));
        assert_eq!(told.len() as u64, hits, "{told:?}");
        for record in told {
            assert_eq!(record.breakpoint, BreakpointId(1));
            let [LogValue::Number(n), LogValue::Number(watched), text, missing] = &record.values[..] else {
                panic!("{record:?}");
            };
            assert!(before.is_none_or(|before| before + 1 == *n), "{before:?}, {n}");
            assert!(*n == 0 || watched + 1 == *n, "{record:?}");
            assert_eq!(*text, LogValue::Text { bytes: b"\x7fELF\x02\x01\x01".to_vec(), is_whole: true });
            assert_eq!(*missing, LogValue::Missing);
            before = Some(*n);
        }
        let watched = read(target, space, symbol(&program, "watched"), 8);
        assert_eq!(
            before,
            Some(u64::from_le_bytes(watched.try_into().unwrap())),
            "the last is the one before the stop"
        );
    }
    live(target).detach(process, DetachMode::Deliver).unwrap();
    assert_eq!(debuggee.end(), Some(42));
}

fn steps(target: &mut dyn Target, folder: &Path) {
    let program = worker_program();
    let debuggee = slow(folder);
    attach(target, debuggee.pid());
    let space = space(target, ProcessId(debuggee.pid()));
    let (thread, work) = (ThreadId(debuggee.pid()), symbol(&program, "work"));
    set(target, breakpoint(1, space, work));
    go(target);
    // `push rbp` and `mov rbp, rsp`.
    let before = target.link_statistics().round_trips;
    let bundle = step(target, thread, StepPlan::instructions(2));
    let trips = target.link_statistics().round_trips - before;
    assert!(trips <= 1, "a step costs one round trip: {trips}");
    assert_eq!(bundle.stop.reason, StopReason::Step { outcome: StepOutcome::Counted });
    assert_eq!(bundle.registers[0].1.pc(), work + 4);
    // To the return, at the caller's address.
    let sp = bundle.registers[0].1.sp();
    let back = read(target, space, sp + 8, 8);
    let fence = Fence { at: Va(u64::from_le_bytes(back.try_into().unwrap())), min_sp: Va(0), kind: FenceKind::Return };
    let out = StepPlan { fences: vec![fence], run: true, ..StepPlan::default() };
    let bundle = step(target, thread, out);
    assert_eq!(bundle.stop.reason, StopReason::Step { outcome: StepOutcome::Fence { index: 0 } });
    assert_eq!(bundle.registers[0].1.pc(), fence.at);
    let stale = Plan::run_all(StopGeneration(generation(target).0 - 1));
    assert!(matches!(live(target).resume(&stale), Err(TargetError::StaleGeneration { .. })));
}

fn signals(target: &mut dyn Target, folder: &Path) {
    let debuggee = slow(folder);
    let pid = debuggee.pid();
    attach(target, pid);
    let send = |signal| kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
    run(target);
    send(Signal::USR1);
    let bundle = stop(target);
    let StopReason::Signal(info) = &bundle.stop.reason else { panic!("{:?}", bundle.stop) };
    assert_eq!((info.signo, info.code, info.sender), (10, 0, ProcessId(std::process::id())));
    assert!(info.fatal_by_default);
    let pending = live(target).pending_signal(bundle.stop.thread).unwrap().unwrap();
    assert_eq!((pending.signo, pending.raw.len()), (10, 128));
    // Forgotten, or it would end here.
    let plan = Plan { others_signal: SignalAction::Swallow, ..Plan::run_all(generation(target)) };
    live(target).resume(&plan).unwrap();
    assert!(debuggee.page.advances(1, LIMIT));
    send(Signal::USR2);
    stop(target);
    let bundle = go(target);
    let ended = StopReason::Exited { status: ExitStatus::Signal { signo: 12, core_dumped: false } };
    assert_eq!(bundle.stop.reason, ended);
    assert!(target.processes().unwrap().is_empty());
    // Who traces in this process takes the status of its child, too.
    assert!(matches!(state(pid), None | Some('Z')));
}

fn letting_go(target: &mut dyn Target, folder: &Path) {
    let mut debuggee = slow(folder);
    let (pid, process) = (debuggee.pid(), ProcessId(debuggee.pid()));
    // A signal that would end it is forgotten.
    attach(target, pid);
    run(target);
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::USR1).unwrap();
    stop(target);
    live(target).detach(process, DetachMode::Swallow).unwrap();
    assert!(debuggee.page.advances(1, LIMIT));
    // Left stopped for another debugger, and taken over.
    attach(target, pid);
    live(target).detach(process, DetachMode::LeaveStopped).unwrap();
    assert_eq!(state(pid), Some('T'), "it is left stopped");
    let bundle = live(target).attach(process, AttachMode::Existing, &BundleRequest::default()).unwrap();
    assert!(bundle.is_some());
    live(target).detach(process, DetachMode::Deliver).unwrap();
    wait_until("it is free", LIMIT, || is_free(pid));
    assert!(debuggee.page.advances(1, LIMIT));
    // Only looked at.
    let mode = AttachMode::Noninvasive { suspend: false };
    live(target).attach(process, mode, &BundleRequest::default()).unwrap();
    let space = space(target, process);
    assert_eq!(read(target, space, symbol(&worker_program(), "work"), 1), [0x55]);
    assert!(debuggee.page.advances(1, LIMIT));
    live(target).detach(process, DetachMode::Deliver).unwrap();
    assert!(is_free(pid));
    assert_eq!(debuggee.end(), Some(42));
    // What is not there, and what is ended.
    let error = live(target).detach(process, DetachMode::Deliver).unwrap_err();
    assert!(matches!(error, TargetError::NoProcess { .. }), "{error}");
    let other = create(target, "sleep", &["100"], StdioSpec::Client);
    live(target).kill(other).unwrap();
    assert!(matches!(state(other.0), None | Some('Z')));
}
