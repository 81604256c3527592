//! The module list of this very test program, and of memory made by hand.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use outpost_base::{BuildId, LoadBias, MemoryReader, Va};
use outpost_target::link_map::read_link_map;

struct OwnMemory(File);

impl MemoryReader for OwnMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        self.0.read_at(buf, at.0).unwrap_or(0)
    }
}

fn own_auxv() -> Vec<(u64, u64)> {
    let bytes = fs::read("/proc/self/auxv").expect("the auxiliary vector of this process");
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    words.as_chunks().0.iter().map(|&[tag, value]| (tag, value)).collect()
}

#[test]
fn own_modules_are_those_of_the_memory_map() {
    let maps = fs::read_to_string("/proc/self/maps").expect("the memory map of this process");
    let mut expected: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, path) = (fields.next().unwrap_or_default(), fields.nth(4).unwrap_or_default());
        if !(path.starts_with('/') || path == "[vdso]") {
            continue;
        }
        let (start, end) = range.split_once('-').expect("a range of addresses");
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let entry = expected.entry(path).or_insert((address(start), 0));
        entry.1 = address(end);
    }
    let executable = std::env::current_exe().expect("this program's path");
    let executable = executable.to_str().expect("a readable path");
    let mut memory = OwnMemory(File::open("/proc/self/mem").expect("the memory of this process"));
    let found = read_link_map(&own_auxv(), executable, &mut memory);
    assert_eq!(found.problems, 0);
    assert_eq!(found.modules[0].path, executable);
    assert!(found.modules[0].is_main && found.modules.iter().filter(|module| module.is_main).count() == 1);
    assert!(found.modules.iter().any(|module| module.path.contains("libc.so")));
    for module in &found.modules {
        let path = fs::canonicalize(&module.path).unwrap_or_else(|_| module.path.clone().into());
        let (start, end) = expected.remove(path.to_str().unwrap_or_default()).expect("a module that is mapped");
        assert_eq!(module.range.start, Va(start), "{}", module.path);
        // The zero-filled tail of the last segment is no file mapping.
        assert!(module.range.end >= Va(end), "{}: {:?}", module.path, module.range);
        assert!(module.build_id.is_some() || module.is_main, "{}", module.path);
    }
    assert!(expected.is_empty(), "mapped, but not found: {expected:?}");
    let loader = found.loader.expect("the loader has run");
    assert!(loader.is_consistent);
    assert!(found.modules.iter().any(|module| module.range.contains(loader.r_brk)));
}

#[derive(Default)]
struct Memory(BTreeMap<u64, u8>);

impl Memory {
    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.0.extend(bytes.iter().enumerate().map(|(index, &byte)| (at + index as u64, byte)));
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        self.put(at, &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
    }

    /// An image of one segment of 0x2000 bytes linked for address `linked`, with a dynamic section at +0x1000 and a
    /// build-id note.
    fn image(&mut self, at: u64, linked: u64, build_id: u8) {
        let mut header = [0; 64];
        header[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        header[32] = 64;
        header[54] = 56;
        header[56] = 3;
        self.put(at, &header);
        let segments: [(u32, u64, u64); 3] = [(1, 0, 0x2000), (2, 0x1000, 0x100), (4, 0x800, 0x18)];
        for (index, (kind, offset, size)) in segments.into_iter().enumerate() {
            let flags_and_kind = u64::from(kind) | 5 << 32;
            let words = [flags_and_kind, offset, linked + offset, 0, size, size, 4];
            self.words(at + 64 + 56 * index as u64, &words);
        }
        self.put(at + 0x800, &[4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0]);
        self.put(at + 0x810, &[build_id; 4]);
    }
}

impl MemoryReader for Memory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        for (index, slot) in buf.iter_mut().enumerate() {
            let Some(&byte) = self.0.get(&at.0.wrapping_add(index as u64)) else { return index };
            *slot = byte;
        }
        buf.len()
    }
}

/// A program without PT_PHDR at its linked place, `libone` and, in a second namespace, `libtwo` linked for a fixed
/// address.
fn two_namespaces() -> (Memory, Vec<(u64, u64)>) {
    let mut memory = Memory::default();
    memory.image(0x40_0000, 0x40_0000, 1);
    memory.words(0x40_1000, &[21, 0x9000, 0, 0]);
    memory.words(0x9000, &[2, 0xa000, 0x1234, 0, 0, 0x9100]);
    memory.words(0xa000, &[0, 0x8000, 0x40_1000, 0xa100, 0]);
    memory.words(0xa100, &[0x70_0000, 0x8010, 0x70_1000, 0, 0]);
    memory.image(0x70_0000, 0, 2);
    memory.words(0x9100, &[2, 0xb000, 0x1234, 0, 0, 0]);
    memory.words(0xb000, &[0x100_0000, 0x8020, 0x190_1000, 0, 0]);
    memory.image(0x190_0000, 0x90_0000, 3);
    memory.put(0x8000, b"\0");
    memory.put(0x8010, b"libone\0");
    memory.put(0x8020, b"libtwo\0");
    (memory, vec![(3, 0x40_0040), (5, 3)])
}

#[test]
fn namespaces_and_images_linked_for_a_fixed_place() {
    let (mut memory, auxv) = two_namespaces();
    let found = read_link_map(&auxv, "/bin/program", &mut memory);
    let facts: Vec<_> = found
        .modules
        .iter()
        .map(|module| (module.path.as_str(), module.range.start, module.bias, module.namespace))
        .collect();
    assert_eq!(
        facts,
        [
            ("/bin/program", Va(0x40_0000), LoadBias(0), 0),
            ("libone", Va(0x70_0000), LoadBias(0x70_0000), 0),
            ("libtwo", Va(0x190_0000), LoadBias(0x100_0000), 1),
        ]
    );
    assert_eq!(found.modules[2].build_id, Some(BuildId(vec![3; 4])));
    assert_eq!(found.loader.map(|loader| loader.r_brk), Some(Va(0x1234)));
    assert_eq!(found.problems, 0);
}

#[test]
fn damaged_lists_end_and_are_counted() {
    let (mut memory, auxv) = two_namespaces();
    // The list of the first namespace runs in a circle; the second one's structure is unreadable.
    memory.words(0xa118, &[0xa000]);
    memory.0.retain(|at, _| !(0x9100..0x9200).contains(at));
    let found = read_link_map(&auxv, "/bin/program", &mut memory);
    assert_eq!(found.modules.len(), 2);
    assert_eq!(found.problems, 2);
}

#[test]
fn a_module_without_headers_keeps_its_name_and_place() {
    let (mut memory, auxv) = two_namespaces();
    memory.0.retain(|at, _| !(0x190_0000..0x190_1000).contains(at));
    let found = read_link_map(&auxv, "/bin/program", &mut memory);
    let last = &found.modules[2];
    assert_eq!((last.path.as_str(), last.bias, last.build_id.as_ref()), ("libtwo", LoadBias(0x100_0000), None));
    assert_eq!(found.problems, 1);
}

#[test]
fn before_the_loader_ran_there_is_the_program() {
    let (mut memory, auxv) = two_namespaces();
    memory.words(0x40_1000, &[21, 0]);
    let found = read_link_map(&auxv, "/bin/program", &mut memory);
    assert_eq!(found.modules.len(), 1);
    assert_eq!(found.loader, None);
}
