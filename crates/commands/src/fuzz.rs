//! The body of the fuzz target for command lines, whose corpus also replays as an ordinary test.

use outpost_base::{Arch, RegisterContext, RegisterValue, Va, VaRange};
use outpost_engine::Engine;
use outpost_engine::target::fake::FakeTarget;
use outpost_engine::target::{Region, RegionUsage};

use crate::{Debugger, Progress};

/// Lines taken of one input.
const LINES: usize = 64;
/// Longest line, as the reference has it.
const LINE_LENGTH: usize = 4096;
/// Rounds that the loops of an input may make.
const ROUNDS: u64 = 200;
/// Commands that touch files of this machine, wherever they stand in a line: a fuzzer must not write or wait there.
const WITH_FILES: &[&str] =
    &[".log", ".writemem", ".readmem", ".sleep", "lsf", "path", "srv*", "debuginfod", "shell", "<", "/f"];

/// Carries out `data` as lines of commands on a stopped process that is made of plain data: no line may panic, overflow
/// the stack or take long, whatever it asks for. Completion is asked for at the end of each, too.
pub fn fuzz_command_line(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut debugger = stopped_debugger();
    debugger.script.limit_rounds(ROUNDS);
    for line in text.lines().take(LINES) {
        let line: String = line.chars().take(LINE_LENGTH).collect();
        let lower = line.to_ascii_lowercase();
        if WITH_FILES.iter().any(|word| lower.contains(word)) {
            continue;
        }
        drop(debugger.complete(&line, line.len()));
        let mut shown = String::new();
        if let Progress::Ended(_) = debugger.execute(&line, &mut shown) {
            return;
        }
    }
}

/// A debugger of a stopped process.
pub(crate) fn stopped_debugger() -> Debugger {
    let mut engine = Engine::new();
    // A process that is made of plain data can always be had.
    let _ = engine.add_system(Box::new(stopped_process()));
    Debugger::new(engine)
}

/// Three threads on stacks of their own, some code, and memory at both ends of the address space.
fn stopped_process() -> FakeTarget {
    const CODE: u64 = 0x40_1000;
    const STACK: u64 = 0x7fff_ffff_0000;
    /// `push rbp; mov rbp, rsp; call .; leave; ret`, again and again.
    const INSTRUCTIONS: [u8; 11] = [0x55, 0x48, 0x89, 0xe5, 0xe8, 0xf7, 0xff, 0xff, 0xff, 0xc9, 0xc3];
    let mut target = FakeTarget::with_threads(3);
    let code: Vec<u8> = INSTRUCTIONS.iter().copied().cycle().take(4096).collect();
    // Each word points a little further up the stack, so that it is a list and a chain of frames, too.
    let stack: Vec<u8> = (0..4096 / 8_u64).flat_map(|word| (STACK + (word + 4) * 8).to_le_bytes()).collect();
    let texts: Vec<u8> = b"needle\0wide\0\xff\xfe\x01".iter().copied().cycle().take(4096).collect();
    target.memory = vec![(Va(0), texts.clone()), (Va(CODE), code), (Va(STACK), stack), (Va(u64::MAX - 4095), texts)];
    let region = |start: u64, usage: RegionUsage| Region {
        range: VaRange { start: Va(start), end: Va(start.saturating_add(4096)) },
        read: true,
        write: usage == RegionUsage::Stack,
        execute: usage == RegionUsage::Image,
        shared: false,
        file_offset: 0,
        device: 0,
        inode: 0,
        name: String::new(),
        usage,
    };
    let usages = [RegionUsage::Unknown, RegionUsage::Image, RegionUsage::Stack, RegionUsage::Heap];
    target.regions = target.memory.iter().zip(usages).map(|((start, _), usage)| region(start.0, usage)).collect();
    for (number, (_, context)) in target.registers.iter_mut().enumerate() {
        set(context, "rip", CODE + number as u64);
        set(context, "rsp", STACK + 64 * number as u64);
        set(context, "rbp", STACK + 64 * number as u64 + 16);
    }
    target
}

fn set(context: &mut RegisterContext, name: &str, value: u64) {
    if let Some(id) = Arch::X86_64.register_by_name(name) {
        context.set(id, RegisterValue::from_u64(value, 64));
    }
}
