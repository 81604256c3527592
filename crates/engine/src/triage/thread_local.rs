//! Thread-local variables of libraries without debug info.

use outpost_base::{MemoryReader, Va};

use crate::Engine;
use crate::disassembly::disassemble;

impl Engine {
    /// Where a thread-local variable of the current thread is for which a library has a function that returns its address
    /// and does nothing else (`__errno_location`, `__cxa_get_globals`): what it would return, read out of its code.
    pub(super) fn thread_local_by_getter(&mut self, getter: &str) -> Option<Va> {
        let thread = self.current_thread().ok()?;
        let thread_pointer = self.thread_pointer(thread)?;
        let entry = self.find_name(getter).ok()?.first()?.address;
        let process = self.current_process().ok()?;
        let module = self.process(process).ok()?.module_at(entry)?.clone();
        let mut memory = self.memory().ok()?;
        let arch = self.arch();
        let listing = disassemble(arch, &mut memory, &mut crate::disassembly::NoSymbols, entry, 12, false);
        let (mut rax, mut rdi) = (None, None);
        for instruction in &listing {
            use super::x86_64::Move;
            match super::x86_64::simple_move(instruction.at, &instruction.bytes)? {
                Move::ArgumentAddress(at) => rdi = Some(at),
                // `__tls_get_addr` is given module and offset (ELF Handling for Thread-Local Storage, 3.4.3).
                Move::Call => {
                    let offset = memory.read_u64(rdi? + 8)?;
                    rax = Some(self.thread_local_address(&module, offset)?.0);
                }
                Move::Load(at) => rax = Some(memory.read_u64(at)?),
                Move::ThreadPointer => rax = Some(thread_pointer.0),
                Move::AddThreadPointer => rax = Some(rax?.wrapping_add(thread_pointer.0)),
                Move::Add(more) => rax = Some(rax?.wrapping_add_signed(more)),
                Move::Return => return rax.map(Va),
                Move::Other => {}
            }
        }
        None
    }
}
