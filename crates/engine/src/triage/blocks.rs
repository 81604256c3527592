//! What a process was started with, and what the C library keeps of a thread: Linux's answer to PEB and TEB.

use outpost_base::{MemoryReader, ProcessId, ThreadId, Va, VaRange};
use outpost_symbols::SymbolKind;

use crate::{Engine, EngineError, NamedAddress, ThreadOrdinal};

/// Strings that are read of an environment, and the longest of them.
const STRINGS: usize = 4096;
const LONGEST: usize = 128 << 10;

/// What a process was started with, as far as it is still in its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessBlock {
    /// Its id.
    pub id: ProcessId,
    /// Its parent's, 0 if unknown.
    pub parent: ProcessId,
    /// Path of its executable on its machine.
    pub executable: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment as it is now; `None` if it was not found.
    pub environment: Option<Vec<String>>,
    /// Auxiliary vector: names as getauxval(3) has them, and values.
    pub auxv: Vec<(String, u64)>,
}

/// What the C library keeps of a thread. Fields are `None` where they cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadBlock {
    /// The thread.
    pub thread: ThreadOrdinal,
    /// The system's id for it.
    pub id: ThreadId,
    /// Its name, empty if unknown.
    pub name: String,
    /// The thread pointer (`fs_base`), which `pthread_self` returns.
    pub at: Va,
    /// Where the block says that it is; the same in a sound process.
    pub own_address: Option<Va>,
    /// Table of thread-local blocks.
    pub dtv: Option<Va>,
    /// The value that guards stack frames (`-fstack-protector`).
    pub stack_guard: Option<u64>,
    /// The value that code pointers in the C library are mixed with.
    pub pointer_guard: Option<u64>,
    /// The id that the C library holds, 0 after the thread's end.
    pub library_id: Option<u32>,
    /// The function that the thread was started with; `None` for a process's first thread.
    pub start_routine: Option<(Va, String)>,
    /// Mapped addresses of its stack.
    pub stack: Option<VaRange>,
    /// Its stack pointer.
    pub sp: Va,
    /// `errno`.
    pub errno: Option<i32>,
}

/// Fields of musl's block.
#[derive(Debug, Clone, Copy)]
struct MuslBlock {
    id: u32,
    errno: i32,
}

/// Names of auxiliary vector entries (Linux include/uapi/linux/auxvec.h, arch/x86/include/uapi/asm/auxvec.h).
const AUXILIARY: &[(u64, &str)] = &[
    (2, "AT_EXECFD"),
    (3, "AT_PHDR"),
    (4, "AT_PHENT"),
    (5, "AT_PHNUM"),
    (6, "AT_PAGESZ"),
    (7, "AT_BASE"),
    (8, "AT_FLAGS"),
    (9, "AT_ENTRY"),
    (10, "AT_NOTELF"),
    (11, "AT_UID"),
    (12, "AT_EUID"),
    (13, "AT_GID"),
    (14, "AT_EGID"),
    (15, "AT_PLATFORM"),
    (16, "AT_HWCAP"),
    (17, "AT_CLKTCK"),
    (23, "AT_SECURE"),
    (24, "AT_BASE_PLATFORM"),
    (25, "AT_RANDOM"),
    (26, "AT_HWCAP2"),
    (27, "AT_RSEQ_FEATURE_SIZE"),
    (28, "AT_RSEQ_ALIGN"),
    (31, "AT_EXECFN"),
    (33, "AT_SYSINFO_EHDR"),
    (51, "AT_MINSIGSTKSZ"),
];

impl Engine {
    /// What the current process was started with.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Target`].
    pub fn process_block(&mut self) -> Result<ProcessBlock, EngineError> {
        let process = self.current_process()?;
        let info = self.process(process)?.info.clone();
        let name = |kind: u64| AUXILIARY.iter().find(|(known, _)| *known == kind).map(|(_, name)| (*name).to_owned());
        let auxv = info.auxv.iter().take_while(|(kind, _)| *kind != 0);
        let auxv = auxv.map(|&(kind, value)| (name(kind).unwrap_or_else(|| format!("type {kind:#x}")), value));
        Ok(ProcessBlock {
            id: info.id,
            parent: info.parent,
            executable: info.executable.clone(),
            arguments: info.arguments.clone(),
            environment: self.environment(),
            auxv: auxv.collect(),
        })
    }

    /// The strings that `environ` leads to; before the C library has set it, those the kernel put on the stack.
    fn environment(&mut self) -> Option<Vec<String>> {
        let mut memory = self.memory().ok()?;
        let variable = self.find_name("environ").or_else(|_| self.find_name("__environ")).ok();
        let variable = variable.and_then(|found| Some(found.first()?.address));
        let set = variable.and_then(|at| memory.read_u64(at)).filter(|at| *at != 0);
        let first = match set {
            Some(at) => Va(at),
            None => {
                // Where the kernel put argc, then argv, a null pointer, the environment (SysV x86-64 psABI, fig. 3.9).
                let end = self.find_name("__libc_stack_end").ok()?.first()?.address;
                let start = Va(memory.read_u64(end)?);
                let count = memory.read_u64(start)?.min(1 << 20);
                start + 8 * (count + 2)
            }
        };
        let mut pointers = Vec::new();
        for number in 0..STRINGS as u64 {
            match memory.read_u64(first + 8 * number)? {
                0 => break,
                at => pointers.push(Va(at)),
            }
        }
        // Most lie side by side on the stack.
        let ranges: Vec<VaRange> = pointers.iter().map(|at| VaRange::from_len(*at, 1)).collect();
        memory.prefetch(&ranges).ok()?;
        let text = |at: Va| {
            String::from_utf8_lossy(&memory.clone().read_cstring(at, LONGEST).unwrap_or_default()).into_owned()
        };
        Some(pointers.into_iter().map(text).collect())
    }

    /// What the C library keeps of a thread.
    ///
    /// # Errors
    /// [`EngineError::NoThread`]; [`EngineError::Running`]; [`EngineError::Target`].
    pub fn thread_block(&mut self, thread: ThreadOrdinal) -> Result<ThreadBlock, EngineError> {
        self.need_stopped()?;
        let summary = self.thread(thread)?;
        let registers = self.registers(thread, Default::default())?;
        let at = registers.get_u64(self.arch().register_by_name("fs_base").unwrap_or(self.arch().pc())).unwrap_or(0);
        let (at, sp) = (Va(at), registers.sp());
        let regions = self.regions(summary.process)?;
        let stack = regions.iter().find(|region| region.range.contains(sp) && region.write);
        let mut memory = self.memory_of(summary.process)?;
        // tcbhead_t (glibc sysdeps/x86_64/nptl/tls.h): tcb, dtv, self; then at fixed places, known to compilers, the guards.
        let mut word = |offset: u64| if at.0 == 0 { None } else { memory.read_u64(at + offset) };
        let (dtv, own_address, stack_guard, pointer_guard) = (word(0x8), word(0x10), word(0x28), word(0x30));
        let musl = self.musl_block(at);
        let library_id = match &musl {
            Some(musl) => Some(musl.id),
            None => self.pthread_field(at, "tid").map(|id| id as u32),
        };
        let own_address = if musl.is_some() { Some(at.0) } else { own_address };
        let pointer_guard = pointer_guard.filter(|_| musl.is_none());
        let start = self.pthread_field(at, "start_routine").filter(|at| *at != 0).map(Va);
        let start_routine = start.map(|start| {
            let name = self.symbol_at(start).map(|symbol| symbol.to_string()).unwrap_or_default();
            (start, name)
        });
        let errno = self.errno_of(thread);
        let mut memory = self.memory_of(summary.process)?;
        let errno = errno.and_then(|at| memory.read_uint(at, 4)).map(|errno| errno as u32 as i32);
        let errno = errno.or(musl.map(|musl| musl.errno));
        Ok(ThreadBlock {
            thread,
            id: summary.id,
            name: summary.name,
            at,
            own_address: own_address.map(Va),
            dtv: dtv.map(Va),
            stack_guard,
            pointer_guard,
            library_id,
            start_routine,
            stack: stack.map(|region| region.range),
            sp,
            errno,
        })
    }

    /// Whether a thread is one of musl's.
    pub(super) fn is_musl_thread(&mut self, thread: ThreadOrdinal) -> bool {
        let Ok(summary) = self.thread(thread) else { return false };
        self.is_musl_block(summary.teb)
    }

    /// Whether a control block is one of musl's.
    pub(super) fn is_musl_block(&mut self, at: Va) -> bool {
        self.musl_block(at).is_some()
    }

    /// What musl keeps of a thread, if the block at its thread pointer is musl's (src/internal/pthread_impl.h): the block's
    /// own address comes first, and where glibc has the pointer guard, which is random, there are the thread's id and `errno`.
    fn musl_block(&mut self, at: Va) -> Option<MuslBlock> {
        /// Error numbers are below this (Linux include/linux/err.h, MAX_ERRNO).
        const ERRORS: u64 = 4096;
        /// Ids are not larger (Linux include/linux/threads.h, PID_MAX_LIMIT).
        const IDS: u32 = 4 << 20;
        let mut memory = self.memory().ok()?;
        let (own, ids) = (memory.read_u64(at)?, memory.read_u64(at.checked_add(0x30)?)?);
        let found = MuslBlock { id: ids as u32, errno: (ids >> 32) as i32 };
        (own == at.0 && at.0 != 0 && (1..=IDS).contains(&found.id) && ids >> 32 < ERRORS).then_some(found)
    }

    /// A field of glibc's `struct pthread`, by what the library exports for its own libthread_db (nptl_db/db_info.c): the
    /// width in bits, the count and the offset.
    pub(super) fn pthread_field(&mut self, block: Va, field: &str) -> Option<u64> {
        let (bytes, offset) = self.pthread_field_place(field)?;
        if block.0 == 0 {
            return None;
        }
        self.memory().ok()?.read_uint(block + offset, bytes)
    }

    /// Its width in bytes and its offset.
    pub(super) fn pthread_field_place(&mut self, field: &str) -> Option<(usize, u64)> {
        let descriptor = self.find_name(&format!("_thread_db_pthread_{field}")).ok()?.first()?.address;
        let mut memory = self.memory().ok()?;
        let (bits, offset) = (memory.read_uint(descriptor, 4)?, memory.read_uint(descriptor + 8, 4)?);
        (matches!(bits, 32 | 64) && offset <= 1 << 16).then_some((bits as usize / 8, offset))
    }

    /// Where a thread's `errno` is: what the library's function for it returns, or, in a program that was linked with the
    /// library statically, what its symbol says.
    fn errno_of(&mut self, thread: ThreadOrdinal) -> Option<Va> {
        let before = self.current_thread().ok()?;
        if before == thread {
            return self.own_errno();
        }
        let frame = self.scope.frame();
        self.select_thread(thread).ok()?;
        let found = self.own_errno();
        self.select_thread(before).ok()?;
        self.select_frame(frame).ok()?;
        found
    }

    fn own_errno(&mut self) -> Option<Va> {
        if let Some(at) = self.thread_local_by_getter("__errno_location") {
            return Some(at);
        }
        let named = self.find_name("errno").ok()?;
        let is_place = |found: &&NamedAddress| found.kind == SymbolKind::ThreadLocal && found.address != Va(0);
        named.iter().find(is_place).map(|found| found.address)
    }
}
