//! Every kind of rule, on call frame information made by hand.

mod common;

use common::*;
use outpost_base::{Arch, ImageOffset, MemoryReader, Va};
use outpost_unwind::{
    CfiSections, FrameAddress, FrameTrust, ModuleCfi, ModuleList, Stack, StackEnd, UnwindError, unwind_stack,
};

const BASE: u64 = 0x5000_0000;
const STACK: u64 = 0x7fff_0000;

fn unwind(fdes: &[Fde], registers: &[(&str, u64)], memory: Memory) -> Stack {
    let mut modules = ModuleList::new(vec![module(BASE, cfi(fdes))]);
    unwind_stack(&context(registers), 16, &mut modules, &mut memory.clone())
}

fn register(stack: &Stack, frame: usize, name: &str) -> Option<u64> {
    stack.frames[frame].registers.get_u64(Arch::X86_64.register_by_name(name)?)
}

/// The outermost function of each test, at image address 0x9000.
fn outermost() -> Fde {
    fde(0x9000, 0x100, &[op::undefined(RA)])
}

/// Unwinds one frame with `program`; its return address, at CFA - 8 = STACK + 0x18, leads to the outermost.
fn one_frame(program: &[Vec<u8>], registers: &[(&str, u64)], memory: Memory) -> Stack {
    let memory = memory.word(STACK + 0x18, BASE + 0x9010);
    let registers = [&[("rip", BASE + 0x1008), ("rsp", STACK)], registers].concat();
    unwind(&[fde(0x1000, 0x100, program), outermost()], &registers, memory)
}

#[test]
fn offsets_same_values_and_the_abi_default() {
    let program = [op::def_cfa_offset(0x20), op::offset(RBX, 3), op::same_value(RAX)];
    let registers = [("rax", 1), ("rcx", 2), ("rbp", 3), ("fs_base", 0x4444)];
    let stack = one_frame(&program, &registers, Memory::default().word(STACK + 8, 0xb0b));
    assert_eq!(stack.end, StackEnd::Outermost);
    assert_eq!(stack.frames.len(), 2);
    assert_eq!(stack.frames[0].cfa, Some(Va(STACK + 0x20)));
    assert_eq!(stack.frames[1].address, FrameAddress::ReturnAddress(Va(BASE + 0x9010)));
    assert_eq!(stack.frames[1].trust, FrameTrust::Cfi);
    assert_eq!(stack.frames[1].cfa, Some(Va(STACK + 0x28)), "the outermost frame has a CFA as well");
    let outer = |name| register(&stack, 1, name);
    assert_eq!(outer("rbx"), Some(0xb0b), "saved");
    assert_eq!(outer("rax"), Some(1), "same value by rule");
    assert_eq!(outer("rcx"), None, "not kept by calls");
    assert_eq!(outer("rbp"), Some(3), "kept by calls");
    assert_eq!(outer("rsp"), Some(STACK + 0x20));
    assert_eq!(outer("fs_base"), Some(0x4444), "the thread's");
}

#[test]
fn rows_follow_the_address() {
    // push rbx at 0x1000, body from 0x1004, pop at 0x1010 with the state restored.
    let program = [
        op::advance(4),
        op::def_cfa_offset(0x20),
        op::offset(RBX, 3),
        op::remember(),
        op::advance(12),
        op::def_cfa_offset(8),
        op::restore(RBX),
        op::advance(1),
        op::restore_state(),
    ];
    let memory = Memory::default().word(STACK + 8, 0xb0b).word(STACK, BASE + 0x9010).word(STACK + 0x18, BASE + 0x9020);
    for (pc, caller, rbx) in [
        (0x1000, 0x9010, 7),
        (0x1003, 0x9010, 7),
        (0x1004, 0x9020, 0xb0b),
        (0x100f, 0x9020, 0xb0b),
        (0x1010, 0x9010, 7),
        (0x1011, 0x9020, 0xb0b),
        (0x10ff, 0x9020, 0xb0b),
    ] {
        let registers = [("rip", BASE + pc), ("rsp", STACK), ("rbx", 7)];
        let stack = unwind(&[fde(0x1000, 0x100, &program), outermost()], &registers, memory.clone());
        assert_eq!(stack.frames[1].registers.pc(), Va(BASE + caller), "at {pc:#x}");
        assert_eq!(register(&stack, 1, "rbx"), Some(rbx), "at {pc:#x}");
    }
}

#[test]
fn registers_values_and_expressions() {
    let program = [
        // DW_OP_breg7 (rsp) 0x20
        op::def_cfa_expression(&[0x77, 0x20]),
        op::in_register(RBX, RAX),
        op::val_offset(12, 2),
        // DW_OP_plus_uconst of the CFA that is on the stack: address CFA + 8
        op::expression(13, &[0x23, 8]),
        // the CFA, dereferenced, plus 1
        op::val_expression(14, &[0x06, 0x31, 0x22]),
        op::offset_extended_sf(15, -2),
        op::undefined(RBP),
        op::gnu_args_size(16),
    ];
    let memory = Memory::default().word(STACK + 0x20, 0x100).word(STACK + 0x28, 0x200).word(STACK + 0x30, 0x300);
    let stack = one_frame(&program, &[("rax", 0xaaaa), ("rbp", 5)], memory);
    let outer = |name| register(&stack, 1, name);
    assert_eq!(outer("rbx"), Some(0xaaaa));
    assert_eq!(outer("r12"), Some(STACK + 0x10));
    assert_eq!(outer("r13"), Some(0x200));
    assert_eq!(outer("r14"), Some(0x101));
    assert_eq!(outer("r15"), Some(0x300));
    assert_eq!(outer("rbp"), None);
}

#[test]
fn plt_rows_depend_on_the_address() {
    // What linkers write for .plt: CFA = rsp + 8 + ((rip & 15) >= 11) * 8.
    let expression = [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
    let program = [op::def_cfa_expression(&expression)];
    let memory = Memory::default().word(STACK, BASE + 0x9010).word(STACK + 8, BASE + 0x9020);
    for (pc, caller) in [(0x1010, 0x9010), (0x1016, 0x9010), (0x101b, 0x9020)] {
        let stack =
            unwind(&[fde(0x1000, 0x100, &program), outermost()], &[("rip", BASE + pc), ("rsp", STACK)], memory.clone());
        assert_eq!(stack.frames[1].registers.pc(), Va(BASE + caller), "at {pc:#x}");
    }
}

#[test]
fn a_call_that_does_not_return_is_the_last_thing_in_its_function() {
    // The return address 0x1010 belongs to the next function, whose row would be wrong.
    let fdes = [
        fde(0x1000, 0x10, &[op::def_cfa_offset(0x10)]),
        fde(0x1010, 0x10, &[op::def_cfa_offset(0x80)]),
        fde(0x2000, 0x10, &[]),
        outermost(),
    ];
    let memory = Memory::default().word(STACK, BASE + 0x1010).word(STACK + 0x10, BASE + 0x9010);
    let stack = unwind(&fdes, &[("rip", BASE + 0x2000), ("rsp", STACK)], memory);
    let pcs: Vec<_> = stack.frames.iter().map(|frame| frame.registers.pc().0 - BASE).collect();
    assert_eq!(pcs, [0x2000, 0x1010, 0x9010]);
    assert_eq!(stack.end, StackEnd::Outermost);
}

#[test]
fn signal_frames_give_exact_addresses_and_may_change_the_stack() {
    let other_stack = 0x6000_0000;
    // Registers at fixed places above the stack pointer, as the kernel's signal frame has them.
    let at_sp = |offset: u8| [0x77, offset];
    let trampoline = Fde {
        // One byte early, as the C library does it, for those who look up the return address less one.
        start: 0x2fff,
        len: 0x10,
        program: [
            op::def_cfa_expression(&[0x77, 0x10, 0x06]),
            op::expression(RSP, &at_sp(0x10)),
            op::expression(RA, &at_sp(0x18)),
            op::expression(RAX, &at_sp(0x20)),
        ]
        .concat(),
        is_signal_frame: true,
    };
    // The interrupted instruction is the first of its function: looked up one less, it would be in the previous one.
    let fdes = [
        fde(0x1000, 0x10, &[]),
        trampoline,
        fde(0x3ff0, 0x10, &[op::def_cfa_offset(0x100)]),
        fde(0x4000, 0x10, &[]),
        outermost(),
    ];
    let memory = Memory::default()
        .word(STACK, BASE + 0x3000)
        .word(STACK + 8 + 0x10, other_stack)
        .word(STACK + 8 + 0x18, BASE + 0x4000)
        .word(STACK + 8 + 0x20, 0xeee)
        .word(other_stack, BASE + 0x9010);
    let stack = unwind(&fdes, &[("rip", BASE + 0x1000), ("rsp", STACK)], memory);
    assert_eq!(stack.end, StackEnd::Outermost);
    let trampoline = &stack.frames[1];
    assert!(trampoline.is_signal_frame);
    assert_eq!(trampoline.address, FrameAddress::Pc(Va(BASE + 0x3000)));
    let interrupted = &stack.frames[2];
    assert_eq!(interrupted.address, FrameAddress::Pc(Va(BASE + 0x4000)));
    assert_eq!(interrupted.trust, FrameTrust::SignalFrame);
    assert_eq!(register(&stack, 2, "rax"), Some(0xeee), "a signal keeps all registers");
    assert_eq!(stack.frames[3].registers.pc(), Va(BASE + 0x9010));
}

#[test]
fn a_return_address_in_a_register() {
    // vfork of the C library takes it off the stack.
    let program = [op::def_cfa_offset(0), op::in_register(RA, 5)];
    let registers = [("rip", BASE + 0x1008), ("rsp", STACK), ("rdi", BASE + 0x9010)];
    // The stack pointer of the caller is then no larger than ours; that is no damage, the address differs.
    let fdes = [fde(0x1000, 0x100, &program), outermost()];
    let stack = unwind(&fdes, &registers, Memory::default());
    assert_eq!(stack.frames[1].registers.pc(), Va(BASE + 0x9010));
    assert_eq!(stack.end, StackEnd::Outermost);
}

#[test]
fn header_table_and_index_agree_and_empty_entries_do_no_harm() {
    let fdes = [
        fde(0x3000, 0x10, &[op::def_cfa_offset(0x30)]),
        fde(0x1000, 0x10, &[op::def_cfa_offset(0x10)]),
        fde(0x1000, 0, &[op::def_cfa_offset(0x70)]),
        fde(0x2000, 0x10, &[op::def_cfa_offset(0x20)]),
    ];
    let (bytes, offsets) = eh_frame(&fdes);
    let header = eh_frame_hdr(&fdes, &offsets);
    let sections = |header: Option<Vec<u8>>| CfiSections {
        eh_frame: Some(section(EH_FRAME_AT, bytes.clone())),
        eh_frame_hdr: header.map(|header| section(EH_FRAME_HDR_AT, header)),
        ..CfiSections::default()
    };
    let mut unsorted = header.clone();
    let (first, last) = (12, unsorted.len() - 8);
    for byte in 0..8 {
        unsorted.swap(first + byte, last + byte);
    }
    let mut cut = header.clone();
    cut.truncate(header.len() - 1);
    for (what, header) in [("table", Some(header)), ("none", None), ("unsorted", Some(unsorted)), ("cut", Some(cut))] {
        let cfi = ModuleCfi::new(sections(header));
        for (address, is_covered) in
            [(0xfff, false), (0x1000, true), (0x100f, true), (0x1010, false), (0x2008, true), (0x300f, true)]
        {
            assert_eq!(cfi.covers(ImageOffset(address)), is_covered, "{what} at {address:#x}");
        }
    }
}

#[test]
fn a_damaged_entry_costs_only_itself() {
    let fdes = [
        fde(0x1000, 0x10, &[vec![0x3f]]),
        fde(0x2000, 0x10, &[op::restore_state()]),
        fde(0x3000, 0x10, &[op::advance(8), vec![0x3f]]),
        fde(0x4000, 0x10, &[op::def_cfa_expression(&[0x2f, 0xfd, 0xff])]),
    ];
    let cfi = cfi(&fdes);
    assert!(!cfi.covers(ImageOffset(0x1000)) && !cfi.covers(ImageOffset(0x2000)));
    assert!(cfi.covers(ImageOffset(0x3000)), "before the unknown instruction");
    assert!(!cfi.covers(ImageOffset(0x3008)), "behind it");
    let stack = unwind(&fdes, &[("rip", BASE + 0x4000), ("rsp", STACK)], Memory::default());
    assert_eq!(
        stack.end,
        StackEnd::Failed(UnwindError::BadExpression { reason: "damaged or too long" }),
        "an endless expression ends"
    );
}

/// Memory that notes what it was asked for and has not.
#[derive(Default)]
struct Missing(Memory, Vec<Va>);

impl MemoryReader for Missing {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let count = self.0.read(at, buf);
        if count < buf.len() {
            self.1.push(at);
        }
        count
    }
}

#[test]
fn memory_that_is_not_there_yet_is_asked_for_once() {
    // Whoever reads over a link unwinds with what it has, fetches what was missing, and tries again.
    let mut memory = Missing::default();
    let fdes = [fde(0x1000, 0x100, &[op::def_cfa_offset(0x20)]), outermost()];
    let mut modules = ModuleList::new(vec![module(BASE, cfi(&fdes))]);
    let start = context(&[("rip", BASE + 0x1000), ("rsp", STACK), ("rbp", 0x1234)]);
    let stack = unwind_stack(&start, 16, &mut modules, &mut memory);
    assert_eq!(stack.end, StackEnd::Failed(UnwindError::UnreadableMemory { at: Va(STACK + 0x18) }));
    assert_eq!(memory.1, [Va(STACK + 0x18)]);
}

#[test]
fn another_stack_may_lie_further_in() {
    // What Rust's and others' stack-growing code does: the frame pointer leads back to the stack it came from.
    let other = STACK - 0x10_0000;
    let switching = fde(0x1000, 0x100, &[op::def_cfa(RBP, 16), op::offset(RBP, 2)]);
    let memory =
        Memory::default().word(other, 0x77).word(other + 8, BASE + 0x9010).code(BASE + 0x900b, &[0xe8, 0, 0, 0, 0]);
    let stack = unwind(&[switching, outermost()], &[("rip", BASE + 0x1008), ("rsp", STACK), ("rbp", other)], memory);
    assert_eq!(stack.frames[1].registers.sp(), Va(other + 16));
    assert_eq!(stack.end, StackEnd::Outermost);
}

#[test]
fn stacks_that_lead_nowhere_end() {
    let memory = Memory::default().word(STACK, BASE + 0x1008).word(STACK - 8, BASE + 0x1008);
    let registers = [("rip", BASE + 0x1008), ("rsp", STACK)];
    let flat = unwind(&[fde(0x1000, 0x10, &[op::def_cfa_offset(0)])], &registers, memory.clone());
    assert_eq!(flat.end, StackEnd::NotGrowing { sp: Va(STACK) });
    let by_frame_pointer = [fde(0x1000, 0x10, &[op::def_cfa(RBP, 8)])];
    let registers_of_cycle = [registers[0], registers[1], ("rbp", STACK - 8)];
    let damaged = unwind(&by_frame_pointer, &registers_of_cycle, memory.clone());
    assert_eq!(damaged.end, StackEnd::NotGrowing { sp: Va(STACK) });
    let behind_call = memory.code(BASE + 0x1003, &[0xe8, 0, 0, 0, 0]);
    let cycle = unwind(&by_frame_pointer, &registers_of_cycle, behind_call);
    assert_eq!(cycle.end, StackEnd::Cycle);
    let zero = unwind(&[fde(0x1000, 0x10, &[])], &registers, Memory::default().word(STACK, 0));
    assert_eq!(zero.end, StackEnd::Outermost);
    let unreadable = unwind(&[fde(0x1000, 0x10, &[])], &registers, Memory::default());
    assert_eq!(unreadable.end, StackEnd::Failed(UnwindError::UnreadableMemory { at: Va(STACK) }));
}
