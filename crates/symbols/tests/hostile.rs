//! Replays what fuzzing types, variables and expressions starts from, and damaged copies of it.

use std::time::{Duration, Instant};

use outpost_symbols::{DebugInfo, ElfFile, MemorySource, fuzz_expression, fuzz_variables};
use outpost_testkit::{Build, Compiler};

/// Copies of each seed; more of them by the environment variable of that name, for a soak.
const COPIES: u64 = 60;
const COPIES_VARIABLE: &str = "OUTPOST_FUZZ_COPIES";
/// Longest that one input may take, by far.
const DEADLINE: Duration = Duration::from_secs(10);

fn copies() -> u64 {
    std::env::var(COPIES_VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(COPIES)
}

/// Runs `body` on `bytes` as they are and on copies with some bytes changed within `places`.
fn replay(name: &str, bytes: &[u8], places: std::ops::Range<usize>, copies: u64, body: fn(&[u8])) {
    for copy in 0..=copies {
        let damaged = if copy == 0 { bytes.to_vec() } else { damage(bytes, places.clone(), copy) };
        let start = Instant::now();
        let result = std::panic::catch_unwind(|| body(&damaged));
        assert!(result.is_ok(), "{name}, copy {copy}");
        assert!(start.elapsed() < DEADLINE, "{name}, copy {copy}: {:?}", start.elapsed());
    }
}

fn damage(bytes: &[u8], places: std::ops::Range<usize>, copy: u64) -> Vec<u8> {
    let mut state = copy.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..=next() % 24 {
        let at = places.start + (next() % places.len() as u64) as usize;
        bytes[at] = match next() % 4 {
            0 => 0xff,
            1 => 0,
            2 => bytes[at] ^ (1 << (next() % 8)),
            _ => next() as u8,
        };
    }
    bytes
}

/// Where the debug sections of a program lie: damage elsewhere is other tests' business.
fn debug_sections(program: &[u8]) -> std::ops::Range<usize> {
    use object::{Object, ObjectSection};
    let file = object::File::parse(program).expect("is ELF");
    let debug = file.sections().filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug_")));
    let ranges: Vec<_> = debug.filter_map(|section| section.file_range()).collect();
    let start = ranges.iter().map(|(start, _)| *start).min().expect("has debug info");
    let end = ranges.iter().map(|(start, size)| start + size).max().expect("has debug info");
    start as usize..end as usize
}

#[test]
fn damaged_debug_info() {
    let builds = [
        Build::fixture("values.c").with(Compiler::Gcc).flags("-g -O2 -gdwarf-5 -lm"),
        Build::fixture("values.c").with(Compiler::Gcc).flags("-g -O3 -gdwarf-4 -fdebug-types-section -lm"),
        Build::fixture("values.c").with(Compiler::Clang).flags("-g -O2 -gdwarf-4 -lm"),
        Build::fixture("tail_calls.c").with(Compiler::Gcc).flags("-g -O2"),
    ];
    for (number, build) in builds.iter().enumerate() {
        let program = std::fs::read(build.path()).expect("is readable");
        replay(&format!("program {number}"), &program, debug_sections(&program), copies(), fuzz_variables);
    }
}

/// Types that contain themselves, in every way that references allow.
#[test]
fn cyclic_types() {
    // DWARF 5, 7.5.3: tags of a unit and of derived types with DW_AT_type (ref4), a record with members, an array.
    let abbreviations: &[u8] = &[
        1, 0x11, 1, 0x13, 0x05, 0, 0, // compile_unit: language (data2)
        2, 0x16, 0, 0x49, 0x13, 0, 0, // typedef
        3, 0x26, 0, 0x49, 0x13, 0, 0, // const_type
        4, 0x0f, 0, 0x49, 0x13, 0, 0, // pointer_type
        5, 0x01, 1, 0x49, 0x13, 0, 0, // array_type
        6, 0x21, 0, 0x2f, 0x0b, 0, 0, // subrange_type: upper_bound (data1)
        7, 0x13, 1, 0, 0, // structure_type
        8, 0x0d, 0, 0x49, 0x13, 0x38, 0x0b, 0, 0, // member: type, location (data1)
        9, 0x1c, 0, 0x49, 0x13, 0x38, 0x0b, 0, 0, // inheritance
        10, 0x15, 1, 0x49, 0x13, 0, 0, // subroutine_type
        11, 0x05, 0, 0x49, 0x13, 0, 0, // formal_parameter
        0,
    ];
    for language in [0x1d_u16, 0x21, 0x1c] {
        for seed in 0..40_u64 {
            let program = with_sections(&[(".debug_abbrev", abbreviations), (".debug_info", &cyclic(language, seed))]);
            assert_has_types(&program);
            replay(&format!("language {language:#x}, seed {seed}"), &program, 0..1, 0, fuzz_variables);
        }
    }
}

/// The unit is understood: what is tested is the cycles, not the parser.
fn assert_has_types(program: &[u8]) {
    let image = ElfFile::parse(MemorySource::new("made", program.to_vec())).expect("is ELF");
    let info = DebugInfo::load(&image, None, &mut Vec::new()).expect("is DWARF").expect("has DWARF");
    let unit = info.unit(info.units().next().expect("has a unit")).expect("unit is read");
    let mut entries = unit.entries();
    let mut count = 0;
    while entries.next_dfs().expect("all entries are read").is_some() {
        count += 1;
    }
    assert!(count > 12, "{count} entries");
}

/// A unit of derived types that refer to each other at random.
fn cyclic(language: u16, seed: u64) -> Vec<u8> {
    const TYPES: u64 = 12;
    let shapes = (0..TYPES).map(|number| (seed.wrapping_mul(31).wrapping_add(number * 7) ^ number) % 6);
    let sizes = [5, 5, 5, 8, 14, 11];
    let shapes: Vec<usize> = shapes.map(|shape| shape as usize).collect();
    let mut offsets = Vec::new();
    let mut at = 12 + 3_u32;
    for shape in &shapes {
        offsets.push(at);
        at += sizes[*shape];
    }
    // Version 5, DW_UT_compile, 8-byte addresses, abbreviations at 0; then the unit's own entry.
    let mut body = vec![5, 0, 1, 8, 0, 0, 0, 0, 1];
    body.extend_from_slice(&language.to_le_bytes());
    for (number, shape) in shapes.iter().enumerate() {
        let mut refer = seed.wrapping_add(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let mut target = || {
            refer = refer.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            offsets[(refer >> 33) as usize % offsets.len()].to_le_bytes()
        };
        match shape {
            0 => body.extend_from_slice(&[&[2][..], &target()].concat()),
            1 => body.extend_from_slice(&[&[3][..], &target()].concat()),
            2 => body.extend_from_slice(&[&[4][..], &target()].concat()),
            3 => body.extend_from_slice(&[&[5][..], &target(), &[6, 200, 0]].concat()),
            4 => body.extend_from_slice(&[&[7, 8][..], &target(), &[0, 9], &target(), &[8, 0]].concat()),
            _ => body.extend_from_slice(&[&[10][..], &target(), &[11], &target(), &[0]].concat()),
        }
    }
    body.push(0);
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// An ELF file of these sections and nothing else (gABI, "ELF Header", "Section Header").
fn with_sections(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut bytes = vec![0; 64];
    let mut headers = vec![0; 64];
    let named = sections.iter().map(|(name, bytes)| (*name, 1_u32, *bytes));
    let mut add = |name: &str, kind: u32, content: &[u8], bytes: &mut Vec<u8>| {
        headers.extend_from_slice(&(names.len() as u32).to_le_bytes());
        headers.extend_from_slice(&kind.to_le_bytes());
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        let content = if kind == 3 { names.clone() } else { content.to_vec() };
        for word in [0, 0, bytes.len() as u64, content.len() as u64, 0, 1, 0] {
            headers.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&content);
    };
    for (name, kind, content) in named.chain([(".shstrtab", 3, &[][..])]) {
        add(name, kind, content, &mut bytes);
    }
    let table = bytes.len() as u64;
    bytes.extend_from_slice(&headers);
    let count = sections.len() as u16 + 2;
    // 64 bits, little-endian; ET_DYN, EM_X86_64; no program headers.
    let mut start = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 62, 0, 1, 0, 0, 0];
    for word in [0, 0, table] {
        start.extend_from_slice(&word.to_le_bytes());
    }
    start.extend_from_slice(&[0; 4]);
    for half in [64, 56, 0, 64, count, count - 1] {
        start.extend_from_slice(&half.to_le_bytes());
    }
    bytes[..64].copy_from_slice(&start);
    bytes
}

/// Expressions as compilers write them, and ones that try to run for ever or to fill memory.
const EXPRESSIONS: &[(&str, &[u8])] = &[
    ("frame base offset", &[0x91, 0x6c]),
    ("register", &[0x55]),
    ("register pair in pieces", &[0x50, 0x93, 8, 0x51, 0x93, 8]),
    ("constant", &[0x08, 42, 0x9f]),
    ("entry value", &[0xa3, 1, 0x55, 0x9f]),
    ("entry value of GNU", &[0xf3, 1, 0x55, 0x9f]),
    ("call frame address", &[0x9c, 0x23, 0x10, 0x06]),
    ("thread-local", &[0x0e, 8, 0, 0, 0, 0, 0, 0, 0, 0xe0]),
    ("implicit value", &[0x9e, 4, 1, 2, 3, 4]),
    ("implicit pointer", &[0xa0, 0, 0, 0, 0, 0]),
    ("typed arithmetic", &[0xa5, 17, 3, 0xa8, 1, 0xa8, 0, 0x9f]),
    ("bit pieces", &[0x30, 0x9d, 3, 0, 0x31, 0x9d, 5, 2]),
    ("address", &[0x03, 0, 0x10, 0, 0, 0, 0, 0, 0]),
    ("virtual base", &[0x12, 0x06, 0x48, 0x1c, 0x06, 0x22]),
    ("division by zero", &[0x30, 0x30, 0x1b, 0x9f]),
    ("stack underflow", &[0x22]),
    ("endless loop", &[0x2f, 0xfd, 0xff]),
    ("loop that pushes", &[0x30, 0x2f, 0xfc, 0xff]),
    ("calls without end", &[0x98, 0, 0, 0x98, 0, 0]),
    ("shift by too much", &[0x31, 0x08, 0xff, 0x24, 0x9f]),
    ("pieces of all bits", &[0x30, 0x93, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
];

#[test]
fn expressions() {
    for (name, bytes) in EXPRESSIONS {
        replay(name, bytes, 0..bytes.len(), 20 * copies(), fuzz_expression);
    }
}

/// A function that would end beyond the address space: gimli's sum overflowed.
#[test]
fn code_past_the_end_of_the_address_space() {
    // DWARF 5, 7.5.3: compile_unit with a subprogram: low_pc (addr), high_pc (data8).
    let abbreviations: &[u8] = &[1, 0x11, 1, 0, 0, 2, 0x2e, 0, 0x11, 0x01, 0x12, 0x07, 0, 0, 0];
    let mut body = vec![5, 0, 1, 8, 0, 0, 0, 0, 1, 2];
    body.extend_from_slice(&(u64::MAX - 1).to_le_bytes());
    body.extend_from_slice(&16_u64.to_le_bytes());
    body.push(0);
    let info = [&(body.len() as u32).to_le_bytes()[..], &body].concat();
    let program = with_sections(&[(".debug_abbrev", abbreviations), (".debug_info", &info)]);
    replay("code past the end", &program, 0..1, 0, fuzz_variables);
}
