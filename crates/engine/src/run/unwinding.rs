//! Ways out of a call other than returning: longjmp, C++ exceptions, Rust panics that are caught.
//!
//! A step over a call that ends so would run away: the call's return address is never reached. Fences stand where
//! control must pass: at longjmp's entry, and at the functions that begin a catch handler.

use outpost_base::{MemoryReader, Va};
use outpost_symbols::CaseRule;
use outpost_target::{Fence, FenceKind};

use crate::{Engine, EngineError, ProcessOrdinal, ThreadOrdinal};

/// Functions that take control away by a `jmp_buf`.
const JUMPS: [&str; 5] = ["longjmp", "_longjmp", "siglongjmp", "__longjmp_chk", "__libc_siglongjmp"];
/// Functions that a handler calls first: of C++ (Itanium C++ ABI, Exception Handling 2.5.4) and of Rust's `catch_unwind`.
const HANDLERS: [&str; 2] = ["__cxa_begin_catch", "__rust_panic_cleanup"];

/// Words of glibc's `jmp_buf` on x86-64 (`sysdeps/x86_64/jmpbuf-offsets.h`): `JB_RSP`, `JB_PC`.
const JUMP_SP: u64 = 6;
const JUMP_PC: u64 = 7;
/// Where the thread's pointer guard lies behind `fs_base` (`tcbhead_t`, `sysdeps/x86_64/nptl/tls.h`).
const POINTER_GUARD: u64 = 0x30;

/// Entry points of such functions in one process.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnwindPoints {
    pub(super) jumps: Vec<Va>,
    pub(super) handlers: Vec<Va>,
}

/// Where a fence of this kind shows that control goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnwindTarget {
    /// To this address with this stack pointer.
    Jump { at: Va, sp: Va },
    /// Into a handler, which called the function that the thread is at the entry of and goes on at this address.
    Handler { at: Va },
}

impl Engine {
    /// Fences for a step in the frame whose stack pointer is `sp`.
    pub(super) fn unwind_fences(&mut self, process: ProcessOrdinal, sp: Va) -> Result<Vec<Fence>, EngineError> {
        let points = self.unwind_points(process)?;
        // A handler in this frame or further out calls with at most a return address and alignment below.
        let min_sp = Va(sp.0.saturating_sub(16));
        let fence = |at: Va, min_sp: Va| Fence { at, min_sp, kind: FenceKind::Unwind };
        let jumps = points.jumps.iter().map(|&at| fence(at, Va(0)));
        let handlers = points.handlers.iter().map(|&at| fence(at, min_sp));
        Ok(jumps.chain(handlers).collect())
    }

    /// Looks for such functions once per list of modules, in those that have them.
    fn unwind_points(&mut self, process: ProcessOrdinal) -> Result<UnwindPoints, EngineError> {
        if let Some(points) = &self.process(process)?.unwind_points {
            return Ok(points.clone());
        }
        let loader = self.symbol_loader(process)?;
        let modules: Vec<_> = self.process(process)?.modules.iter().cloned().collect();
        let mut points = UnwindPoints::default();
        for module in modules {
            let file = module.info.path.rsplit('/').next().unwrap_or_default();
            let is_library = ["libc.", "libstdc++", "libc++", "libstd-"].iter().any(|start| file.starts_with(start));
            if !module.info.is_main && !is_library {
                continue;
            }
            let symbols = loader.prepared(&module)?;
            let Some(known) = symbols.module() else { continue };
            let find = |name: &&str| {
                let found = known.symbols_named(name, CaseRule::Exact).into_iter();
                // Stubs of the same name lead to the function, where the fence is.
                let own = found.filter(|symbol| symbol.source != outpost_symbols::SymbolSource::Plt);
                own.map(|symbol| symbol.address.to_va(module.info.bias)).collect::<Vec<_>>()
            };
            points.jumps.extend(JUMPS.iter().flat_map(find));
            points.handlers.extend(HANDLERS.iter().flat_map(find));
        }
        for list in [&mut points.jumps, &mut points.handlers] {
            list.sort_unstable();
            list.dedup();
        }
        self.process_mut(process)?.unwind_points = Some(points.clone());
        Ok(points)
    }

    /// Where control goes from the fence that a thread stands at; `None` if it cannot be told.
    pub(super) fn unwind_target(&mut self, thread: ThreadOrdinal) -> Result<Option<UnwindTarget>, EngineError> {
        let process = self.process_of(thread)?.ordinal;
        let registers = self.registers(thread, Default::default())?;
        let mut memory = self.process(process)?.memory.clone();
        let points = self.unwind_points(process)?;
        let named = |name: &str| registers.get_u64(registers.arch.register_by_name(name)?);
        if points.handlers.contains(&registers.pc()) {
            return Ok(memory.read_u64(registers.sp()).map(|at| UnwindTarget::Handler { at: Va(at) }));
        }
        let mut target = || {
            let buffer = Va(named("rdi")?);
            let guard = memory.read_u64(Va(named("fs_base")?) + POINTER_GUARD)?;
            let mut word = |number: u64| memory.read_u64(buffer + number * 8);
            // PTR_DEMANGLE of `sysdeps/unix/sysv/linux/x86_64/pointer_guard.h`.
            let demangle = |word: u64| Va(word.rotate_right(17) ^ guard);
            Some(UnwindTarget::Jump { at: demangle(word(JUMP_PC)?), sp: demangle(word(JUMP_SP)?) })
        };
        Ok(target())
    }
}
