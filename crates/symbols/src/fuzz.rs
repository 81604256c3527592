//! Bodies of the fuzz targets, one per format that comes from outside. They only must not panic, hang or fill memory.

use std::hint::black_box;
use std::sync::Arc;

use outpost_base::ImageOffset;

pub use crate::split::{fuzz_dwo, fuzz_dwp};

use crate::index::Index;
use crate::{
    CaseRule, ElfFile, LocalFiles, MemorySource, Module, ModuleFiles, SectionData, SymbolPath, Wildcard,
    find_debug_files,
};

/// Most symbols of an input whose details are asked for.
const MAX_ASKED: usize = 50;

/// Any bytes as an ELF file, with all that it says of itself, and as a module.
pub fn fuzz_elf(data: &[u8]) {
    let Ok(file) = ElfFile::parse(MemorySource::new("input", data.to_vec())) else { return };
    let file = Arc::new(file);
    for number in 0..file.sections().len() {
        black_box(file.section_bytes(number).map(|bytes| bytes.len()).ok());
    }
    black_box((file.soname(), file.needed(), file.interpreter(), file.debug_link(), file.debug_alt_link()));
    black_box((file.text_ranges(), file.loaded_range(), file.build_id(), file.mini_symtab().is_ok()));
    black_box(file.image_bytes(file.entry(), 64));
    black_box(file.symbols());
    black_box(find_debug_files(&file, None, &SymbolPath { items: Vec::new() }, &LocalFiles, None).1.missing());
    ask(&Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(file) }));
}

/// Any bytes as `.debug_abbrev` (its length in the first two bytes) and `.debug_info`.
pub fn fuzz_dwarf_info(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (abbreviations, info) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
    // The strings and lists that attributes refer to are the same bytes: offsets into them lead somewhere.
    let sections = [
        (".debug_abbrev", abbreviations),
        (".debug_info", info),
        (".debug_str", info),
        (".debug_line_str", info),
        (".debug_str_offsets", info),
        (".debug_addr", info),
        (".debug_ranges", info),
        (".debug_rnglists", info),
        (".debug_types", info),
    ];
    fuzz_elf(&image(&sections));
}

/// Any bytes as `.debug_line`, belonging to a unit that covers all code.
pub fn fuzz_dwarf_line(data: &[u8]) {
    // DWARF 5, 7.5.3: code 1, DW_TAG_compile_unit without children; stmt_list, low_pc, high_pc (data8).
    let abbreviations = [1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x07, 0, 0, 0];
    for version in [4_u8, 5] {
        let mut body = vec![version, 0];
        if version == 5 {
            // DW_UT_compile, address size, abbreviations at 0
            body.extend_from_slice(&[1, 8, 0, 0, 0, 0]);
        } else {
            body.extend_from_slice(&[0, 0, 0, 0, 8]);
        }
        body.extend_from_slice(&[1, 0, 0, 0, 0]);
        body.extend_from_slice(&TEXT_START.to_le_bytes());
        body.extend_from_slice(&TEXT_LEN.to_le_bytes());
        let mut info = (body.len() as u32).to_le_bytes().to_vec();
        info.extend_from_slice(&body);
        let sections = [(".debug_abbrev", &abbreviations[..]), (".debug_info", &info), (".debug_line", data)];
        fuzz_elf(&image(&[&sections[..], &[(".debug_line_str", data), (".debug_str", data)]].concat()));
    }
}

/// Any bytes as a cached index, past the checksum.
pub fn fuzz_index(data: &[u8]) {
    let Ok(index) = Index::open_unchecked(SectionData::from(data.to_vec())) else { return };
    black_box((index.units().len(), index.unit_ranges().len(), index.problems().len()));
    black_box(index.find("main", CaseRule::Ignore));
    let mut names = 0;
    index.each_match(&Wildcard::new("*a*"), |_| true, |_, name| names += name.len());
    black_box(names);
    for address in [0, 1, TEXT_START, u64::MAX] {
        let at = ImageOffset(address);
        black_box((index.function_at(at), index.function_above(at), index.variable_at(at), index.unit_at(at)));
        black_box((index.symbols_below(at).take(MAX_ASKED).count(), index.symbols_above(at).take(MAX_ASKED).count()));
    }
    for file in index.files_named(b"a.c") {
        black_box((index.file(file), index.units_of_file(file).len()));
    }
}

pub(crate) fn ask(module: &Module) {
    let symbols = module.symbols_matching(&Wildcard::new("*"));
    black_box((module.types_matching(&Wildcard::new("*")).len(), module.source_files("").len(), module.status()));
    for symbol in symbols.iter().take(MAX_ASKED) {
        black_box(module.symbols_named(&symbol.name, CaseRule::Ignore));
        black_box(module.code_locations(&symbol.name, CaseRule::Exact));
        for at in [symbol.address, ImageOffset(symbol.address.0.wrapping_add(1))] {
            black_box((module.symbol_at(at), module.nearest_symbols(at), module.inline_frames_at(at)));
            black_box((module.line_at(at), module.statement_at(at, None), module.symbol_range_at(at)));
        }
    }
    for at in [0, TEXT_START, TEXT_START + 1, u64::MAX] {
        let at = ImageOffset(at);
        black_box((module.line_at(at), module.statement_at(at, None), module.nearest_symbols(at)));
    }
    for file in module.source_files("").iter().take(MAX_ASKED) {
        black_box(module.addresses_of_line(file, 1));
    }
    black_box(module.problems());
}

/// Where the code of a made-up image begins.
pub(crate) const TEXT_START: u64 = 0x1000;
/// How long it is.
pub(crate) const TEXT_LEN: u64 = 0x1000_0000;

/// A shared object with code at [`TEXT_START`] and these sections.
pub(crate) fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut bytes = vec![0; 64 + 56];
    // gABI, "Section Header": name, type, flags, address, offset, size, link, info, alignment, entry size.
    let mut headers = vec![0; 64];
    let mut header = |name: u32, kind: u32, offset: u64, size: u64| {
        headers.extend_from_slice(&name.to_le_bytes());
        headers.extend_from_slice(&kind.to_le_bytes());
        for word in [0, 0, offset, size, 0, 1, 0] {
            headers.extend_from_slice(&word.to_le_bytes());
        }
    };
    for (name, content) in sections {
        header(names.len() as u32, 1, bytes.len() as u64, content.len() as u64);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        bytes.extend_from_slice(content);
    }
    header(0, 3, bytes.len() as u64, names.len() as u64);
    bytes.extend_from_slice(&names);
    let table = bytes.len() as u64;
    bytes.extend_from_slice(&headers);

    let count = sections.len() as u16 + 2;
    let mut start = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // ET_DYN, EM_X86_64
    start.extend_from_slice(&[3, 0, 62, 0, 1, 0, 0, 0]);
    for word in [TEXT_START, 64, table] {
        start.extend_from_slice(&word.to_le_bytes());
    }
    start.extend_from_slice(&[0; 4]);
    for half in [64, 56, 1, 64, count, count - 1] {
        start.extend_from_slice(&half.to_le_bytes());
    }
    // PT_LOAD, readable and executable, nothing of it in the file
    start.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, TEXT_START, TEXT_START, 0, TEXT_LEN, 0x1000] {
        start.extend_from_slice(&word.to_le_bytes());
    }
    bytes[..start.len()].copy_from_slice(&start);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_images_are_understood() {
        let file = ElfFile::from_memory("made up", image(&[(".debug_line", b"abc"), (".x", b"")])).unwrap();
        assert_eq!(file.problems(), []);
        assert_eq!(&*file.section_data(".debug_line").unwrap().unwrap(), b"abc");
        assert_eq!(file.text_ranges().len(), 1);
        assert!(file.sections().iter().any(|section| section.name == ".x"));
    }
}
