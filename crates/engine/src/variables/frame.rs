//! A frame as the evaluation of variables sees it.

use std::rc::Rc;
use std::sync::Arc;

use outpost_base::{LoadBias, MemoryReader, RegisterContext, RegisterValue, ThreadId, Va};
use outpost_symbols::{CallerFrame, FrameContext, TailFrame, Value, Variable, Variables};

use super::tls::TlsSearch;
use crate::modules::Module;
use crate::registers::sets_for;
use crate::stack::PhysicalStack;
use crate::symbols::SymbolLoader;
use crate::{ProcessMemory, StackFrame};

/// A physical frame of a stack, with what is needed to look outwards from it.
pub(crate) struct StackContext {
    pub(crate) memory: ProcessMemory,
    pub(crate) stack: PhysicalStack,
    /// Which frame.
    pub(crate) index: usize,
    /// The thread whose stack it is, and its vector registers once they were asked for: unwinding does not follow them,
    /// so only the innermost frame has them.
    pub(crate) thread: ThreadId,
    pub(crate) vectors: Option<Option<RegisterContext>>,
    /// Modules of the process, sorted by address.
    pub(crate) modules: Rc<[Rc<Module>]>,
    pub(crate) loader: SymbolLoader,
    /// The caller, once it was asked for.
    pub(crate) outer: Option<Box<StackContext>>,
}

/// The image that code belongs to.
pub(crate) struct FrameImage {
    pub(crate) variables: Arc<Variables>,
    pub(crate) bias: LoadBias,
}

impl StackContext {
    fn module(&self) -> Option<&Rc<Module>> {
        self.module_at(self.lookup_address()?)
    }

    fn module_at(&self, at: Va) -> Option<&Rc<Module>> {
        self.modules.iter().find(|module| module.info.range.contains(at))
    }

    /// The image around an address; `None` without debug info.
    pub(crate) fn image_at(&self, at: Va) -> Option<FrameImage> {
        let module = self.module_at(at)?;
        Some(FrameImage { variables: self.loader.symbols(module).variables()?, bias: module.info.bias })
    }

    /// The value of a variable in a row of `k` that is this frame, lies in it, or ended by a tail call below it; `image` is
    /// that of the row's code.
    pub(crate) fn value_in(&mut self, row: &StackFrame, image: &FrameImage, variable: &Variable) -> Value {
        let Some(caller_variables) = self.variables().filter(|_| row.is_tail_call) else {
            return image.variables.value(variable, self);
        };
        let at = row.lookup_address.to_image(image.bias);
        // What it had on the stack is overwritten by what it called.
        let mut frame = TailFrame { caller: self, caller_variables, cfa: None, load_bias: image.bias, at };
        image.variables.value(variable, &mut frame)
    }

    /// Variables of the image that the frame's code belongs to.
    pub(crate) fn variables(&self) -> Option<Arc<Variables>> {
        self.loader.symbols(self.module()?).variables()
    }
}

impl FrameContext for StackContext {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        &mut self.memory
    }

    fn load_bias(&self) -> LoadBias {
        self.module().map(|module| module.info.bias).unwrap_or_default()
    }

    fn pc(&self) -> Option<Va> {
        Some(self.stack.frames.get(self.index)?.address.address())
    }

    fn lookup_address(&self) -> Option<Va> {
        Some(self.stack.frames.get(self.index)?.address.lookup_address())
    }

    fn register(&mut self, dwarf: u16) -> Option<RegisterValue> {
        let frame = self.stack.frames.get(self.index)?;
        let arch = frame.registers.arch();
        let id = arch.register_by_dwarf(dwarf)?;
        if let Some(value) = frame.registers.get(id) {
            return Some(value);
        }
        if self.index != 0 || !sets_for(arch, id).floating {
            return None;
        }
        let (loader, thread) = (&self.loader, self.thread);
        self.vectors.get_or_insert_with(|| loader.vector_registers(thread)).as_ref()?.get(id)
    }

    fn cfa(&mut self) -> Option<Va> {
        self.stack.frames.get(self.index)?.cfa
    }

    fn thread_local(&mut self, offset: u64) -> Option<Va> {
        let frame = self.stack.frames.first()?;
        let fs_base = frame.registers.arch().register_by_name("fs_base")?;
        let thread_pointer = Va(frame.registers.get_u64(fs_base)?);
        let module = self.module()?.clone();
        let (loader, modules) = (&self.loader, &self.modules[..]);
        TlsSearch { loader, memory: self.memory.clone(), modules, thread_pointer }.address(&module, offset)
    }

    fn caller(&mut self) -> Option<CallerFrame<'_>> {
        let callee = self.stack.frames.get(self.index)?;
        let caller = self.stack.frames.get(self.index + 1)?;
        // A frame that was interrupted did not call.
        if callee.is_signal_frame || matches!(caller.address, outpost_unwind::FrameAddress::Pc(_)) {
            return None;
        }
        if self.outer.is_none() {
            self.outer = Some(Box::new(StackContext {
                memory: self.memory.clone(),
                stack: self.stack.clone(),
                index: self.index + 1,
                thread: self.thread,
                vectors: None,
                modules: self.modules.clone(),
                loader: self.loader.clone(),
                outer: None,
            }));
        }
        let frame = self.outer.as_deref_mut()?;
        let variables = frame.variables()?;
        Some(CallerFrame { frame, variables })
    }
}
