//! From unwound frames to the rows of `k`.

use outpost_target::TargetError;
use outpost_unwind::{Stack, StackEnd};

use super::tail::TailCalls;
use super::{FrameKind, StackFrame, ThreadStack};
use crate::{Engine, EngineError, ProcessOrdinal, ThreadOrdinal};

impl Engine {
    /// A thread's stack of at most `limit` rows.
    ///
    /// # Errors
    /// [`EngineError::NoThread`]; [`EngineError::Running`]; [`EngineError::Target`] if its registers cannot be read.
    #[doc(alias = "GetStackTrace")]
    pub fn stack(&mut self, thread: ThreadOrdinal, limit: usize) -> Result<ThreadStack, EngineError> {
        self.need_stopped()?;
        let mut stacks = self.physical_stacks(&[thread], limit)?;
        let mut stack = stacks.pop().unwrap_or(Err(TargetError::Gone { process: Default::default() }))?;
        let process = self.process_of(thread)?.ordinal;
        let known = self.process(process)?;
        if stack.frames.iter().any(|frame| known.module_at(frame.address.lookup_address()).is_none()) {
            // Code of no module may be such that the program tells of; then its call frame information is there, too.
            let before = known.registered.modules().count();
            self.read_registered_code(process);
            if self.process(process)?.registered.modules().count() != before {
                stack = self.physical_stacks(&[thread], limit)?.pop().unwrap_or(Ok(stack))?;
            }
        }
        self.describe_stack(thread, &stack, limit)
    }

    /// Stacks of many threads (`~*k`) by few round trips: registers of all, then stack memory of all.
    ///
    /// A thread whose registers cannot be read has no frames and says why.
    ///
    /// # Errors
    /// As [`Engine::stack`]; [`EngineError::Cancelled`].
    pub fn stacks(&mut self, threads: &[ThreadOrdinal], limit: usize) -> Result<Vec<ThreadStack>, EngineError> {
        self.need_stopped()?;
        let stacks = self.physical_stacks(threads, limit)?;
        let mut described = Vec::with_capacity(threads.len());
        for (&thread, stack) in threads.iter().zip(stacks) {
            self.check_interrupt()?;
            described.push(match stack {
                Ok(stack) => self.describe_stack(thread, &stack, limit)?,
                Err(error) => ThreadStack { thread, frames: Vec::new(), problem: error.to_string() },
            });
        }
        Ok(described)
    }

    /// The stack that starts from given registers, in the current process (`k = sp ip`).
    ///
    /// # Errors
    /// As [`Engine::stack`].
    #[doc(alias = "GetContextStackTrace")]
    pub fn stack_from(
        &mut self,
        context: &outpost_base::RegisterContext,
        limit: usize,
    ) -> Result<ThreadStack, EngineError> {
        self.need_stopped()?;
        let thread = self.current_thread()?;
        let process = self.process_of(thread)?.ordinal;
        let mut memory = self.process(process)?.memory.clone();
        let mut code = self.process_code(process)?;
        let stack = outpost_unwind::unwind_stack(context, limit, &mut code, &mut memory);
        self.describe_stack(thread, &stack, limit)
    }

    /// Whether stacks have rows for functions that the compiler put into others (`.inline`).
    pub fn shows_inline_frames(&self) -> bool {
        self.shows_inline
    }

    /// Gives such functions rows of their own, or not; then variables of theirs are not seen. The innermost frame is
    /// selected, since numbers of frames are others.
    pub fn show_inline_frames(&mut self, shown: bool) {
        self.shows_inline = shown;
        self.reset_scope();
    }

    pub(crate) fn describe_stack(
        &mut self,
        thread: ThreadOrdinal,
        stack: &Stack,
        limit: usize,
    ) -> Result<ThreadStack, EngineError> {
        let process = self.process_of(thread)?.ordinal;
        let mut frames = Vec::new();
        let mut known = TailCalls::default();
        for (physical, frame) in stack.frames.iter().enumerate() {
            if frames.len() >= limit {
                break;
            }
            let return_address = stack.frames.get(physical + 1).map(|caller| caller.address.address());
            let row = StackFrame {
                index: 0,
                kind: FrameKind::Physical,
                physical: physical as u32,
                instruction: frame.address.address(),
                lookup_address: frame.address.lookup_address(),
                sp: frame.registers.sp(),
                cfa: frame.cfa,
                return_address,
                module: String::new(),
                function: String::new(),
                displacement: 0,
                source: None,
                trust: frame.trust,
                is_signal_frame: frame.is_signal_frame,
                is_tail_call: false,
            };
            self.expand_frame(process, row, &mut frames)?;
            for row in self.tail_rows(process, stack, physical, &mut known)? {
                self.expand_frame(process, row, &mut frames)?;
            }
        }
        frames.truncate(limit);
        for (index, frame) in frames.iter_mut().enumerate() {
            frame.index = index as u32;
        }
        let problem = match &stack.end {
            StackEnd::Outermost | StackEnd::FrameLimit => String::new(),
            StackEnd::NotGrowing { sp } => {
                format!("The stack ends here: the next frame's stack pointer {sp} is not above this one's")
            }
            StackEnd::Cycle => "The stack ends here: its frames repeat".into(),
            StackEnd::Failed(error) => format!("The stack ends here: cannot {error}"),
            other => format!("The stack ends here: {other:?}"),
        };
        Ok(ThreadStack { thread, frames, problem })
    }

    /// Appends a frame, with the inline frames in it before it.
    fn expand_frame(
        &mut self,
        process: ProcessOrdinal,
        row: StackFrame,
        frames: &mut Vec<StackFrame>,
    ) -> Result<(), EngineError> {
        let chain = self.functions_at(process, row.lookup_address)?;
        if chain.is_empty() {
            let module = self.process(process)?.module_at(row.lookup_address);
            let (name, start) = module.map(|module| (module.name.clone(), module.info.range.start)).unwrap_or_default();
            frames.push(StackFrame { module: name, displacement: row.instruction - start, ..row });
            return Ok(());
        }
        let innermost = chain.first().and_then(|function| function.source.clone());
        for mut function in chain {
            if !self.shows_inline {
                if function.is_inlined {
                    continue;
                }
                // What is executing is a line of the inlined code all the same.
                function.source.clone_from(&innermost);
            }
            frames.push(StackFrame {
                kind: if function.is_inlined { FrameKind::Inline } else { row.kind },
                module: function.module,
                function: function.name,
                displacement: row.instruction - function.start,
                source: function.source,
                ..row.clone()
            });
        }
        Ok(())
    }
}
