use std::collections::HashMap;

use outpost_base::{Va, VaRange};

use super::*;
use crate::Fence;

/// A thread at `pc` with `sp`, and the words of its stack.
struct At {
    pc: u64,
    sp: u64,
    words: HashMap<u64, u64>,
    code: Vec<u8>,
}

impl StepView for At {
    fn pc(&self) -> Va {
        Va(self.pc)
    }
    fn sp(&self) -> Va {
        Va(self.sp)
    }
    fn word(&mut self, at: Va) -> Option<u64> {
        self.words.get(&at.0).copied()
    }
    fn code(&mut self) -> Vec<u8> {
        self.code.clone()
    }
}

fn at(pc: u64, sp: u64) -> At {
    At { pc, sp, words: HashMap::new(), code: vec![0x90] }
}

fn with_word(pc: u64, sp: u64, word: u64) -> At {
    At { words: HashMap::from([(sp, word)]), ..at(pc, sp) }
}

fn range(start: u64, end: u64) -> VaRange {
    VaRange { start: Va(start), end: Va(end) }
}

/// A source step over `0x1000..0x1020` in a function at `0x1000..0x1100` whose cfa is 0x8010.
fn source_step() -> StepPlan {
    StepPlan {
        ranges: vec![range(0x1000, 0x1020)],
        function: vec![range(0x1000, 0x1100)],
        cfa: Va(0x8010),
        over_calls: true,
        ..StepPlan::default()
    }
}

/// Feeds places to a machine and collects its answers.
fn walk(plan: StepPlan, places: Vec<At>) -> Vec<Next> {
    let mut machine = StepMachine::new(plan);
    let mut answers = Vec::new();
    for (index, mut place) in places.into_iter().enumerate() {
        answers.push(if index == 0 { machine.begin(&mut place) } else { machine.next(&mut place) });
    }
    answers
}

#[test]
fn counts_instructions() {
    let answers = walk(StepPlan::instructions(2), vec![at(0x1000, 0x8000), at(0x1001, 0x8000), at(0x1002, 0x8000)]);
    assert_eq!(answers, [Next::StepInstruction, Next::StepInstruction, Next::Stop(StepOutcome::Counted)]);
}

#[test]
fn a_loop_inside_the_line_goes_on_and_leaving_it_stops() {
    let places = vec![at(0x1000, 0x8000), at(0x1010, 0x8000), at(0x1000, 0x8000), at(0x1020, 0x8000)];
    let answers = walk(source_step(), places);
    assert_eq!(answers[2], Next::StepInstruction);
    assert_eq!(answers[3], Next::Stop(StepOutcome::LeftRanges));
}

#[test]
fn a_call_is_run_to_its_return_in_the_same_frame() {
    let places = vec![at(0x1000, 0x8000), with_word(0x5000, 0x7ff8, 0x1005), at(0x1005, 0x8000), at(0x1020, 0x8000)];
    let answers = walk(source_step(), places);
    assert_eq!(answers[1], Next::Run { at: Some(Va(0x1005)), min_sp: Va(0x7ff9) });
    assert_eq!(answers[2], Next::StepInstruction);
    assert_eq!(answers[3], Next::Stop(StepOutcome::LeftRanges));
}

#[test]
fn reading_pc_by_call_is_not_a_call() {
    let answers = walk(source_step(), vec![at(0x1000, 0x8000), with_word(0x1005, 0x7ff8, 0x1005)]);
    assert_eq!(answers[1], Next::StepInstruction);
}

#[test]
fn a_call_through_a_stub_enters_what_the_stub_leads_to() {
    let plan = StepPlan {
        enter: vec![EntryPoint { entry: Va(0x5000), body: Va(0x5008) }],
        pass_through: vec![range(0x4000, 0x4100)],
        ..source_step()
    };
    let places = vec![
        at(0x1000, 0x8000),
        with_word(0x4000, 0x7ff8, 0x1005),
        with_word(0x5000, 0x7ff8, 0x1005),
        at(0x5008, 0x7fe0),
    ];
    let answers = walk(plan, places);
    assert_eq!(answers[1], Next::StepInstruction);
    assert_eq!(answers[2], Next::Run { at: Some(Va(0x5008)), min_sp: Va(0) });
    assert_eq!(answers[3], Next::Stop(StepOutcome::Entered));
}

#[test]
fn calls_of_a_resolver_are_not_the_call_being_resolved() {
    let plan = StepPlan {
        enter: vec![EntryPoint { entry: Va(0x5000), body: Va(0x5000) }],
        pass_through: vec![range(0x4000, 0x4100)],
        ..source_step()
    };
    let mut resolved = at(0x5000, 0x7ff8);
    resolved.words.insert(0x7ff8, 0x1005);
    let places = vec![
        at(0x1000, 0x8000),
        with_word(0x4000, 0x7ff8, 0x1005),
        // The resolver calls a function of its own, then one elsewhere.
        with_word(0x4050, 0x7ff0, 0x4005),
        at(0x4005, 0x7ff8),
        with_word(0x6000, 0x7ff0, 0x400a),
        at(0x400a, 0x7ff8),
        resolved,
    ];
    let answers = walk(plan, places);
    assert_eq!(answers[4], Next::Run { at: Some(Va(0x400a)), min_sp: Va(0x7ff1) });
    assert_eq!(answers[6], Next::Stop(StepOutcome::Entered));
}

#[test]
fn a_call_that_ends_in_a_stub_is_over_when_it_returns() {
    let plan = StepPlan { pass_through: vec![range(0x4000, 0x4100)], ..source_step() };
    let places = vec![at(0x1000, 0x8000), with_word(0x4000, 0x7ff8, 0x1005), at(0x1005, 0x8000)];
    let answers = walk(plan, places);
    assert_eq!(answers[2], Next::StepInstruction);
}

#[test]
fn a_return_stops_or_finishes_the_callers_line() {
    let answers = walk(source_step(), vec![at(0x1010, 0x8008), at(0x2005, 0x8010)]);
    assert_eq!(answers[1], Next::Stop(StepOutcome::Returned));
    let plan = StepPlan { ranges_after_return: vec![range(0x2000, 0x2010)], ..source_step() };
    let answers = walk(plan, vec![at(0x1010, 0x8008), at(0x2005, 0x8010), at(0x2010, 0x8010)]);
    assert_eq!(answers[1], Next::StepInstruction);
    assert_eq!(answers[2], Next::Stop(StepOutcome::LeftRanges));
}

#[test]
fn a_tail_call_runs_to_the_frames_own_return() {
    let mut jumped = at(0x5000, 0x8008);
    jumped.words.insert(0x8008, 0x2005);
    let answers = walk(source_step(), vec![at(0x1010, 0x8008), jumped, at(0x2005, 0x8010)]);
    assert_eq!(answers[1], Next::Run { at: Some(Va(0x2005)), min_sp: Va(0x8010) });
    assert_eq!(answers[2], Next::Stop(StepOutcome::Returned));
}

#[test]
fn fences_and_unknown_calls_stop() {
    let plan = StepPlan {
        run: true,
        fences: vec![Fence { at: Va(0x2005), min_sp: Va(0x8010), kind: FenceKind::Return }],
        ..StepPlan::default()
    };
    let answers = walk(plan, vec![at(0x1000, 0x8000), at(0x2005, 0x7000), at(0x2005, 0x8010)]);
    assert_eq!(answers[0], Next::Run { at: None, min_sp: Va(0) });
    assert_eq!(answers[1], Next::Run { at: None, min_sp: Va(0) }, "a deeper instance does not count");
    assert_eq!(answers[2], Next::Stop(StepOutcome::Fence { index: 0 }));

    let plan = StepPlan { stop_unknown_calls: true, ..source_step() };
    let answers = walk(plan, vec![at(0x1000, 0x8000), with_word(0x5000, 0x7ff8, 0x1005)]);
    assert_eq!(answers[1], Next::Stop(StepOutcome::UnknownCall));
}

#[test]
fn a_handler_runs_and_comes_back() {
    let mut machine = StepMachine::new(source_step());
    machine.begin(&mut at(0x1000, 0x8000));
    let next = machine.handler_will_run(&mut at(0x1004, 0x8000));
    assert_eq!(next, Next::Run { at: Some(Va(0x1004)), min_sp: Va(0x8000) });
    assert_eq!(machine.next(&mut at(0x1004, 0x8000)), Next::StepInstruction);
}

#[test]
fn stops_before_a_kind_of_instruction() {
    let plan = StepPlan { stop_before: InstructionKinds::of(&[InstructionKind::Return]), ..StepPlan::default() };
    let returning = At { code: vec![0xc3], ..at(0x1001, 0x8000) };
    let answers = walk(plan, vec![at(0x1000, 0x8000), returning]);
    assert_eq!(answers[1], Next::Stop(StepOutcome::BeforeInstruction));
}

#[test]
fn arrivals_at_a_kind_of_instruction_are_counted() {
    let kinds = InstructionKinds::of(&[InstructionKind::Call]);
    let mut machine = StepMachine::new(StepPlan { count: 2, stop_before: kinds, ..StepPlan::default() });
    let mut calling = At { code: vec![0xe8, 0, 0, 0, 0], ..at(0x1001, 0x8000) };
    machine.begin(&mut calling);
    let mut counted = Vec::new();
    for mut place in [at(0x1006, 0x8000), calling, at(0x1006, 0x8000)] {
        assert_eq!(machine.next(&mut place), Next::StepInstruction);
        counted.push(machine.counted());
    }
    assert_eq!(counted, [0, 1, 1], "where it began does not count, nor does what is none");
    let mut second = At { code: vec![0xe8, 0, 0, 0, 0], ..at(0x1007, 0x8000) };
    assert_eq!(machine.next(&mut second), Next::Stop(StepOutcome::BeforeInstruction));
}
