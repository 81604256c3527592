//! Code of the program's own that a call goes through, so that none has to be written.

use memchr::memmem;
use outpost_base::Va;
use outpost_target::Region;

use crate::breakpoints::TRAP;
use crate::memory::ProcessMemory;

/// `syscall; ret`.
const SYSCALL: &[u8] = &[0x0f, 0x05, 0xc3];
/// `mov rax, 15; syscall` (glibc's restorer) and `mov eax, 15; syscall`.
const RESTORERS: [&[u8]; 2] = [&[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05], &[0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05]];
/// `leave; ret`.
const LEAVE: &[u8] = &[0xc9, 0xc3];
/// How much of one mapping is looked through.
const MAX_SEARCHED: u64 = 64 << 20;

/// Where the pieces of code are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gadgets {
    /// `syscall; ret`.
    pub(crate) syscall: Va,
    /// A signal restorer.
    pub(crate) restorer: Va,
    /// `leave; ret`: takes a thread from behind a function's arguments on the stack to where rbp points.
    pub(crate) leave: Option<Va>,
}

/// Whether a signal restorer is at `at`.
pub(super) fn is_restorer(memory: &ProcessMemory, at: Va) -> bool {
    let mut bytes = [0; RESTORERS[0].len()];
    let got = memory.read(at, &mut bytes);
    RESTORERS.iter().any(|pattern| bytes[..got].starts_with(pattern))
}

impl Gadgets {
    /// Looks for them in the program's code. Any C library has them; a dynamic program has its loader from the start.
    pub(crate) fn find(memory: &ProcessMemory, regions: &[Region]) -> Option<Gadgets> {
        let (mut syscall, mut restorer, mut leave) = (None, None, None);
        // The loader stays for the program's life, other libraries may be unloaded; it is small, too.
        let is_loader = |region: &&Region| region.name.contains("/ld-");
        let code = || regions.iter().filter(|region| region.execute && region.read && region.inode != 0);
        for region in code().filter(is_loader).chain(code().filter(|region| !is_loader(region))) {
            let mut bytes = vec![0; region.range.len().min(MAX_SEARCHED) as usize];
            let got = memory.read(region.range.start, &mut bytes);
            let find = |pattern: &[u8]| memmem::find(&bytes[..got], pattern).map(|at| region.range.start + at as u64);
            syscall = syscall.or_else(|| find(SYSCALL));
            restorer = restorer.or_else(|| RESTORERS.iter().find_map(|pattern| find(pattern)));
            leave = leave.or_else(|| find(LEAVE));
            if let (Some(syscall), Some(restorer), Some(_)) = (syscall, restorer, leave) {
                return Some(Gadgets { syscall, restorer, leave });
            }
        }
        Some(Gadgets { syscall: syscall?, restorer: restorer?, leave })
    }

    /// The way back from behind arguments on the stack, if it is still there.
    pub(super) fn leave(&self, memory: &ProcessMemory) -> Option<Va> {
        let mut bytes = [0; LEAVE.len()];
        self.leave.filter(|at| memory.read(*at, &mut bytes) == bytes.len() && bytes == LEAVE)
    }

    /// Whether the code is still there: libraries are unloaded, breakpoints planted.
    pub(super) fn are_there(&self, memory: &ProcessMemory) -> bool {
        let starts_with = |at: Va, pattern: &[u8]| {
            let mut bytes = vec![0; pattern.len()];
            memory.read(at, &mut bytes) == bytes.len() && bytes == pattern
        };
        // A call that has not returned has a trap of ours at the restorer, which the lifeline leads through. Only one that it
        // does not know would be in the way.
        let mut first = [0];
        let leads_on = memory.read(self.restorer, &mut first) == 1 && first != [TRAP];
        let is_restorer = |pattern: &&[u8]| starts_with(self.restorer + 1, &pattern[1..]);
        leads_on && starts_with(self.syscall, SYSCALL) && RESTORERS.iter().any(is_restorer)
    }
}
