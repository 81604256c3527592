//! Control that went, or was to go, to where no code is: a call, a jump, a return.

use outpost_base::{MemoryReader, Va};

use super::analysis::{BadPointer, Subject, Verdict};
use super::origin::{Described, Tracer};
use super::x86_64::{self, Indirect};
use super::{AccessKind, AddressKind, AddressNote, FaultAccess, FaultClass, OriginStep, access, address, blame};
use crate::disassembly::Instruction;
use crate::{Engine, EngineError};

/// Where control was to go and by what.
struct Transfer {
    target: Va,
    note: AddressNote,
    /// What the program calls the pointer.
    pointer: Option<Described>,
    origin: Vec<OriginStep>,
}

impl Engine {
    /// Control went to where no code is.
    pub(super) fn bad_call(&mut self, subject: &Subject, pc: Va, sp: Va) -> Result<Verdict, EngineError> {
        let process = self.process_of(subject.thread)?.ordinal;
        let note = self.address_note(pc, sp)?;
        let mut tracer = Tracer::new(self, process, subject.physical.clone());
        let call = tracer.call_in(subject.frame + 1);
        let call = call.and_then(|call| Some((x86_64::indirect_target(call.at, &call.bytes)?, call.at)));
        let is_call = call.is_some();
        let pointer = call.and_then(|(target, at)| match target {
            Indirect::Register(register) => tracer.register(subject.frame + 1, at, register),
            Indirect::Memory(operand) => tracer.operand(subject.frame + 1, at, &operand),
        });
        let origin = std::mem::take(&mut tracer.steps);
        // A return leaves what it went to just below the stack pointer.
        let is_return = !is_call && self.memory()?.read_u64(Va(sp.0.wrapping_sub(8))) == Some(pc.0);
        let transfer = Transfer { target: pc, note, pointer, origin };
        if is_return && transfer.note.kind != AddressKind::Null {
            return self.overwritten_return(transfer, "a function");
        }
        self.bad_pointer_called(transfer, is_call)
    }

    /// A call, jump or return whose target is no address at all: the processor refuses it at the instruction itself
    /// (Intel SDM vol. 2, CALL, JMP and RET: #GP(0) if the target is not canonical). `None` if it is no such thing.
    pub(super) fn refused_transfer(
        &mut self,
        subject: &Subject,
        instruction: &Instruction,
        sp: Va,
    ) -> Result<Option<Verdict>, EngineError> {
        let (at, bytes) = (instruction.at, &instruction.bytes);
        let process = self.process_of(subject.thread)?.ordinal;
        let mut memory = self.memory_of(process)?;
        if x86_64::is_return(at, bytes) {
            let Some(target) = memory.read_u64(sp).map(Va).filter(|target| !access::is_canonical(*target)) else {
                return Ok(None);
            };
            let note = self.address_note(target, sp)?;
            let row = subject.rows.iter().find(|row| row.physical as usize == subject.frame && row.is_physical());
            let function = row.map_or_else(|| "a function".to_owned(), blame::function_words);
            let transfer = Transfer { target, note, pointer: None, origin: Vec::new() };
            return self.overwritten_return(transfer, &function).map(Some);
        }
        let Some(from) = x86_64::indirect_target(at, bytes) else { return Ok(None) };
        let mut tracer = Tracer::new(self, process, subject.physical.clone());
        let target = match &from {
            Indirect::Register(register) => tracer.value(subject.frame, *register),
            Indirect::Memory(operand) => tracer.address_of(subject.frame, operand).and_then(|at| memory.read_u64(at)),
        };
        let Some(target) = target.map(Va).filter(|target| !access::is_canonical(*target)) else { return Ok(None) };
        let pointer = match &from {
            Indirect::Register(register) => tracer.register(subject.frame, at, *register),
            Indirect::Memory(operand) => tracer.operand(subject.frame, at, operand),
        };
        let origin = std::mem::take(&mut tracer.steps);
        let note = self.address_note(target, sp)?;
        self.bad_pointer_called(Transfer { target, note, pointer, origin }, true).map(Some)
    }

    fn overwritten_return(&mut self, transfer: Transfer, function: &str) -> Result<Verdict, EngineError> {
        let Transfer { target, note, .. } = transfer;
        let place = self.place_words(&note)?;
        let cause =
            format!("the return address of {function} was overwritten on the stack: it returns to {target}, {place}");
        let access =
            FaultAccess { kind: AccessKind::Execute, address: Some(target), size: 0, expression: String::new() };
        Ok(Verdict {
            access: Some(access),
            address: Some(note),
            ..Verdict::plain(FaultClass::StackBufferOverflow, cause)
        })
    }

    fn bad_pointer_called(&mut self, transfer: Transfer, is_call: bool) -> Result<Verdict, EngineError> {
        let Transfer { target, note, pointer, origin } = transfer;
        let class = match &note.kind {
            AddressKind::Null => FaultClass::NullPointerCall,
            AddressKind::Mapped { .. } => FaultClass::NotExecutable,
            AddressKind::NonCanonical => FaultClass::NonCanonicalPointer,
            _ => FaultClass::WildPointerCall,
        };
        let name = pointer.as_ref().map(|pointer| pointer.text.clone());
        let what = match &name {
            Some(name) => format!("the function pointer {name}"),
            None => "a function pointer".to_owned(),
        };
        let place = self.place_words(&note)?;
        let cause = match class {
            FaultClass::NullPointerCall => format!("{what} was called, and it is NULL"),
            FaultClass::NotExecutable => format!("{what} leads to what is not code: {note}"),
            _ if name.is_none() && !is_call => format!("a function returned or jumped to {target}, {place}"),
            _ => format!("{what} was called, and it leads to {target}, {place}"),
        };
        let access = FaultAccess {
            kind: AccessKind::Execute,
            address: Some(target),
            size: 0,
            expression: name.unwrap_or_default(),
        };
        let memory = pointer.and_then(|pointer| pointer.memory);
        Ok(Verdict {
            access: Some(access),
            address: Some(note),
            origin,
            bad: Some(BadPointer { value: Some(target.0), memory }),
            ..Verdict::plain(class, cause)
        })
    }

    /// What is at a target, for the end of a sentence: a library that was unloaded, text, nothing.
    fn place_words(&mut self, note: &AddressNote) -> Result<String, EngineError> {
        let process = self.current_process()?;
        if let Some(gone) = self.process(process)?.unloaded_module_at(note.at) {
            let offset = note.at.0.wrapping_sub(gone.info.bias.0);
            return Ok(format!("where {} was before it was unloaded (its offset {offset:#x})", gone.info.path));
        }
        let place = match &note.kind {
            AddressKind::NonCanonical => "which is no address at all".to_owned(),
            AddressKind::Mapped { .. } => format!("which is not code: {note}"),
            _ => "where no code is".to_owned(),
        };
        Ok(match address::text_words(note.at.0, &self.regions(process)?) {
            Some(text) => format!("{place}; {text}"),
            None => place,
        })
    }
}
