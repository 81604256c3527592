//! Processes made of a few words of memory.

use std::collections::BTreeMap;

use super::*;

/// Memory word by word; what was not put there is unreadable.
#[derive(Default)]
struct Words(BTreeMap<u64, u8>);

impl MemoryReader for Words {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let bytes = (at.0..=u64::MAX).map_while(|at| self.0.get(&at));
        buf.iter_mut().zip(bytes).map(|(into, byte)| *into = *byte).count()
    }
}

impl Words {
    fn bytes(&mut self, at: u64, bytes: &[u8]) {
        self.0.extend((at..).zip(bytes.iter().copied()));
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            self.bytes(at + index as u64 * 8, &word.to_le_bytes());
        }
    }

    fn header(&mut self, at: u64, kind: u32, offset: u64, address: u64, size: u64) {
        self.words(at, &[u64::from(kind), offset, address, address, size, size, 8]);
    }

    /// An image linked for address 0, loaded at `base`: one segment of 8 KiB, a build-id of `id`, a dynamic section at
    /// `base + 0x800` whose only entry is `DT_DEBUG = r_debug`.
    fn image(&mut self, base: u64, id: u8, r_debug: u64) {
        self.bytes(base, &[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.words(base + 16, &[0, 0, 64, 0, 0, 0]);
        self.bytes(base + 54, &56u16.to_le_bytes());
        self.bytes(base + 56, &4u16.to_le_bytes());
        self.header(base + 64, 6, 64, 64, 224); // PT_PHDR
        self.header(base + 120, 1, 0, 0, 0x1f00); // PT_LOAD
        self.header(base + 176, 4, 0x400, 0x400, 20); // PT_NOTE
        self.header(base + 232, 2, 0x800, 0x800, 32); // PT_DYNAMIC
        self.bytes(base + 0x400, &[4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0, id, id, id, id]);
        self.words(base + 0x800, &[DT_DEBUG, r_debug, 0, 0]);
    }

    fn r_debug(&mut self, at: u64, version: u64, map: u64, next: u64) {
        self.words(at, &[version, map, 0x7000_1234, 0, 0x7000_0000, next]);
    }

    fn link(&mut self, at: u64, base: u64, name: &str, next: u64) {
        self.words(at, &[base, at + 0x80, base + 0x800, next, 0]);
        self.bytes(at + 0x80, name.as_bytes());
        self.bytes(at + 0x80 + name.len() as u64, &[0]);
    }
}

const PROGRAM: u64 = 0x5000_0000;
const LOADER: u64 = 0x7000_0000;
const LIBRARY: u64 = 0x7100_0000;
const VDSO: u64 = 0x7200_0000;
const R_DEBUG: u64 = 0x9000;
const LINKS: u64 = 0xa000;

/// A program, its loader and the vdso, as they are before the loader has run.
fn at_exec() -> (Words, Vec<(u64, u64)>) {
    let mut memory = Words::default();
    memory.image(PROGRAM, 1, 0);
    memory.image(LOADER, 2, 0);
    memory.image(VDSO, 3, 0);
    let auxv = vec![(AT_PHDR, PROGRAM + 64), (AT_PHNUM, 4), (AT_BASE, LOADER), (AT_SYSINFO_EHDR, VDSO)];
    (memory, auxv)
}

fn check(memory: &mut Words, auxv: &[(u64, u64)], expected: &[(u64, &str, u32)]) -> LinkMap {
    let found = read_link_map(auxv, "/bin/program", memory);
    let seen: Vec<_> =
        found.modules.iter().map(|module| (module.range.start.0, module.path.as_str(), module.namespace)).collect();
    assert_eq!(seen, expected);
    found
}

#[test]
fn before_the_loader_ran_the_auxiliary_vector_is_all() {
    let (mut memory, auxv) = at_exec();
    let found = check(&mut memory, &auxv, &[(PROGRAM, "/bin/program", 0), (LOADER, "", 0), (VDSO, "[vdso]", 0)]);
    assert_eq!((found.loader, found.problems), (None, 0));
    let program = &found.modules[0];
    assert!(program.is_main && program.bias == LoadBias(PROGRAM) && program.range.end == Va(PROGRAM + 0x2000));
    assert_eq!(program.build_id.as_ref().map(ToString::to_string).as_deref(), Some("01010101"));
    // The structure exists but is still all zero: a stop within the loader's first instructions.
    memory.words(PROGRAM + 0x808, &[R_DEBUG]);
    memory.words(R_DEBUG, &[0; 6]);
    let found = read_link_map(&auxv, "/bin/program", &mut memory);
    assert_eq!((found.loader, found.modules.len(), found.problems), (None, 3, 0));
}

#[test]
fn lists_of_all_namespaces_are_followed() {
    let (mut memory, auxv) = at_exec();
    memory.words(PROGRAM + 0x808, &[R_DEBUG]);
    memory.image(LIBRARY, 4, 0);
    memory.image(0x7300_0000, 5, 0);
    memory.r_debug(R_DEBUG, 2, LINKS, R_DEBUG + 0x100);
    memory.r_debug(R_DEBUG + 0x100, 2, LINKS + 0x500, 0);
    memory.link(LINKS, PROGRAM, "", LINKS + 0x100);
    memory.link(LINKS + 0x100, VDSO, "linux-vdso.so.1", LINKS + 0x200);
    memory.link(LINKS + 0x200, LIBRARY, "/lib/liba.so", LINKS + 0x300);
    memory.link(LINKS + 0x300, LOADER, "/lib/ld.so", 0);
    memory.link(LINKS + 0x500, 0x7300_0000, "/lib/libb.so", 0);
    let found = check(
        &mut memory,
        &auxv,
        &[
            (PROGRAM, "/bin/program", 0),
            (LIBRARY, "/lib/liba.so", 0),
            (LOADER, "/lib/ld.so", 0),
            (0x7300_0000, "/lib/libb.so", 1),
            (VDSO, "[vdso]", 0),
        ],
    );
    let loader = LoaderInterface { r_debug: Va(R_DEBUG), r_brk: Va(0x7000_1234), is_consistent: true };
    assert_eq!((found.loader, found.problems), (Some(loader), 0));
    // While the loader changes its lists, r_state is not RT_CONSISTENT; version 1 has no further namespaces.
    memory.words(R_DEBUG, &[1]);
    memory.words(R_DEBUG + 24, &[1]);
    let found = read_link_map(&auxv, "/bin/program", &mut memory);
    assert!(!found.loader.unwrap().is_consistent);
    assert!(found.modules.iter().all(|module| module.namespace == 0));
}

#[test]
fn circles_and_broken_lists_end_and_are_counted() {
    let (mut memory, auxv) = at_exec();
    memory.words(PROGRAM + 0x808, &[R_DEBUG]);
    memory.image(LIBRARY, 4, 0);
    // The list goes in a circle, and so does the chain of namespaces.
    memory.r_debug(R_DEBUG, 2, LINKS, R_DEBUG);
    memory.link(LINKS, LIBRARY, "/lib/liba.so", LINKS);
    let modules = [(PROGRAM, "/bin/program", 0), (LIBRARY, "/lib/liba.so", 0), (LOADER, "", 0), (VDSO, "[vdso]", 0)];
    assert!(check(&mut memory, &auxv, &modules).problems > 0);
    // The list leads out of what can be read.
    memory.r_debug(R_DEBUG, 1, LINKS, 0);
    memory.link(LINKS, LIBRARY, "/lib/liba.so", 0xdead_0000);
    assert_eq!(check(&mut memory, &auxv, &modules).problems, 1);
}

#[test]
fn a_module_without_headers_in_memory_is_told_by_its_link_map() {
    let (mut memory, auxv) = at_exec();
    memory.words(PROGRAM + 0x808, &[R_DEBUG]);
    memory.r_debug(R_DEBUG, 1, LINKS, 0);
    memory.link(LINKS, LIBRARY, "/lib/liba.so", 0);
    let found = read_link_map(&auxv, "/bin/program", &mut memory);
    let module = found.modules.iter().find(|module| module.path == "/lib/liba.so").expect("it is listed");
    assert_eq!((module.range.start, module.build_id.clone(), found.problems), (Va(LIBRARY), None, 1));
}

#[test]
fn a_static_program_without_pt_phdr_is_found_by_its_elf_header() {
    let mut memory = Words::default();
    memory.image(0x40_0000, 7, 0);
    // Linked for 0x400000, as old static programs are; the first header is of no interest instead of PT_PHDR.
    memory.header(0x40_0000 + 64, 0x6474_e551, 0, 0, 0);
    memory.header(0x40_0000 + 120, 1, 0, 0x40_0000, 0x1f00);
    memory.header(0x40_0000 + 176, 4, 0x400, 0x40_0400, 20);
    memory.header(0x40_0000 + 232, 0x6474_e551, 0, 0, 0);
    let found = check(&mut memory, &[(AT_PHDR, 0x40_0040), (AT_PHNUM, 4)], &[(0x40_0000, "/bin/program", 0)]);
    assert_eq!((found.modules[0].bias, found.problems), (LoadBias(0), 0));
    assert!(found.modules[0].build_id.is_some());
}

#[test]
fn hostile_numbers_are_no_modules() {
    let (mut memory, _) = at_exec();
    for auxv in [vec![], vec![(AT_PHDR, PROGRAM + 64), (AT_PHNUM, u64::MAX)], vec![(AT_PHDR, u64::MAX), (AT_PHNUM, 4)]]
    {
        assert_eq!(read_link_map(&auxv, "", &mut memory), LinkMap::default());
    }
    // Notes and headers whose sizes and places overflow.
    memory.bytes(PROGRAM + 0x400, &[0xff; 12]);
    memory.header(PROGRAM + 120, 1, 0, u64::MAX - 16, u64::MAX);
    let auxv = [(AT_PHDR, PROGRAM + 64), (AT_PHNUM, 4)];
    assert_eq!(read_link_map(&auxv, "", &mut memory).modules[0].build_id, None);
}
