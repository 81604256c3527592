//! Where the allocator has its state: by symbols where there are any, else out of the code of exported functions.

use std::rc::Rc;

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_target::Region;

use super::layout::{BINS, LATEST, Layout, OLDEST};
use super::{ALIGNMENT, FLAGS, HEADER, word};
use crate::disassembly::{NoSymbols, disassemble};
use crate::modules::Module;
use crate::triage::x86_64;
use crate::{Engine, EngineError, ProcessMemory};

/// Instructions of a function that are looked through.
const INSTRUCTIONS: usize = 160;
/// Arenas that are followed; glibc makes eight for each processor at most.
const ARENAS: usize = 4096;
/// Heaps of other arenas than the main one are aligned to this (glibc malloc/arena.c, HEAP_MAX_SIZE).
pub(super) const HEAP_ALIGNMENT: u64 = 64 << 20;
/// Thread-local variables of the C library lie at most so far below the thread pointer.
const LOWEST_THREAD_LOCAL: i64 = -(1 << 20);

/// The allocator of a process.
#[derive(Debug)]
pub(super) struct Allocator {
    pub(super) layout: Layout,
    pub(super) main: Va,
    /// `mp_`, where a symbol names it.
    pub(super) parameters: Option<Va>,
    /// From a thread's thread pointer to its `tcache`.
    pub(super) cache_offset: Option<i64>,
    /// By what each of these was found.
    pub(super) found_by: Vec<String>,
}

impl Engine {
    /// Finds the allocator of the current process.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] with what is missing.
    pub(super) fn allocator(&mut self) -> Result<Allocator, EngineError> {
        let unsupported = |reason: String| EngineError::Unsupported { operation: "reading the heap", reason };
        let Some(library) = self.c_library() else {
            return Err(unsupported("no glibc is in the process, and other allocators are not known".into()));
        };
        let name = library.name.clone();
        let version = self.glibc_version(&name);
        let minor = version.as_deref().and_then(|version| version.strip_prefix("2.")?.parse().ok());
        let layout = minor.and_then(Layout::of_release).ok_or_else(|| {
            let version = version.clone().unwrap_or_else(|| "whose release nothing in it tells".into());
            unsupported(format!(
                "the process has a glibc {version}, and the allocators of 2.{OLDEST} to 2.{LATEST} are known"
            ))
        })?;
        let version = version.unwrap_or_default();
        let mut found_by = Vec::new();
        let layout = match self.layout_by_types(&name, &layout) {
            Some(by_types) => {
                found_by.push(format!("glibc {version}; layout by its debug info"));
                by_types
            }
            None => {
                found_by.push(format!("glibc {version}; layout by that release"));
                layout
            }
        };
        let memory = self.memory()?;
        let named = |engine: &mut Engine, name: &str| engine.find_name(name).ok()?.first().map(|found| found.address);
        let found = match named(self, &format!("{name}!main_arena")) {
            Some(at) => Some((at, "its symbol".to_owned())),
            None => self.arena_in_code(&name, &layout, &memory),
        };
        let (main, by) = found.ok_or_else(|| {
            let reason = "the main arena was not found: the C library has no symbol main_arena here, and the code of \
                          mallinfo2, malloc_trim and others leads to nothing that looks like it; debug symbols of the C \
                          library (libc6-dbg, debuginfod) would tell";
            unsupported(reason.into())
        })?;
        found_by.push(format!("main arena by {by}"));
        let parameters = named(self, &format!("{name}!mp_"));
        let cache_offset = match self.cache_by_name(&name) {
            Some(offset) => {
                found_by.push("thread caches by the variable tcache".into());
                Some(offset)
            }
            None => match self.cache_in_code(&name, &layout, &memory) {
                Some(offset) => {
                    found_by.push("thread caches by the code of malloc".into());
                    Some(offset)
                }
                None => {
                    found_by.push("thread caches by their look".into());
                    None
                }
            },
        };
        Ok(Allocator { layout, main, parameters, cache_offset, found_by })
    }

    /// The C library, or the program if that was linked with it statically.
    fn c_library(&mut self) -> Option<Rc<Module>> {
        let process = self.process(self.current_process().ok()?).ok()?;
        let is_library = |module: &&Rc<Module>| {
            let file = module.info.path.rsplit('/').next().unwrap_or_default();
            file.starts_with("libc.so") || file.starts_with("libc-2")
        };
        if let Some(library) = process.modules.iter().find(is_library) {
            return Some(library.clone());
        }
        let program = process.modules.iter().find(|module| module.info.is_main)?.clone();
        self.find_name(&format!("{}!main_arena", program.name)).is_ok().then_some(program)
    }

    /// The release of the process's glibc, 2.N.
    pub(in crate::triage) fn glibc_release(&mut self) -> Option<u32> {
        let library = self.c_library()?.name.clone();
        self.glibc_version(&library)?.strip_prefix("2.")?.parse().ok()
    }

    /// What `gnu_get_libc_version` returns, read out of its code: the address of a text.
    fn glibc_version(&mut self, library: &str) -> Option<String> {
        let entry = self.find_name(&format!("{library}!gnu_get_libc_version")).ok()?.first()?.address;
        let mut memory = self.memory().ok()?;
        let listing = disassemble(self.arch(), &mut memory, &mut NoSymbols, entry, 4, false);
        let text = listing.iter().find_map(|found| x86_64::relative_address(found.at, &found.bytes))?;
        String::from_utf8(memory.read_cstring(text, 16)?).ok()
    }

    /// The main arena without its symbol, which is local: of the addresses that the exported functions which go over all
    /// arenas load, the one that looks like an arena.
    fn arena_in_code(&mut self, library: &str, layout: &Layout, memory: &ProcessMemory) -> Option<(Va, String)> {
        let process = self.current_process().ok()?;
        let regions = self.regions(process).ok()?;
        let is_data = |at: Va| regions.iter().any(|region| region.range.contains(at) && region.write);
        for function in ["mallinfo2", "mallinfo", "malloc_trim", "mallopt", "malloc_stats"] {
            let Ok(found) = self.find_name(&format!("{library}!{function}")) else { continue };
            let entry = found.first()?.address;
            let mut code = memory.clone();
            let listing = disassemble(self.arch(), &mut code, &mut NoSymbols, entry, INSTRUCTIONS, false);
            let mut addresses = listing.iter().filter_map(|found| x86_64::relative_address(found.at, &found.bytes));
            let arena = addresses.find(|at| is_data(*at) && is_main_arena(*at, layout, memory));
            if let Some(at) = arena {
                return Some((at, format!("the code of {function}")));
            }
        }
        None
    }

    /// How far below the thread pointer `tcache` is, by debug info.
    fn cache_by_name(&mut self, library: &str) -> Option<i64> {
        let at = self.global(&format!("{library}!tcache")).ok()??.address()?;
        let thread = self.current_thread().ok()?;
        let pointer = self.thread_pointer(thread)?;
        Some(at.0.wrapping_sub(pointer.0) as i64)
    }

    /// The same out of the code of `malloc`, which asks for it first: of the thread-local variables that it loads, the one
    /// that is a pointer to a chunk of a cache's size in every thread that has set it.
    fn cache_in_code(&mut self, library: &str, layout: &Layout, memory: &ProcessMemory) -> Option<i64> {
        let entry = self.find_name(&format!("{library}!malloc")).ok()?.first()?.address;
        let process = self.current_process().ok()?;
        let constants = self.process(process).ok()?.module_at(entry)?.info.range;
        let pointers: Vec<Va> = self.threads(process).ok()?.iter().map(|thread| thread.teb).collect();
        let mut code = memory.clone();
        let listing = disassemble(self.arch(), &mut code, &mut NoSymbols, entry, INSTRUCTIONS, false);
        let offsets = listing.iter().filter_map(|found| match x86_64::thread_offset(found.at, &found.bytes)? {
            x86_64::ThreadOffset::Direct(offset) => Some(offset),
            x86_64::ThreadOffset::Loaded(slot) => word(memory, slot).map(|offset| offset as i64),
        });
        let mut offsets = offsets.filter(|offset| (LOWEST_THREAD_LOCAL..0).contains(offset) && offset % 8 == 0);
        offsets.find(|offset| {
            let caches = pointers.iter().filter(|at| at.0 != 0);
            let caches = caches.map(|at| word(memory, Va(at.0.wrapping_add_signed(*offset))).unwrap_or(0));
            // Since 2.42 a thread without a cache is led to a constant of the library.
            let caches: Vec<u64> = caches.filter(|cache| *cache != 0 && !constants.contains(Va(*cache))).collect();
            let is_cache = |cache: &u64| {
                let size = word(memory, Va(cache.wrapping_sub(8)));
                cache.is_multiple_of(ALIGNMENT) && size.is_some_and(|size| size & !FLAGS == layout.cache_chunk())
            };
            !caches.is_empty() && caches.iter().all(is_cache)
        })
    }
}

/// All arenas, the main one first: they form a ring.
pub(super) fn arenas(main: Va, layout: &Layout, memory: &ProcessMemory, regions: &[Region]) -> Vec<Va> {
    // The others lie at the starts of their heaps, so that one read fetches all.
    let is_heap = |region: &&Region| region.write && region.range.start.0.is_multiple_of(HEAP_ALIGNMENT);
    let heads = regions.iter().filter(is_heap).take(ARENAS);
    let heads: Vec<VaRange> =
        heads.map(|region| VaRange::from_len(region.range.start, layout.heap_head + layout.arena)).collect();
    drop(memory.prefetch(&heads));
    let mut found = vec![main];
    while let Some(next) = found.last().and_then(|at| word(memory, *at + layout.next)) {
        if next == main.0 || next == 0 || found.len() >= ARENAS || found.contains(&Va(next)) {
            break;
        }
        found.push(Va(next));
    }
    found
}

/// Whether the ring of arenas comes back here and nearly all bins are sound, or not made yet.
fn is_main_arena(at: Va, layout: &Layout, memory: &ProcessMemory) -> bool {
    let mut next = at;
    let closes = (0..ARENAS).any(|_| {
        next = next.checked_add(layout.next).and_then(|at| word(memory, at)).map_or(Va(0), Va);
        next == at
    });
    let leads_back = |chunk: u64, field: u64, head: Va| {
        let there = Va(chunk).checked_add(field).and_then(|at| word(memory, at));
        chunk == head.0 || chunk == 0 || there == Some(head.0)
    };
    let is_bin = |number: u64| {
        let head = layout.bin(at, number);
        let (first, last) = (word(memory, head + HEADER), word(memory, head + HEADER + 8));
        first.is_some_and(|first| leads_back(first, HEADER + 8, head))
            && last.is_some_and(|last| leads_back(last, HEADER, head))
    };
    let sound = (1..BINS).filter(|number| is_bin(*number)).count() as u64;
    closes && sound * 10 >= BINS * 9
}
