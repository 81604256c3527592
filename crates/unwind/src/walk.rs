//! From frame to frame, and when to stop.

use std::collections::HashSet;
use std::sync::Arc;

use outpost_base::{ImageOffset, MemoryReader, RegisterContext, Va, VaRange};

use crate::cfi::{Row, StackGrowth, apply};
use crate::{
    Frame, FrameAddress, FrameRegisters, FrameTrust, Stack, StackEnd, UnwindError, UnwindModule, UnwindModules,
    Unwound, x86_64,
};

/// Frames per stack unless the caller asks for another number. Deeper ones are runaway recursion.
pub const DEFAULT_FRAME_LIMIT: usize = 65_536;

/// How far above the stack pointer an address is taken to be on the stack.
const NEAR_STACK: u64 = 1024 * 1024;

/// Unwinds the stack of a thread with these registers: at most `limit` frames (at least 1), innermost first.
///
/// Never fails: what cannot be unwound ends the stack, and [`Stack::end`] says why. Memory is read in words near the
/// stack pointer and, only where call frame information is missing, at code addresses.
pub fn unwind_stack(
    context: &RegisterContext,
    limit: usize,
    modules: &mut dyn UnwindModules,
    memory: &mut dyn MemoryReader,
) -> Stack {
    let innermost = Frame::innermost(FrameRegisters::from_context(context.clone()));
    unwind_stack_from(innermost, limit, modules, memory)
}

/// Like [`unwind_stack`], from a frame that was found before; it is the first of the result.
pub fn unwind_stack_from(
    first: Frame,
    limit: usize,
    modules: &mut dyn UnwindModules,
    memory: &mut dyn MemoryReader,
) -> Stack {
    let mut frames = Vec::new();
    let mut seen = HashSet::new();
    let mut frame = first;
    loop {
        let is_new = seen.insert((frame.registers.pc(), frame.registers.sp()));
        if !is_new {
            return Stack { frames, end: StackEnd::Cycle };
        }
        let unwound = unwind_frame(&frame, modules, memory);
        frame.cfa = unwound.cfa;
        frame.is_signal_frame = unwound.is_signal_frame;
        if frame.is_signal_frame {
            // The handler returns to the trampoline's first instruction, which no call precedes.
            frame.address = FrameAddress::Pc(frame.address.address());
        }
        frames.push(frame);
        frame = match unwound.caller {
            Err(end) => return Stack { frames, end },
            Ok(_) if frames.len() >= limit => return Stack { frames, end: StackEnd::FrameLimit },
            Ok(caller) => caller,
        };
    }
}

/// Unwinds one frame: gives its canonical frame address and its caller with all registers that can be known there.
pub fn unwind_frame(frame: &Frame, modules: &mut dyn UnwindModules, memory: &mut dyn MemoryReader) -> Unwound {
    let error = match by_cfi(frame, modules, memory) {
        Ok(unwound) => return unwound,
        Err(error) => error,
    };
    // Where the rules lead to the stack's next pages and these cannot be read, other means would need them as well; a
    // caller that fetches memory as it is asked for is spared what they would try.
    if let UnwindError::UnreadableMemory { at } = error
        && VaRange::from_len(frame.registers.sp(), NEAR_STACK).contains(at)
    {
        return Unwound { cfa: None, is_signal_frame: false, caller: Err(StackEnd::Failed(error)) };
    }
    if let Some(guessed) = x86_64::without_cfi::unwind(frame, modules, memory) {
        let is_signal_frame = guessed.trust == FrameTrust::SignalFrame;
        let growth = if is_signal_frame { StackGrowth::Anywhere } else { StackGrowth::Outwards };
        let caller = checked_caller(frame, guessed.caller, guessed.trust, growth, memory);
        return Unwound { cfa: guessed.cfa, is_signal_frame, caller };
    }
    // psABI 3.4.1: entry code marks the deepest frame by a frame pointer of zero, which it also is when a program starts.
    let frame_pointer = frame.registers.get_u64(frame.registers.arch().frame_pointer());
    if frame_pointer == Some(0) && matches!(error, UnwindError::NoCfi { .. }) {
        return Unwound { cfa: None, is_signal_frame: false, caller: Err(StackEnd::Outermost) };
    }
    let error = match error {
        UnwindError::NoCfi { .. } => UnwindError::NoCaller { address: frame.address.address() },
        error => error,
    };
    Unwound { cfa: None, is_signal_frame: false, caller: Err(StackEnd::Failed(error)) }
}

fn by_cfi(
    frame: &Frame,
    modules: &mut dyn UnwindModules,
    memory: &mut dyn MemoryReader,
) -> Result<Unwound, UnwindError> {
    let (module, row) = find_row(frame.address, modules)?;
    if matches!(frame.address, FrameAddress::Pc(_))
        && !row.is_signal_frame
        && row.has_expressions()
        && let Some(found) = x86_64::analysis::in_epilogue(&frame.registers, memory)
    {
        let caller = checked_caller(frame, found.caller, FrameTrust::Prologue, StackGrowth::Outwards, memory);
        return Ok(Unwound { cfa: Some(found.cfa), is_signal_frame: false, caller });
    }
    let applied = apply(&module.cfi, &row, &frame.registers, memory)?;
    let caller = match applied.caller {
        None => Err(StackEnd::Outermost),
        Some(mut registers) => {
            let trust = if row.is_signal_frame { FrameTrust::SignalFrame } else { FrameTrust::Cfi };
            if row.is_signal_frame {
                x86_64::signal_frame::complete(&mut registers, &frame.registers, memory);
            }
            checked_caller(frame, registers, trust, applied.growth, memory)
        }
    };
    Ok(Unwound { cfa: Some(applied.cfa), is_signal_frame: row.is_signal_frame, caller })
}

fn find_row(address: FrameAddress, modules: &mut dyn UnwindModules) -> Result<(UnwindModule, Arc<Row>), UnwindError> {
    let lookup = address.lookup_address();
    let none = UnwindError::NoCfi { address: lookup };
    let module = modules.module_at(lookup).ok_or(none.clone())?;
    let row_at = |va: Va| match module.cfi.row(va.to_image(module.bias)) {
        Ok(row) => Ok(row),
        Err((entry, source)) => Err(UnwindError::DamagedCfi { entry: ImageOffset(entry), source }),
    };
    let found = row_at(lookup);
    // A trampoline whose entry does not start a byte early, as that of the C library does, is only found at the
    // address itself; which is then the first one behind another function's entry, or behind none.
    let ends_here = match &found {
        Ok(Some(row)) => row.entry_end == address.address().to_image(module.bias).0,
        _ => true,
    };
    if ends_here
        && lookup != address.address()
        && let Ok(Some(exact)) = row_at(address.address())
        && exact.is_signal_frame
    {
        return Ok((module, exact));
    }
    let row = found?.ok_or(none)?;
    Ok((module, row))
}

/// The caller as a frame, unless it is none or cannot be.
fn checked_caller(
    callee: &Frame,
    registers: FrameRegisters,
    trust: FrameTrust,
    growth: StackGrowth,
    memory: &mut dyn MemoryReader,
) -> Result<Frame, StackEnd> {
    let was_interrupted = trust == FrameTrust::SignalFrame;
    let pc = registers.pc();
    // Thread entry code and kernels leave a zero where the outermost return address would be.
    if pc == Va(0) && !was_interrupted {
        return Err(StackEnd::Outermost);
    }
    let (sp, callee_sp) = (registers.sp(), callee.registers.sp());
    let grows = match growth {
        StackGrowth::Outwards => sp > callee_sp,
        StackGrowth::NotInwards => sp >= callee_sp,
        // Another stack may be anywhere, but one that is further in is more likely a damaged frame pointer, unless what
        // is found there is a return address for certain.
        StackGrowth::Anywhere => sp > callee_sp || was_interrupted || x86_64::is_behind_call(pc, memory),
    };
    if !grows {
        return Err(StackEnd::NotGrowing { sp });
    }
    let address = if was_interrupted { FrameAddress::Pc(pc) } else { FrameAddress::ReturnAddress(pc) };
    Ok(Frame { address, registers, cfa: None, trust, is_signal_frame: false })
}
