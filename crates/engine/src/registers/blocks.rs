//! What `$teb` and `$peb` point to: the thread's control block and the auxiliary vector, and their types.

use outpost_base::{MemoryReader, Va};
use outpost_symbols::Type;

use crate::{Engine, EngineError};

/// Address of 16 random bytes (getauxval(3)).
const AT_RANDOM: u64 = 25;
/// The random bytes lie right behind the vector but for what aligns it (`create_elf_tables`, fs/binfmt_elf.c).
const GAP: u64 = 256;
/// Modules that have the types of the C library and of its loader: glibc's, musl's. One that is linked statically may
/// have them in the program.
const C_LIBRARY: &[&str] = &["libc_so", "libpthread_so", "ld_linux", "ld_musl", "libc_musl"];

/// The pseudo-registers that are pointers to structures of the C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// `struct pthread`, at whose start the thread pointer is on x86-64 (glibc `nptl/descr.h`, musl `pthread_impl.h`).
    Thread,
    /// `Elf64_auxv_t`, of which there are as many as `AT_NULL` is away.
    Vector,
}

impl Block {
    fn of(register: &str) -> Option<Block> {
        match register {
            "$teb" | "$thread" => Some(Block::Thread),
            "$peb" | "$proc" => Some(Block::Vector),
            _ => None,
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Block::Thread => "pthread",
            Block::Vector => "Elf64_auxv_t",
        }
    }

    /// Whether a type is the one: programs may have another of that name.
    fn is(self, of: &Type) -> bool {
        match self {
            Block::Thread => of.field("tid").is_some() && of.field("result").is_some(),
            Block::Vector => of.field("a_type").is_some() && of.size() == Some(16),
        }
    }
}

impl Engine {
    /// What a pseudo-register points to, if it is one that points to a structure: `None` for others, a complaint where
    /// the debug information that has the type is not there.
    pub(crate) fn block_type(&mut self, register: &str) -> Option<Result<Type, EngineError>> {
        let block = Block::of(register)?;
        let found = self.library_types(block.type_name()).into_iter().find(|of| block.is(of));
        Some(found.ok_or_else(|| EngineError::RegisterUnavailable {
            name: register.to_owned(),
            reason: format!(
                "the C library's debug information, which has {}, was not found; give its place to .sympath and say \
                 .reload /f, or use {}",
                match block {
                    Block::Thread => "struct pthread",
                    Block::Vector => "Elf64_auxv_t",
                },
                match block {
                    Block::Thread => "!teb",
                    Block::Vector => "!peb",
                },
            ),
        }))
    }

    /// Types of a name in the C library, else in the program. No other module is asked: theirs might have to be fetched.
    fn library_types(&mut self, name: &str) -> Vec<Type> {
        let Ok(process) = self.current_process() else { return Vec::new() };
        let modules = self.modules(process).unwrap_or_default();
        let is_library = |module: &str| C_LIBRARY.iter().any(|prefix| module.starts_with(prefix));
        let mut names: Vec<_> = modules.iter().map(|module| &module.name).filter(|name| is_library(name)).collect();
        if names.is_empty() {
            names.extend(modules.first().map(|module| &module.name));
        }
        names.iter().flat_map(|module| self.find_types(&format!("{module}!{name}")).unwrap_or_default()).collect()
    }

    /// Where the kernel put the auxiliary vector: what a process has instead of a PEB. Nothing points to it, but what it
    /// says is known, and so is about where it lies.
    pub(super) fn auxiliary_vector(&mut self) -> Result<Va, EngineError> {
        let unavailable =
            |reason: &str| EngineError::RegisterUnavailable { name: "$peb".into(), reason: reason.to_owned() };
        let auxv = &self.process(self.current_process()?)?.info.auxv;
        let vector: Vec<u8> =
            auxv.iter().flat_map(|(kind, value)| [*kind, *value]).flat_map(u64::to_le_bytes).collect();
        let random = auxv.iter().find(|(kind, _)| *kind == AT_RANDOM).map(|(_, value)| *value);
        let random = random.ok_or_else(|| unavailable("the process's auxiliary vector is not known"))?;
        let start = Va(random.saturating_sub(vector.len() as u64 + GAP) & !15);
        let mut around = vec![0; vector.len() + GAP as usize];
        self.memory()?.read_exact(start, &mut around).ok_or_else(|| unavailable("the main stack cannot be read"))?;
        let found = around.windows(vector.len()).step_by(8).position(|bytes| bytes == vector);
        found.map(|words| start + 8 * words as u64).ok_or_else(|| unavailable("the program has changed it"))
    }
}
