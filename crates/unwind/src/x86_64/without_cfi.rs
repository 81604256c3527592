//! Unwinding a frame that no call frame information covers.

use outpost_base::{MemoryReader, Va, VaRange};

use super::analysis::{Found, from_entry, to_return};
use super::code::{Before, Code};
use super::signal_frame;
use crate::{Frame, FrameAddress, FrameRegisters, FrameTrust, UnwindModules};

/// Words that a scan looks at: 8 KiB, more than almost any frame.
const SCAN_WORDS: u64 = 1024;
/// How far a function's instructions may lie behind its entry, where the entry is known only from a call to it.
const MAX_FUNCTION: u64 = 64 * 1024;
/// Candidates of a scan that are verified by following the code from the entry they called.
const MAX_VERIFIED: usize = 16;
/// Distance within which a word below a return address is taken for a saved frame pointer.
const MAX_FRAME: u64 = 1024 * 1024;

/// A caller that was found without call frame information.
pub(crate) struct Guessed {
    /// Canonical frame address; unknown if even the frame's size is a guess.
    pub(crate) cfa: Option<Va>,
    /// The caller's registers; its program counter is the return address.
    pub(crate) caller: FrameRegisters,
    /// By what means.
    pub(crate) trust: FrameTrust,
}

/// Finds the caller of a frame by every means but call frame information, best first.
pub(crate) fn unwind(frame: &Frame, modules: &mut dyn UnwindModules, memory: &mut dyn MemoryReader) -> Option<Guessed> {
    let registers = &frame.registers;
    if signal_frame::is_trampoline(frame.address, memory) {
        let caller = signal_frame::interrupted(registers, memory)?;
        return Some(Guessed { cfa: Some(caller.sp()), caller, trust: FrameTrust::SignalFrame });
    }
    let here = frame.address.lookup_address();
    let is_code = modules.is_executable(here);
    let function = modules.function_at(here);
    let mut code = Code::new(memory);
    if !is_code {
        // Outside code nothing can have run since a call led here; or a return address was overwritten, and the frames
        // that are intact lie further out.
        let called = matches!(frame.address, FrameAddress::Pc(_))
            .then(|| called_no_code(registers, modules, &mut code))
            .flatten();
        return called.or_else(|| by_stack(frame, modules, &mut code));
    }
    let by_code = function
        .and_then(|function| from_entry(function, frame.address, registers, &mut code))
        .filter(|found| is_caller(found, modules, &mut code))
        .or_else(|| to_return(function, frame.address, registers, &mut code));
    match by_code {
        Some(found) => Some(Guessed { cfa: Some(found.cfa), caller: found.caller, trust: FrameTrust::Prologue }),
        None => by_stack(frame, modules, &mut code),
    }
}

/// A call through a null or wild pointer: the return address is where the call has just put it.
fn called_no_code(registers: &FrameRegisters, modules: &mut dyn UnwindModules, code: &mut Code<'_>) -> Option<Guessed> {
    let sp = registers.sp();
    let return_address = Va(code.memory().read_u64(sp)?);
    if !is_return_address(return_address, modules, code) {
        return None;
    }
    // Nothing has run in between: registers that calls do not keep are the caller's as well.
    let arch = registers.arch();
    let mut caller = registers.clone();
    let cfa = sp + 8;
    caller.set(arch.sp(), cfa.0);
    caller.set(arch.pc(), return_address.0);
    Some(Guessed { cfa: Some(cfa), caller, trust: FrameTrust::Prologue })
}

fn by_stack(frame: &Frame, modules: &mut dyn UnwindModules, code: &mut Code<'_>) -> Option<Guessed> {
    let registers = &frame.registers;
    verified_scan(frame, modules, code)
        .map(|found| Guessed { cfa: Some(found.cfa), caller: found.caller, trust: FrameTrust::Prologue })
        .or_else(|| by_frame_pointer(registers, modules, code))
        .or_else(|| scan(registers, modules, code))
}

/// The frame pointer's chain: saved frame pointer, then return address.
fn by_frame_pointer(
    registers: &FrameRegisters,
    modules: &mut dyn UnwindModules,
    code: &mut Code<'_>,
) -> Option<Guessed> {
    let arch = registers.arch();
    let frame_pointer = registers.get_u64(arch.frame_pointer())?;
    if frame_pointer % 8 != 0 || frame_pointer < registers.sp().0 {
        return None;
    }
    let outer = code.memory().read_u64(Va(frame_pointer))?;
    let return_address = Va(code.memory().read_u64(Va(frame_pointer.checked_add(8)?))?);
    let is_plausible = outer == 0 || outer > frame_pointer;
    if !is_plausible || !is_return_address(return_address, modules, code) {
        return None;
    }
    let cfa = Va(frame_pointer.checked_add(16)?);
    let caller = guessed_registers(registers, return_address, cfa, Some(outer));
    Some(Guessed { cfa: Some(cfa), caller, trust: FrameTrust::FramePointer })
}

/// Looks on the stack for the return address of a direct call to code from which the frame's address is reached with
/// just as much on the stack as there is: such a find is no guess.
fn verified_scan(frame: &Frame, modules: &mut dyn UnwindModules, code: &mut Code<'_>) -> Option<Found> {
    let sp = frame.registers.sp();
    let here = frame.address.lookup_address();
    let mut verified = 0;
    for word in 0..SCAN_WORDS {
        let slot = sp + word * 8;
        let value = Va(code.memory().read_u64(slot)?);
        if !modules.is_executable(Va(value.0.saturating_sub(1))) {
            continue;
        }
        let Before::Call(Some(target)) = code.before(value) else { continue };
        let entry = import_target(target, code).unwrap_or(target);
        if entry > here || here.0 - entry.0 > MAX_FUNCTION {
            continue;
        }
        let function = VaRange::from_len(entry, MAX_FUNCTION);
        if let Some(found) = from_entry(function, frame.address, &frame.registers, code)
            && found.cfa == slot + 8
        {
            return Some(found);
        }
        verified += 1;
        if verified == MAX_VERIFIED {
            return None;
        }
    }
    None
}

/// Where a linkage-table entry leads: `jmp [rip+x]`, perhaps behind `endbr64`.
fn import_target(entry: Va, code: &mut Code<'_>) -> Option<Va> {
    let mut instruction = code.decode(entry)?;
    if instruction.mnemonic() == iced_x86::Mnemonic::Endbr64 {
        instruction = code.decode(Va(instruction.next_ip()))?;
    }
    let is_import = instruction.flow_control() == iced_x86::FlowControl::IndirectBranch
        && instruction.op0_kind() == iced_x86::OpKind::Memory
        && instruction.memory_base() == iced_x86::Register::RIP;
    let at = is_import.then(|| Va(instruction.memory_displacement64()))?;
    code.memory().read_u64(at).map(Va)
}

/// The first word that may be a return address.
fn scan(registers: &FrameRegisters, modules: &mut dyn UnwindModules, code: &mut Code<'_>) -> Option<Guessed> {
    let sp = registers.sp();
    for word in 0..SCAN_WORDS {
        let slot = sp + word * 8;
        let value = Va(code.memory().read_u64(slot)?);
        let lookup = Va(value.0.saturating_sub(1));
        if !modules.is_executable(lookup) || !matches!(code.before(value), Before::Call(_)) {
            continue;
        }
        let arch = registers.arch();
        // A function that set up a frame pointer keeps its caller's just below; else it may still be in its register.
        let below = code.memory().read_u64(Va(slot.0.wrapping_sub(8)));
        let saved = below.filter(|saved| word > 0 && *saved > slot.0 && *saved - slot.0 < MAX_FRAME);
        let kept = registers.get_u64(arch.frame_pointer()).filter(|kept| *kept > slot.0);
        let caller = guessed_registers(registers, value, slot + 8, saved.or(kept));
        return Some(Guessed { cfa: None, caller, trust: FrameTrust::Scan });
    }
    None
}

/// Registers of a caller of whom only the stack is known: callee-saved registers may be anywhere.
fn guessed_registers(
    registers: &FrameRegisters,
    return_address: Va,
    sp: Va,
    frame_pointer: Option<u64>,
) -> FrameRegisters {
    let arch = registers.arch();
    let mut caller = super::registers_of_the_thread(registers);
    caller.set(arch.pc(), return_address.0);
    caller.set(arch.sp(), sp.0);
    if let Some(value) = frame_pointer {
        caller.set(arch.frame_pointer(), value);
    }
    caller
}

fn is_caller(found: &Found, modules: &mut dyn UnwindModules, code: &mut Code<'_>) -> bool {
    let return_address = found.caller.pc();
    // Zero ends the stack: thread entry code has it instead of a return address.
    return_address == Va(0) || is_return_address(return_address, modules, code)
}

/// Whether a call may return to this address. Where the code is not to be read, its being code must do.
fn is_return_address(at: Va, modules: &mut dyn UnwindModules, code: &mut Code<'_>) -> bool {
    modules.is_executable(Va(at.0.saturating_sub(1))) && code.before(at) != Before::NoCall
}
