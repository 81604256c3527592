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
                    let (number, offset) = (memory.read_u64(rdi?)?, memory.read_u64(rdi? + 8)?);
                    let told = self.thread_local_address(&module, offset);
                    rax = Some(told.or_else(|| self.noted_block(thread_pointer, number, offset))?.0);
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

    /// The same where the C library tells debuggers nothing of its structures, as glibc before 2.34 does in a program without
    /// libpthread: what `__tls_get_addr` has noted in the thread's table if the thread has called it, by the module's number
    /// (`dtv_t` and `tcbhead_t`, glibc sysdeps/generic/dl-dtv.h and sysdeps/x86_64/nptl/tls.h).
    fn noted_block(&mut self, thread_pointer: Va, number: u64, offset: u64) -> Option<Va> {
        const ENTRY: u64 = 16;
        let is_glibc = |module: &std::rc::Rc<crate::modules::Module>| {
            let file = module.info.path.rsplit('/').next().unwrap_or_default();
            file.starts_with("libc.so.6") || file.starts_with("libc-2")
        };
        let process = self.current_process().ok()?;
        if !self.process(process).ok()?.modules.iter().any(is_glibc) {
            return None;
        }
        let mut memory = self.memory().ok()?;
        let table = Va(memory.read_u64(thread_pointer + 8)?);
        // The entry before the first holds how many there are.
        let count = memory.read_u64(Va(table.0.checked_sub(ENTRY)?))?;
        let block = memory.read_u64(table.checked_add(ENTRY.checked_mul(number)?)?).filter(|_| number <= count)?;
        // Not allocated yet: `TLS_DTV_UNALLOCATED` is odd, blocks are not.
        (block != 0 && block & 1 == 0).then(|| Va(block.wrapping_add(offset)))
    }
}
