//! The client that is killed or left behind: how it brings its session into a state, and what it does there.

use std::time::{Duration, Instant};

use outpost_base::{AddressSpaceId, Arch, ProcessId, Va, VaRange};
use outpost_engine::code::{JumpPlan, make_jump};
use outpost_remote::RemoteTarget;
use outpost_target::condition::{Assembler, Op};
use outpost_target::{
    Action, AttachMode, BreakpointChange, BreakpointKind, BreakpointSpec, Breakpoints, BundleRequest, CallPlan,
    CallWord, ConditionPlace, DetachMode, Event, Fixup, FixupKind, HardwareAccess, KillSafety, Live, LogArgument,
    LogPlan, PadCode, Plan, SignalAction, StepPlan, Target, TargetError, ThreadPlan, Waited,
};

use crate::State;
use crate::debuggee::{
    LIMIT, breakpoint, generation, go, live, run, set, step, step_plan, stop, symbol, worker_program,
};

/// Breakpoints on the two sites that all threads pass: one whose instruction can be emulated, one that cannot.
pub(crate) fn sites(space: AddressSpaceId) -> [BreakpointSpec; 2] {
    let program = worker_program();
    // `push rbp` and `movzx eax, ax`, each followed by a jump to what follows them.
    let pad = |at: Va, code: &[u8]| PadCode {
        bytes: [code, &[0xe9, 0, 0, 0, 0]].concat(),
        fixups: vec![Fixup {
            offset: code.len() as u16 + 1,
            kind: FixupKind::Relative32,
            destination: at + code.len() as u64,
        }],
        expected: code.to_vec(),
    };
    let (work, odd) = (symbol(&program, "work"), symbol(&program, "odd_site"));
    [(1, work, &[0x55][..]), (2, odd, &[0x0f, 0xb7, 0xc0][..])]
        .map(|(id, at, code)| BreakpointSpec { pad: Some(pad(at, code)), ..breakpoint(id, space, at) })
}

/// Brings the session into a state; tells why breakpoints of it do not outlive their server, nothing if they do.
pub(crate) fn enter(
    remote: &mut RemoteTarget,
    process: ProcessId,
    state: State,
    sites: &[BreakpointSpec; 2],
) -> String {
    let (space, sites) = (sites[0].space, sites.clone());
    let mut unsafe_because = String::new();
    let mut put = |remote: &mut RemoteTarget, spec: BreakpointSpec| {
        let state = set(remote, spec);
        if state.safety == KillSafety::Unsafe {
            unsafe_because = state.reason;
        }
    };
    let never = || {
        let mut code = Assembler::default();
        code.constant(0);
        code.op(Op::Return);
        code.finish().unwrap()
    };
    match state {
        State::Hits => sites.map(|site| put(remote, BreakpointSpec { auto_continue: true, ..site })).len(),
        State::PlainHits => {
            sites.map(|site| put(remote, BreakpointSpec { auto_continue: true, pad: None, ..site })).len()
        }
        State::FalseConditions => {
            sites.map(|site| put(remote, BreakpointSpec { condition: Some(never()), ..site })).len()
        }
        State::Jumps => {
            let often = {
                let mut code = Assembler::default();
                code.constant(symbol(&worker_program(), "watched").0);
                code.load(8, false);
                code.constant(15);
                code.op(Op::And);
                code.op(Op::IsZero);
                code.finish().unwrap()
            };
            let [work, odd] = sites;
            for (site, condition) in [(work, often), (odd, never())] {
                let mut code = [0; 32];
                assert_eq!(remote.read_memory(space, site.at, &mut code).unwrap(), code.len());
                let jump = Some(Box::new(make_jump(Arch::X86_64, site.at, &code, (&condition).into()).unwrap()));
                put(remote, BreakpointSpec { condition: Some(condition), auto_continue: true, jump, ..site });
            }
            2
        }
        State::Logging => {
            let constant = |value: u64| {
                let mut code = Assembler::default();
                code.constant(value);
                code.finish().unwrap()
            };
            let image = remote.modules(process).unwrap()[0].range.start;
            let number = {
                let mut code = Assembler::default();
                code.constant(symbol(&worker_program(), "watched").0);
                code.load(8, false);
                code.finish().unwrap()
            };
            let arguments =
                vec![LogArgument { value: number, text: 0 }, LogArgument { value: constant(image.0), text: 100 }];
            let [work, odd] = sites;
            for (site, log, skip) in [(work, LogPlan { arguments }, 0), (odd, LogPlan::default(), 200_000)] {
                let mut code = [0; 32];
                assert_eq!(remote.read_memory(space, site.at, &mut code).unwrap(), code.len());
                let plan = JumpPlan { passes: skip > 0, log: Some((site.id, &log)), ..JumpPlan::default() };
                let jump = Some(Box::new(make_jump(Arch::X86_64, site.at, &code, plan).unwrap()));
                put(remote, BreakpointSpec { log: Some(log), skip, jump, ..site });
            }
            2
        }
        State::Watching | State::WatchingPages => {
            let at = symbol(&worker_program(), "watched");
            let len = if state == State::Watching { 8 } else { 9 };
            let kind = BreakpointKind::Hardware { access: HardwareAccess::Write, len };
            put(remote, BreakpointSpec { kind, auto_continue: true, ..breakpoint(3, space, at) });
            1
        }
        State::AtBreakpoint => {
            let [site, _] = sites;
            put(remote, site);
            1
        }
        State::Planting | State::FoundStopped | State::FoundStoppedHits => {
            sites.map(|site| put(remote, BreakpointSpec { auto_continue: true, ..site })).len()
        }
        State::BrokenIn
        | State::Stepping
        | State::Stepped
        | State::SourceStepping
        | State::Calling
        | State::InFunction => 0,
    };
    match state {
        State::FoundStopped => {}
        // Once in each thread, so that one of them was called for certain.
        State::InFunction => {
            let threads = remote.threads(process).unwrap().len() as u64;
            (0..threads).for_each(|thread| assert!(call_function(remote, process, thread * 4)));
        }
        State::AtBreakpoint => drop(go(remote)),
        State::BrokenIn => {
            run(remote);
            std::thread::sleep(Duration::from_millis(5));
            remote.interrupter().break_in();
            stop(remote);
        }
        State::Stepping => {
            let threads = remote.threads(process).unwrap();
            let plan = step_plan(remote, threads[threads.len() / 2].id, StepPlan::instructions(1 << 60), Action::Run);
            remote.resume(&plan).unwrap();
        }
        State::Stepped => {
            let threads = remote.threads(process).unwrap();
            drop(step(remote, threads[threads.len() / 2].id, StepPlan::instructions(20)));
        }
        State::SourceStepping => {
            let threads = remote.threads(process).unwrap();
            let thread = threads[threads.len() / 2].id;
            let program = worker_program();
            let function = VaRange { start: symbol(&program, "run"), end: symbol(&program, "run_end") };
            // To where the function makes its calls.
            while !function.contains(step(remote, thread, StepPlan::instructions(1)).registers[0].1.pc()) {}
            let within = StepPlan { ranges: vec![function], over_calls: true, ..StepPlan::default() };
            let plan = step_plan(remote, thread, within, Action::Run);
            remote.resume(&plan).unwrap();
            let processes = remote.processes().unwrap();
            unsafe_because = processes.into_iter().find(|known| known.id == process).unwrap().steps_unsafe_because;
        }
        State::Jumps | State::Logging => {
            run(remote);
            let end = Instant::now() + LIMIT;
            let jumps = |remote: &mut RemoteTarget| {
                let states = remote.breakpoint_states().unwrap();
                states.iter().filter(|state| state.condition == ConditionPlace::Debuggee).count()
            };
            while jumps(remote) < 2 {
                let states = remote.breakpoint_states().unwrap();
                assert!(Instant::now() < end, "{states:?}");
                let waited = live(remote).wait_event(Some(Duration::from_millis(5)), &[]).unwrap();
                if matches!(waited, Waited::Event(Event::Stopped(_))) {
                    // A child had ended before anybody said that this stops nobody.
                    run(remote);
                }
            }
        }
        _ => run(remote),
    }
    unsafe_because
}

/// Lets the debuggee go and attaches again, as the lifeline is taken away and put in; `false` when the connection is gone.
pub(crate) fn let_go_and_attach(remote: &mut RemoteTarget, process: ProcessId) -> bool {
    let mode = AttachMode::Invasive { break_in: true };
    live(remote).detach(process, DetachMode::Deliver).is_ok()
        && live(remote).attach(process, mode, &BundleRequest::default()).is_ok()
}

/// Calls the program's `slowly`, mostly for as long as a killer needs to come in the middle; `false` when the connection is
/// gone.
pub(crate) fn call_function(remote: &mut RemoteTarget, process: ProcessId, number: u64) -> bool {
    let Ok(threads) = remote.threads(process) else { return false };
    let thread = threads[number as usize % threads.len()].id;
    let turns = if number.is_multiple_of(4) { 10 } else { 20_000_000 };
    let call = CallPlan {
        function: symbol(&worker_program(), "slowly"),
        integers: vec![CallWord::Value(turns)],
        ..CallPlan::default()
    };
    let action = Action::Call(call);
    let part = ThreadPlan { thread, action, signal: SignalAction::Deliver };
    let plan = Plan { threads: vec![part], ..Plan::run_all(generation(remote)) };
    match live(remote).resume(&plan) {
        Ok(()) => {}
        // This thread cannot be used at this stop; another can, or at another.
        Err(TargetError::Invalid { .. }) => {
            run(remote);
            std::thread::sleep(Duration::from_micros(300));
            remote.interrupter().break_in();
        }
        Err(_) => return false,
    }
    loop {
        match live(remote).wait_event(Some(LIMIT), &[]) {
            Ok(Waited::Event(Event::Stopped(_))) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// One round of planting and clearing; `false` when the connection is gone.
pub(crate) fn plant_and_clear(remote: &mut RemoteTarget, sites: &[BreakpointSpec], number: u64) -> bool {
    let between = Duration::from_micros(number * 97 % 1500);
    let lives = |remote: &mut RemoteTarget| live(remote).wait_event(Some(between), &[]).is_ok();
    sites.iter().all(|site| {
        let change = [BreakpointChange::Set(BreakpointSpec { auto_continue: true, ..site.clone() })];
        let planted = remote.change_breakpoints(&change).is_ok() && lives(remote);
        planted && remote.change_breakpoints(&[BreakpointChange::Clear(site.id)]).is_ok() && lives(remote)
    })
}
