//! Where a thread's copies of thread-local variables are.
//!
//! The program's own block ends at the thread pointer, and that is all to it. A library's block lies wherever its thread
//! got the memory, maybe as late as at the first access: the C library notes it in the thread's *dtv*, a table by module
//! number, and the loader keeps the list that says which module has which number. How these are laid out in memory the C
//! library tells debuggers itself, by the constants it exports for its own libthread_db: each says the width in bits, the
//! count and the offset of a field. They are read from the process, so that any glibc will do, whatever is installed here.
//!
//! Sources: glibc `nptl_db/structs.def`, `nptl_db/db_info.c`, `nptl_db/td_thr_tlsbase.c`, `sysdeps/generic/dl-dtv.h`,
//! `sysdeps/generic/ldsodefs.h` (`struct dtv_slotinfo_list`); ELF Handling for Thread-Local Storage, 3.4.2.

use std::rc::Rc;

use outpost_base::{MemoryReader, Va};
use outpost_target::ReadRequest;

use crate::modules::Module;
use crate::symbols::SymbolLoader;
use crate::{Engine, ProcessMemory, ThreadOrdinal};

/// Library modules that a process has numbers for; real ones have some dozens with thread-local variables.
const MAX_SLOTS: u64 = 4096;
/// A module that has no fixed place behind the thread pointer, and never will (`NO_TLS_OFFSET`,
/// `FORCED_DYNAMIC_TLS_OFFSET`, glibc `sysdeps/generic/ldsodefs.h`).
const NO_FIXED_OFFSET: [u64; 2] = [0, u64::MAX];

/// The constants that are asked for, by what follows `_thread_db_` in their names.
const FIELDS: [&str; 9] = [
    "pthread_dtvp",
    "dtv_dtv",
    "dtv_t_pointer_val",
    "rtld_global__dl_tls_dtv_slotinfo_list",
    "dtv_slotinfo_list_len",
    "dtv_slotinfo_list_next",
    "dtv_slotinfo_list_slotinfo",
    "dtv_slotinfo_gen",
    "dtv_slotinfo_map",
];

/// Where fields are in the C library's structures, in bytes.
struct Layout {
    /// The loader's variables (`struct rtld_global`).
    loader_state: Va,
    /// The thread's pointer to its dtv, from the thread pointer on.
    dtv_pointer: u64,
    /// Size of one entry of the dtv, and where the block's address is in it.
    dtv_entry: u64,
    dtv_block: u64,
    /// The loader's pointer to its list of numbers.
    slot_list: u64,
    /// Fields of a piece of that list.
    list_len: u64,
    list_next: u64,
    list_slots: u64,
    /// Size of a slot and its fields.
    slot: u64,
    slot_generation: u64,
    slot_module: u64,
    /// Where `struct link_map` says how far the module's block is below the thread pointer.
    fixed_offset: u64,
}

/// A process as the search for a block needs it.
pub(crate) struct TlsSearch<'a> {
    pub(crate) loader: &'a SymbolLoader,
    pub(crate) memory: ProcessMemory,
    pub(crate) modules: &'a [Rc<Module>],
    /// Of the thread whose block is wanted.
    pub(crate) thread_pointer: Va,
}

/// What the loader knows of a module with thread-local variables.
struct Slot {
    /// Its number, the index in the dtv.
    number: u64,
    /// How often the list had changed when it was given.
    generation: u64,
    link_map: Va,
}

impl Engine {
    /// Address of the current thread's copy of the variable at `offset` of `module`'s TLS block.
    pub(crate) fn thread_local_address(&mut self, module: &Rc<Module>, offset: u64) -> Option<Va> {
        let thread = self.current_thread().ok()?;
        let thread_pointer = self.thread_pointer(thread)?;
        let process = self.process_of(thread).ok()?.ordinal;
        let loader = self.symbol_loader(process).ok()?;
        let known = self.process(process).ok()?;
        let modules: Vec<_> = known.modules.iter().cloned().collect();
        let memory = known.memory.clone();
        TlsSearch { loader: &loader, memory, modules: &modules, thread_pointer }.address(module, offset)
    }

    /// Where the thread's control block is; the program's thread-local variables are below it.
    pub(crate) fn thread_pointer(&mut self, thread: ThreadOrdinal) -> Option<Va> {
        let registers = self.registers(thread, Default::default()).ok()?;
        Some(Va(registers.get_u64(self.arch().register_by_name("fs_base")?)?))
    }
}

impl TlsSearch<'_> {
    /// Address of the variable at `offset` of `module`'s block; `None` if the thread has none yet: a library's is made
    /// when the thread first asks for it.
    pub(crate) fn address(&mut self, module: &Module, offset: u64) -> Option<Va> {
        if module.info.is_main {
            return self.loader.symbols(module).program_tls(self.thread_pointer, offset);
        }
        // Without such a block no walk is worth its round trips.
        self.loader.symbols(module).tls_segment()?;
        Some(Va(self.library_block(module)?.0.wrapping_add(offset)))
    }

    fn library_block(&mut self, module: &Module) -> Option<Va> {
        let layout = self.layout()?;
        let pointers = [self.thread_pointer + layout.dtv_pointer, layout.loader_state + layout.slot_list];
        let [dtv, list] = self.words(&pointers)?.try_into().ok()?;
        let slot = self.slot_of(module, Va(list), &layout)?;
        let entry = |index: u64| Va(dtv.wrapping_add(index.wrapping_mul(layout.dtv_entry)));
        // The entry before the first holds how many there are, the first itself the generation they are of.
        let heads = [entry(u64::MAX), entry(0), slot.link_map + layout.fixed_offset];
        let [count, generation, fixed] = self.words(&heads)?.try_into().ok()?;
        if generation >= slot.generation && slot.number <= count {
            let block = self.memory.read_u64(entry(slot.number) + layout.dtv_block)?;
            // Not allocated yet, or not any more: `TLS_DTV_UNALLOCATED` is odd, blocks are not.
            if block != 0 && block & 1 == 0 {
                return Some(Va(block));
            }
        }
        (!NO_FIXED_OFFSET.contains(&fixed)).then(|| Va(self.thread_pointer.0.wrapping_sub(fixed)))
    }

    /// Goes through the loader's numbers, all modules of a piece at once.
    fn slot_of(&self, module: &Module, first: Va, layout: &Layout) -> Option<Slot> {
        let (mut at, mut number) = (first, 0);
        while at != Va(0) && number < MAX_SLOTS {
            let [len, next] = self.words(&[at + layout.list_len, at + layout.list_next])?.try_into().ok()?;
            let len = len.min(MAX_SLOTS);
            let bytes = self.memory.read_vec(at + layout.list_slots, len * layout.slot).ok()?;
            let word = |slot: &[u8], at: u64| -> Option<u64> {
                Some(u64::from_le_bytes(*slot.get(at as usize..)?.first_chunk()?))
            };
            let slots = bytes.chunks_exact(layout.slot as usize).zip(number..).filter_map(|(slot, number)| {
                let (generation, link_map) = (word(slot, layout.slot_generation)?, Va(word(slot, layout.slot_module)?));
                (link_map != Va(0)).then_some(Slot { number, generation, link_map })
            });
            let slots: Vec<_> = slots.collect();
            // struct link_map: l_addr, l_name, l_ld: the bias and where the dynamic section is.
            let reads: Vec<_> = slots.iter().map(|slot| ReadRequest { at: slot.link_map, len: 24 }).collect();
            let maps = self.memory.read_many(&reads).ok()?;
            let is_module = |map: &[u8]| {
                word(map, 0) == Some(module.info.bias.0)
                    && word(map, 16).is_some_and(|dynamic| module.info.range.contains(Va(dynamic)))
            };
            if let Some(found) = slots.into_iter().zip(maps).find(|(_, map)| is_module(map)) {
                return Some(found.0);
            }
            (at, number) = (Va(next), number + len.max(1));
        }
        None
    }

    /// Reads what the C library says of itself.
    fn layout(&self) -> Option<Layout> {
        let [offset_name, size_name] = ["_thread_db_link_map_l_tls_offset", "_thread_db_sizeof_dtv_slotinfo"];
        let mut names: Vec<_> = FIELDS.iter().map(|field| format!("_thread_db_{field}")).collect();
        names.extend([offset_name.to_owned(), size_name.to_owned()]);
        // In libpthread until glibc 2.34 made one library of the two.
        let places = self.exports_of(&["libc.so", "libc-", "libpthread"], &names)?;
        let loader_state = *self.exports_of(&["ld-", "ld.so", "ld64"], &["_rtld_global".to_owned()])?.first()?;
        let reads: Vec<_> = places.iter().map(|at| ReadRequest { at: *at, len: 12 }).collect();
        let answers = self.memory.read_many(&reads).ok()?;
        let number = |index: usize, at: usize| -> Option<u64> {
            Some(u64::from(u32::from_le_bytes(*answers.get(index)?.get(at..)?.first_chunk()?)))
        };
        let offset = |index: usize| number(index, 8);
        let layout = Layout {
            loader_state,
            dtv_pointer: offset(0)?,
            dtv_entry: number(1, 0)? / 8,
            dtv_block: offset(2)?,
            slot_list: offset(3)?,
            list_len: offset(4)?,
            list_next: offset(5)?,
            list_slots: offset(6)?,
            slot_generation: offset(7)?,
            slot_module: offset(8)?,
            fixed_offset: offset(9)?,
            // A bare number, as all `sizeof` ones.
            slot: number(10, 0)?,
        };
        // What a damaged process says is not believed beyond this.
        (layout.slot >= 16 && layout.slot <= 256 && layout.dtv_entry >= 8).then_some(layout)
    }

    /// Addresses of these names in the first library that exports them all, of those whose file names begin so.
    pub(super) fn exports_of(&self, files: &[&str], names: &[String]) -> Option<Vec<Va>> {
        let file_name = |module: &Module| module.info.path.rsplit('/').next().unwrap_or_default().to_owned();
        let fits = |module: &&Rc<Module>| files.iter().any(|start| file_name(module).starts_with(start));
        self.modules.iter().filter(fits).find_map(|module| {
            let exports = self.loader.symbols(module).exports(names)?;
            Some(exports.into_iter().map(|at| at.to_va(module.info.bias)).collect())
        })
    }

    /// Words at these places, by one round trip at most.
    pub(super) fn words(&self, places: &[Va]) -> Option<Vec<u64>> {
        let reads: Vec<_> = places.iter().map(|at| ReadRequest { at: *at, len: 8 }).collect();
        let answers = self.memory.read_many(&reads).ok()?;
        answers.iter().map(|bytes| Some(u64::from_le_bytes(*bytes.first_chunk()?))).collect()
    }
}
