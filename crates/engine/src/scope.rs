//! The scope: which frame of the current thread names, registers and locals are looked up in.

use std::rc::Rc;

use outpost_base::{RegisterContext, RegisterId, RegisterValue, Va};
use outpost_unwind::FrameRegisters;

use crate::registers::{RecentValues, sets_for};
use crate::stack::PhysicalStack;
use crate::{Engine, EngineError, FrameKind, StackFrame, ThreadOrdinal};

/// Frames unwound for the scope at once; a selected frame beyond them unwinds the whole stack.
const SCOPE_FRAMES: usize = 64;

/// The scope and what was found out for it; void at each stop.
#[derive(Default)]
pub(crate) struct Scope {
    /// Frame selected, as rows of `k` count.
    frame: u32,
    /// Its registers are what registers as a whole are shown of, too (`.frame /c`).
    shows_registers: bool,
    /// Registers that the current thread is looked at with instead of its own (`.cxr`).
    context: Option<RegisterContext>,
    stack: Option<ScopeStack>,
    pub(crate) recent: RecentValues,
}

/// The current thread's stack, as far as it was needed.
#[derive(Clone)]
struct ScopeStack {
    thread: ThreadOrdinal,
    epoch: u64,
    physical: PhysicalStack,
    rows: Rc<[StackFrame]>,
}

impl Scope {
    /// Number of the selected frame.
    pub(crate) fn frame(&self) -> u32 {
        self.frame
    }
}

impl Engine {
    /// Selects a frame of the current thread (`.frame n`); lasts until execution or another thread is selected.
    ///
    /// # Errors
    /// [`EngineError::NoFrame`]; [`EngineError::Running`].
    #[doc(alias = "SetScopeFrameByIndex")]
    pub fn select_frame(&mut self, index: u32) -> Result<StackFrame, EngineError> {
        let rows = self.scope_rows(index)?;
        let count = rows.len() as u32;
        let row = rows.get(index as usize).cloned().ok_or(EngineError::NoFrame { index, count })?;
        self.scope.frame = index;
        self.scope.shows_registers = false;
        Ok(row)
    }

    /// Makes the selected frame the one whose registers are shown where a thread's are asked for (`.frame /c`); lasts
    /// until a frame is selected again, execution or another thread.
    ///
    /// # Errors
    /// As [`Engine::scope_frame`].
    pub fn show_frame_registers(&mut self) -> Result<(), EngineError> {
        self.scope_frame()?;
        self.scope.shows_registers = true;
        Ok(())
    }

    /// Registers of the frame that [`Engine::show_frame_registers`] chose; `None`: those of the thread are meant.
    ///
    /// # Errors
    /// As [`Engine::scope_frame`].
    pub fn shown_frame_registers(&mut self) -> Result<Option<FrameRegisters>, EngineError> {
        match (self.scope.shows_registers, self.scope.context.is_some()) {
            (true, _) => self.scope_registers().map(Some),
            (false, true) => self.frame_registers(0).map(Some),
            (false, false) => Ok(None),
        }
    }

    /// Looks at the current thread with other registers than its own, or with its own again: its stack begins there, and
    /// registers are theirs, until execution, another thread or another context. The thread itself is not changed.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Running`].
    #[doc(alias = "SetScope")]
    pub fn set_context(&mut self, context: Option<RegisterContext>) -> Result<(), EngineError> {
        self.need_stopped()?;
        self.current_thread()?;
        self.reset_scope();
        self.scope.context = context;
        Ok(())
    }

    /// The context that [`Engine::set_context`] set for a thread.
    pub(crate) fn context_of(&self, thread: ThreadOrdinal) -> Option<&RegisterContext> {
        self.scope.context.as_ref().filter(|_| self.current == Some(thread))
    }

    /// The selected frame.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Running`]; [`EngineError::Target`].
    #[doc(alias = "GetScope")]
    pub fn scope_frame(&mut self) -> Result<StackFrame, EngineError> {
        let index = self.scope.frame;
        let rows = self.scope_rows(index)?;
        let count = rows.len() as u32;
        rows.get(index as usize).cloned().ok_or(EngineError::NoFrame { index, count })
    }

    /// Registers of the selected frame: known ones as they will be when control is back in it.
    ///
    /// # Errors
    /// As [`Engine::scope_frame`].
    pub fn scope_registers(&mut self) -> Result<FrameRegisters, EngineError> {
        let frame = self.scope_frame()?;
        self.registers_in(&frame)
    }

    /// Registers of a frame of the current thread. After a tail call they are what was known of them when it was made.
    ///
    /// # Errors
    /// As [`Engine::scope_frame`].
    pub fn registers_in(&mut self, frame: &StackFrame) -> Result<FrameRegisters, EngineError> {
        let registers = self.frame_registers(frame.physical)?;
        Ok(match frame.is_tail_call {
            true => registers.at_tail_call(frame.instruction, frame.cfa),
            false => registers,
        })
    }

    /// Registers of a physical frame ([`StackFrame::physical`]) of the current thread.
    ///
    /// # Errors
    /// As [`Engine::scope_frame`].
    pub fn frame_registers(&mut self, physical: u32) -> Result<FrameRegisters, EngineError> {
        let stack = self.scope_stack(physical as usize + 1)?;
        let count = stack.physical.frames.len() as u32;
        let frame = stack.physical.frames.get(physical as usize);
        Ok(frame.ok_or(EngineError::NoFrame { index: physical, count })?.registers.clone())
    }

    /// A register in the selected frame; `None` if it is not known there.
    pub(crate) fn scope_register(&mut self, id: RegisterId) -> Result<Option<RegisterValue>, EngineError> {
        let frame = if self.scope.frame == 0 { None } else { Some(self.scope_frame()?) };
        let Some(frame) = frame.filter(|frame| frame.physical != 0) else {
            let thread = self.current_thread()?;
            if let Some(context) = self.context_of(thread) {
                return Ok(context.get(id));
            }
            return Ok(self.registers(thread, sets_for(self.arch(), id))?.get(id));
        };
        Ok(self.registers_in(&frame)?.get(id))
    }

    /// Program counter of the selected frame.
    pub(crate) fn scope_pc(&mut self) -> Result<Va, EngineError> {
        if self.scope.frame == 0 {
            let thread = self.current_thread()?;
            if let Some(context) = self.context_of(thread) {
                return Ok(context.pc());
            }
            return Ok(self.registers(thread, Default::default())?.pc());
        }
        Ok(self.scope_frame()?.instruction)
    }

    /// Where the selected frame returns to.
    pub(crate) fn return_address(&mut self) -> Result<Option<Va>, EngineError> {
        Ok(self.scope_frame()?.return_address)
    }

    /// The innermost frame is selected, and nothing is known of the stack.
    pub(crate) fn reset_scope(&mut self) {
        self.scope.frame = 0;
        self.scope.shows_registers = false;
        self.scope.context = None;
        self.forget_stack();
    }

    /// Nothing is known of the stack any more; the selected frame is looked for again by its number.
    pub(crate) fn forget_stack(&mut self) {
        self.scope.stack = None;
    }

    /// Looks at something with a frame of a thread selected; afterwards all is as it was.
    pub(crate) fn in_frame<T>(
        &mut self,
        thread: ThreadOrdinal,
        index: u32,
        look: impl FnOnce(&mut Engine) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.need_stopped()?;
        self.locate(thread)?;
        let (selected, frame, shows_registers) = (self.current, self.scope.frame, self.scope.shows_registers);
        let is_current = selected == Some(thread);
        let context = if is_current { None } else { self.scope.context.take() };
        // The stack is that of the current thread.
        let kept = if is_current { None } else { self.scope.stack.take() };
        self.current = Some(thread);
        let found = self.select_frame(index).and_then(|_| look(self));
        self.current = selected;
        self.scope.frame = frame;
        self.scope.shows_registers = shows_registers;
        if !is_current {
            self.scope.stack = kept;
            self.scope.context = context;
        }
        found
    }

    /// Physical frames of the current thread; at least `wanted` of them if there are so many.
    pub(crate) fn scope_physical(&mut self, wanted: usize) -> Result<PhysicalStack, EngineError> {
        Ok(self.scope_stack(wanted)?.physical)
    }

    /// How many rows of functions inlined into the same one come before a row.
    pub(crate) fn scope_rows_before(&mut self, frame: &StackFrame) -> Result<usize, EngineError> {
        let rows = self.scope_rows(frame.index)?;
        let is_of_same =
            |row: &&StackFrame| row.physical == frame.physical && row.lookup_address == frame.lookup_address;
        Ok(rows.iter().take(frame.index as usize).filter(is_of_same).count())
    }

    fn scope_rows(&mut self, index: u32) -> Result<Rc<[StackFrame]>, EngineError> {
        let mut stack = self.scope_stack(1)?;
        // Rows are at least as many as physical frames, so this is enough whatever is inlined.
        if stack.rows.len() <= index as usize {
            stack = self.scope_stack(index as usize + 1)?;
        }
        Ok(stack.rows)
    }

    fn scope_stack(&mut self, wanted: usize) -> Result<ScopeStack, EngineError> {
        self.need_stopped()?;
        let thread = self.current_thread()?;
        let is_enough = |stack: &ScopeStack| {
            let complete = !matches!(stack.physical.end, outpost_unwind::StackEnd::FrameLimit);
            stack.thread == thread && stack.epoch == self.epoch && (complete || stack.physical.frames.len() >= wanted)
        };
        if let Some(stack) = self.scope.stack.as_ref().filter(|stack| is_enough(stack)) {
            return Ok(stack.clone());
        }
        let limit = if wanted <= SCOPE_FRAMES { SCOPE_FRAMES } else { outpost_unwind::DEFAULT_FRAME_LIMIT };
        let mut stacks = self.physical_stacks(&[thread], limit)?;
        let gone = outpost_target::TargetError::Gone { process: Default::default() };
        let physical = stacks.pop().unwrap_or(Err(gone))?;
        let rows = self.describe_stack(thread, &physical, usize::MAX)?.frames;
        let stack = ScopeStack { thread, epoch: self.epoch, physical, rows: rows.into() };
        self.scope.stack = Some(stack.clone());
        Ok(stack)
    }
}

impl StackFrame {
    /// Whether it lies in the frame of another function.
    pub fn is_inline(&self) -> bool {
        self.kind == FrameKind::Inline
    }

    /// Whether it has a place of its own on the stack.
    pub fn is_physical(&self) -> bool {
        self.kind == FrameKind::Physical
    }
}
