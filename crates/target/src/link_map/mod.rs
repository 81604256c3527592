//! Finding a process's modules without symbols, from its memory alone.
//!
//! Given the auxiliary vector and a memory reader, it goes the way the dynamic loader lays out for debuggers: program
//! headers (`AT_PHDR`), dynamic section, `DT_DEBUG`, `struct r_debug`, the list of `struct link_map`, and the further
//! lists of dlmopen(3). Before the loader has run, and in static programs, what the auxiliary vector names is all there
//! is: the program, the loader, the vdso. Used by live processes and by dumps alike.
//!
//! Sources: glibc `elf/link.h` (`r_debug`, `r_debug_extended`, `link_map`), System V gABI ch. 5 (program headers, dynamic
//! section), Linux `include/uapi/linux/auxvec.h`. Everything read is taken as possibly hostile: lists are bounded, and
//! what cannot be read is left out and counted.

mod image;

use std::collections::HashSet;

use outpost_base::{ImageOffset, LoadBias, MemoryReader, Va, VaRange};

use crate::ModuleInfo;
pub use image::{ImageFacts, read_image};
use image::{dynamic_entries, facts_from_headers, find_image_below, read_program_headers};

/// Entries of the auxiliary vector that are used here.
const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const AT_BASE: u64 = 7;
const AT_SYSINFO_EHDR: u64 = 33;

/// Dynamic section tag whose value the loader sets to the address of its `r_debug`.
const DT_DEBUG: u64 = 21;

/// Modules of one namespace; real programs have at most some thousands.
const MAX_MODULES: usize = 16_384;
/// glibc has 16 namespaces (`DL_NNS`).
const MAX_NAMESPACES: u32 = 64;
/// Longest path of a module, `PATH_MAX`.
const MAX_PATH: usize = 4096;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkMap {
    /// The modules: program first, then as the loader lists them, the vdso last.
    pub modules: Vec<ModuleInfo>,
    /// The loader's interface for debuggers, once it has set that up.
    pub loader: Option<LoaderInterface>,
    /// How many lists or entries could not be read, so that modules may be missing.
    pub problems: u32,
}

/// The dynamic loader's interface for debuggers (`struct r_debug`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderInterface {
    /// Where the structure is.
    pub r_debug: Va,
    /// A function that the loader calls before and after it changes its lists: the place for a breakpoint.
    pub r_brk: Va,
    /// Whether the lists are not being changed at the moment (`RT_CONSISTENT`).
    pub is_consistent: bool,
}

/// Finds the modules of a process. `executable` is the program's path, which memory does not have.
///
/// An empty result means that not even the program's headers could be read.
pub fn read_link_map(auxv: &[(u64, u64)], executable: &str, memory: &mut dyn MemoryReader) -> LinkMap {
    let mut walk = Walk { memory, found: LinkMap::default(), seen: HashSet::new() };
    let value = |kind| auxv.iter().find(|(tag, _)| *tag == kind).map(|(_, value)| *value).filter(|value| *value != 0);
    let program = value(AT_PHDR).and_then(|at| main_program(Va(at), value(AT_PHNUM).unwrap_or(0), walk.memory));
    if let Some(program) = &program {
        walk.add(program, executable.to_owned(), 0, true);
        if let Some(dynamic) = program.dynamic {
            let entries = dynamic_entries(dynamic, walk.memory);
            if let Some(r_debug) = entries.iter().find(|(tag, _)| *tag == DT_DEBUG).map(|(_, value)| *value)
                && r_debug != 0
            {
                walk.namespaces(Va(r_debug));
            }
        }
    }
    let program_has_interpreter = program.as_ref().and_then(|program| program.interpreter.clone());
    if let Some(base) = value(AT_BASE)
        && let Some(loader) = read_image(Va(base), walk.memory)
    {
        walk.add(&loader, program_has_interpreter.unwrap_or_default(), 0, false);
    }
    if let Some(base) = value(AT_SYSINFO_EHDR)
        && let Some(vdso) = read_image(Va(base), walk.memory)
    {
        // glibc lists the vdso too, by a name that is no file.
        walk.found.modules.retain(|module| module.range.start != vdso.range.start);
        walk.seen.remove(&vdso.range.start);
        walk.add(&vdso, "[vdso]".to_owned(), 0, false);
    }
    walk.found
}

/// The program by its headers, which need not begin at a page that has the ELF header in memory.
fn main_program(headers_at: Va, count: u64, memory: &mut dyn MemoryReader) -> Option<ImageFacts> {
    let headers = read_program_headers(headers_at, usize::try_from(count).ok()?, memory)?;
    let bias = match headers.iter().find(|header| header.is_program_headers()) {
        Some(own) => LoadBias::between(headers_at, own.address),
        // Static programs have no PT_PHDR. The headers follow the ELF header, which the segment of file offset 0 has.
        None => {
            let first = headers.iter().find(|header| header.is_load() && header.file_offset == 0);
            let header_at = find_image_below(headers_at, memory);
            match (first, header_at) {
                (Some(first), Some(header_at)) => LoadBias::between(header_at, first.address),
                _ => LoadBias(0),
            }
        }
    };
    Some(facts_from_headers(&headers, bias, memory))
}

struct Walk<'a> {
    memory: &'a mut dyn MemoryReader,
    found: LinkMap,
    /// First addresses of the modules found so far.
    seen: HashSet<Va>,
}

impl Walk<'_> {
    fn add(&mut self, image: &ImageFacts, path: String, namespace: u32, is_main: bool) {
        if !self.seen.insert(image.range.start) {
            return;
        }
        self.found.modules.push(ModuleInfo {
            range: image.range,
            bias: image.bias,
            path,
            build_id: image.build_id.clone(),
            namespace,
            is_main,
        });
    }

    /// Follows the chain of `r_debug` structures, one for each namespace that has one.
    fn namespaces(&mut self, first: Va) {
        let mut at = first;
        for namespace in 0..MAX_NAMESPACES {
            // struct r_debug: int r_version, link_map *r_map, ElfW(Addr) r_brk, int r_state, ElfW(Addr) r_ldbase; from
            // version 2 on (glibc 2.35) followed by r_debug_extended *r_next.
            let Some(version) = self.memory.read_uint(at, 4) else {
                self.found.problems += 1;
                return;
            };
            let (map, brk) = (self.memory.read_u64(at + 8), self.memory.read_u64(at + 16));
            let state = self.memory.read_uint(at + 24, 4);
            if version == 0 {
                // Zeroed memory: the loader has not set it up yet.
                return;
            }
            if namespace == 0 {
                self.found.loader =
                    Some(LoaderInterface { r_debug: at, r_brk: Va(brk.unwrap_or(0)), is_consistent: state == Some(0) });
            }
            match map {
                Some(map) => self.list(Va(map), namespace),
                None => self.found.problems += 1,
            }
            match (version >= 2).then(|| self.memory.read_u64(at + 40)) {
                Some(Some(next)) if next != 0 => at = Va(next),
                _ => return,
            }
        }
    }

    /// Follows one list of `struct link_map`: l_addr, l_name, l_ld, l_next, l_prev.
    fn list(&mut self, first: Va, namespace: u32) {
        let mut at = first;
        let mut visited = HashSet::new();
        while at != Va(0) {
            let mut words = [0; 32];
            if !visited.insert(at) || visited.len() > MAX_MODULES || self.memory.read_exact(at, &mut words).is_none() {
                self.found.problems += 1;
                return;
            }
            let word = |index: usize| words.as_chunks().0.get(index).map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let (bias, name, dynamic) = (LoadBias(word(0)), Va(word(1)), Va(word(2)));
            self.entry(bias, name, dynamic, namespace);
            at = Va(word(3));
        }
    }

    fn entry(&mut self, bias: LoadBias, name: Va, dynamic: Va, namespace: u32) {
        let is_program = self.found.modules.first().is_some_and(|main| main.is_main && main.range.contains(dynamic));
        if is_program {
            return;
        }
        let path = self.memory.read_cstring(name, MAX_PATH).unwrap_or_default();
        let path = String::from_utf8_lossy(&path).into_owned();
        // The image begins where address 0 of its file went, unless it was linked for a fixed place.
        let image = read_image(ImageOffset(0).to_va(bias), self.memory)
            .or_else(|| find_image_below(dynamic, self.memory).and_then(|at| read_image(at, self.memory)))
            // Where the headers are missing, those found below are another module's.
            .filter(|image| image.dynamic == Some(dynamic));
        match image {
            Some(image) => self.add(&image, path, namespace, false),
            None => {
                // The headers are not in memory (a dump may lack them): say at least where the module is.
                self.found.problems += 1;
                let range = VaRange { start: ImageOffset(0).to_va(bias), end: dynamic + 16 };
                let image = ImageFacts { range, bias, build_id: None, dynamic: Some(dynamic), interpreter: None };
                self.add(&image, path, namespace, false);
            }
        }
    }
}

#[cfg(test)]
mod tests;
