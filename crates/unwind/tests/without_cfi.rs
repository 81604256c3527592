//! Frames that no call frame information covers, on code and stacks made by hand.

mod common;

use common::*;
use outpost_base::{Arch, Va, VaRange};
use outpost_unwind::{
    CfiSections, FrameAddress, FrameTrust, ModuleCfi, ModuleList, Stack, StackEnd, UnwindError, UnwindModule,
    UnwindModules, unwind_stack,
};

const BASE: u64 = 0x5000_0000;
const STACK: u64 = 0x7fff_0000;
/// A place behind a call; its function is the outermost one, by call frame information.
const CALLER: u64 = BASE + 0x9010;

/// One module whose only call frame information is that of the outermost function, and perhaps symbols.
struct Modules(ModuleList, Option<VaRange>);

impl UnwindModules for Modules {
    fn module_at(&mut self, address: Va) -> Option<UnwindModule> {
        self.0.module_at(address)
    }

    fn function_at(&mut self, address: Va) -> Option<VaRange> {
        self.1.filter(|function| function.contains(address))
    }
}

fn unwind(registers: &[(&str, u64)], memory: Memory, function: Option<VaRange>) -> Stack {
    let outermost = cfi(&[fde(0x9000, 0x100, &[op::undefined(RA)])]);
    let mut modules = Modules(ModuleList::new(vec![module(BASE, outermost)]), function);
    // call rel32 to far away
    let mut memory = memory.code(CALLER - 5, &[0xe8, 0, 0, 0x10, 0]);
    unwind_stack(&context(registers), 16, &mut modules, &mut memory)
}

fn register(stack: &Stack, frame: usize, name: &str) -> Option<u64> {
    stack.frames[frame].registers.get_u64(Arch::X86_64.register_by_name(name)?)
}

fn check_caller(stack: &Stack, cfa: Option<u64>, trust: FrameTrust) {
    assert_eq!(stack.frames.len(), 2, "{:?}", stack.end);
    assert_eq!(stack.frames[1].address, FrameAddress::ReturnAddress(Va(CALLER)));
    assert_eq!(stack.frames[0].cfa, cfa.map(Va));
    assert_eq!(stack.frames[1].trust, trust);
    assert_eq!(stack.end, StackEnd::Outermost);
}

/// Code that never returns, so that nothing but the stack helps: `jmp .`
const ENDLESS: [u8; 2] = [0xeb, 0xfe];

#[test]
fn at_the_first_instruction_and_behind_the_push() {
    // push rbp; mov rbp, rsp; nop; pop rbp; ret
    let code = [0x55, 0x48, 0x89, 0xe5, 0x90, 0x5d, 0xc3];
    let function = VaRange::from_len(Va(BASE + 0x1000), code.len() as u64);
    let memory = Memory::default().code(BASE + 0x1000, &code).word(STACK, 0xfeed).word(STACK + 8, CALLER);
    for symbols in [Some(function), None] {
        for (at, sp, rbp) in
            [(0, STACK + 8, 0xfeed), (1, STACK, 0xfeed), (4, STACK, STACK), (5, STACK, STACK), (6, STACK + 8, 0xfeed)]
        {
            let registers = [("rip", BASE + 0x1000 + at), ("rsp", sp), ("rbp", rbp)];
            let stack = unwind(&registers, memory.clone(), symbols);
            check_caller(&stack, Some(STACK + 0x10), FrameTrust::Prologue);
            assert_eq!(register(&stack, 1, "rbp"), Some(0xfeed), "at +{at}");
        }
    }
}

#[test]
fn linkage_table_entries() {
    // jmp [rip+x], and the lazy form: push 3; jmp to the first entry, which pushes another word and jumps
    let import = [0xff, 0x25, 0, 0x20, 0, 0];
    let memory = Memory::default().code(BASE + 0x1000, &import).word(STACK, CALLER);
    let stack = unwind(&[("rip", BASE + 0x1000), ("rsp", STACK)], memory, None);
    check_caller(&stack, Some(STACK + 8), FrameTrust::Prologue);
    let first = [0xff, 0x35, 0, 0x20, 0, 0, 0xff, 0x25, 0, 0x20, 0, 0];
    let lazy = [0x68, 3, 0, 0, 0, 0xe9, 0xe6, 0xff, 0xff, 0xff];
    let memory = Memory::default().code(BASE + 0x1000, &first).code(BASE + 0x1010, &lazy).word(STACK, CALLER);
    let stack = unwind(&[("rip", BASE + 0x1010), ("rsp", STACK)], memory, None);
    // The pushed words go to the resolver, which is no function of C: what it does with them only its own information
    // knows. Here the entry itself is unwound by the word it started with.
    assert_eq!(stack.frames[1].registers.pc(), Va(CALLER));
}

#[test]
fn the_frame_pointer_when_code_tells_nothing() {
    let memory = Memory::default()
        .code(BASE + 0x1000, &ENDLESS)
        .word(STACK, 1)
        .word(STACK + 0x20, STACK + 0x80)
        .word(STACK + 0x28, CALLER);
    let registers = [("rip", BASE + 0x1000), ("rsp", STACK), ("rbp", STACK + 0x20), ("rbx", 5)];
    let stack = unwind(&registers, memory, None);
    check_caller(&stack, Some(STACK + 0x30), FrameTrust::FramePointer);
    assert_eq!(register(&stack, 1, "rbp"), Some(STACK + 0x80));
    assert_eq!(register(&stack, 1, "rbx"), None, "it may have been saved anywhere");
}

#[test]
fn a_scan_is_marked_as_the_guess_it_is() {
    let memory = Memory::default()
        .code(BASE + 0x1000, &ENDLESS)
        // Code, but not behind a call; no code; then the return address.
        .word(STACK, BASE + 0x1000)
        .word(STACK + 8, 0x1234)
        .word(STACK + 0x10, CALLER);
    let registers = [("rip", BASE + 0x1000), ("rsp", STACK), ("rbp", 0x33)];
    let stack = unwind(&registers, memory, None);
    check_caller(&stack, None, FrameTrust::Scan);
    assert_eq!(stack.frames[1].registers.sp(), Va(STACK + 0x18));
    assert_eq!(register(&stack, 1, "rbp"), None);
}

#[test]
fn a_return_address_whose_call_leads_here_is_no_guess() {
    // f: sub rsp, 0x18; jmp .
    let mut memory = Memory::default().code(BASE + 0x1000, &[0x48, 0x83, 0xec, 0x18, 0xeb, 0xfe]);
    // On the stack first a stale return address behind a call of something else, then that of `call f`.
    memory = memory.word(STACK, CALLER).word(STACK + 8, 0).word(STACK + 0x10, 0).word(STACK + 0x18, BASE + 0x9055);
    let call = [0xe8, 0xab, 0x7f, 0xff, 0xff];
    memory = memory.code(BASE + 0x9050, &call);
    let stack = unwind(&[("rip", BASE + 0x1004), ("rsp", STACK)], memory, None);
    assert_eq!(stack.frames[1].registers.pc(), Va(BASE + 0x9055));
    assert_eq!(stack.frames[1].trust, FrameTrust::Prologue);
}

#[test]
fn a_wild_pointer_was_called_or_jumped_to() {
    let called = Memory::default().word(STACK, CALLER);
    let stack = unwind(&[("rip", 0x4141_4141), ("rsp", STACK), ("rax", 7)], called, None);
    check_caller(&stack, Some(STACK + 8), FrameTrust::Prologue);
    assert_eq!(register(&stack, 1, "rax"), Some(7));
    // Returned to through a smashed stack: the word at the stack pointer is nothing.
    let returned = Memory::default().word(STACK, 0x4141_4141).word(STACK + 8, CALLER);
    let stack = unwind(&[("rip", 0x4141_4141), ("rsp", STACK)], returned, None);
    check_caller(&stack, None, FrameTrust::Scan);
}

#[test]
fn frames_behind_an_overwritten_return_address() {
    // sub rsp, 8; jmp . with a symbol, so that its return address is certain, and smashed
    let code = [0x48, 0x83, 0xec, 0x08, 0xeb, 0xfe];
    let function = VaRange::from_len(Va(BASE + 0x1000), code.len() as u64);
    let memory = Memory::default().code(BASE + 0x1000, &code).word(STACK, 0).word(STACK + 8, 0x4141_4141_4141_4141);
    let memory = memory.word(STACK + 0x10, 0x4242_4242).word(STACK + 0x18, CALLER);
    let stack = unwind(&[("rip", BASE + 0x1004), ("rsp", STACK)], memory, Some(function));
    let last = stack.frames.last().unwrap();
    assert_eq!((last.registers.pc(), last.trust), (Va(CALLER), FrameTrust::Scan));
}

#[test]
fn signal_trampolines_by_their_bytes() {
    let long = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
    let short = [0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05];
    for (code, second) in [(&long[..], 7), (&short[..], 5)] {
        for at in [0, second] {
            let context_at = STACK + 40;
            let mut memory = Memory::default().code(BASE + 0x2000, code);
            for word in 0..24 {
                memory = memory.word(context_at + word * 8, word);
            }
            // rsp, rip, and no floating-point state
            memory = memory.word(context_at + 15 * 8, STACK + 0x1000).word(context_at + 16 * 8, BASE + 0x9000);
            memory = memory.word(context_at + 23 * 8, 0);
            let stack = unwind(&[("rip", BASE + 0x2000 + at), ("rsp", STACK)], memory, None);
            assert!(stack.frames[0].is_signal_frame);
            assert_eq!(stack.frames[1].address, FrameAddress::Pc(Va(BASE + 0x9000)));
            assert_eq!(stack.frames[1].trust, FrameTrust::SignalFrame);
            assert_eq!(register(&stack, 1, "rbx"), Some(11));
            assert_eq!(register(&stack, 1, "rflags"), Some(17));
            assert_eq!(stack.end, StackEnd::Outermost);
        }
    }
}

#[test]
fn nothing_helps_and_it_says_so() {
    let memory = Memory::default().code(BASE + 0x1000, &ENDLESS).word(STACK, 1).word(STACK + 8, 2);
    let stack = unwind(&[("rip", BASE + 0x1000), ("rsp", STACK), ("rbp", 1)], memory, None);
    assert_eq!(stack.frames.len(), 1);
    assert_eq!(stack.end, StackEnd::Failed(UnwindError::NoCaller { address: Va(BASE + 0x1000) }));
}

#[test]
fn an_image_in_memory_has_all_it_takes() {
    // The vdso of this process, from its own memory.
    struct Own(std::fs::File);
    impl outpost_base::MemoryReader for Own {
        fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
            std::os::unix::fs::FileExt::read_at(&self.0, buf, at.0).unwrap_or(0)
        }
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let address = |text| u64::from_str_radix(text, 16).unwrap();
    let mut memory = Own(std::fs::File::open("/proc/self/mem").unwrap());
    let (sections, bias) = CfiSections::from_mapped_image(Va(address(start)), &mut memory).unwrap();
    assert_eq!(bias.0, address(start));
    let mut image = vec![0; (address(end) - address(start)) as usize];
    outpost_base::MemoryReader::read_exact(&mut memory, Va(address(start)), &mut image).unwrap();
    let by_headers = CfiSections::from_elf(std::sync::Arc::new(image)).unwrap();
    // The table leads to all that the section holds, but for the terminator.
    let (mapped, whole) = (sections.eh_frame.clone().unwrap(), by_headers.eh_frame.unwrap());
    assert_eq!(mapped.address, whole.address);
    assert!(whole.bytes.as_slice().starts_with(mapped.bytes.as_slice()));
    assert!(whole.bytes.as_slice().len() - mapped.bytes.as_slice().len() <= 8);
    assert!(!ModuleCfi::new(sections).is_empty());
}
