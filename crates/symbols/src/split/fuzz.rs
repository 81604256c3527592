//! Bodies of the fuzz targets for split DWARF. They only must not panic, hang or fill memory.
//!
//! The input is a `.dwo` file, or a package of them. The program around it is made up: it has a skeleton for each of the first
//! units there, so that they are asked for.

use std::sync::Arc;

use super::SplitFiles;
use crate::debug_info::unit_spans;
use crate::fuzz::{TEXT_LEN, TEXT_START, ask, image};
use crate::variables::ask_debug_info;
use crate::{ElfFile, MemorySource, Module, ModuleFiles, SectionData};

/// Most skeletons of a program.
const MAX_SKELETONS: usize = 4;
/// Addresses in `.debug_addr`, and how far they are from each other.
const ADDRESSES: u64 = 64;
const DISTANCE: u64 = 16;
/// Version of DWARF that the skeletons have.
const VERSIONS: [u8; 2] = [4, 5];

/// Any bytes as a `.dwo` file, by which a program's skeletons are completed.
pub fn fuzz_dwo(data: &[u8]) {
    let Ok(file) = ElfFile::parse(MemorySource::new("input", data.to_vec())) else { return };
    let ids = ids_of_file(&file);
    if ids.is_empty() {
        return;
    }
    // Found by its name, as by users.
    let thread = format!("{:?}", std::thread::current().id());
    let name = format!("outpost-fuzz-{}-{}.dwo", std::process::id(), thread.replace(['(', ')'], ""));
    let path = std::env::temp_dir().join(name);
    if std::fs::write(&path, data).is_err() {
        return;
    }
    for version in VERSIONS {
        complete(version, &ids, &path.display().to_string(), SplitFiles::default());
    }
    // What stays is replaced by the next.
    let _ = std::fs::remove_file(path);
}

/// Any bytes as a package of `.dwo` files (`.dwp`), by which a program's skeletons are completed.
pub fn fuzz_dwp(data: &[u8]) {
    let Ok(file) = ElfFile::parse(MemorySource::new("input", data.to_vec())) else { return };
    let ids = ids_of_package(&file);
    let package = Some(Arc::new(file));
    for version in VERSIONS {
        let split = SplitFiles { package: package.clone(), directories: Vec::new() };
        complete(version, &ids, "/nowhere/a.dwo", split);
    }
}

/// Asks everything of a program whose skeletons have these ids.
fn complete(version: u8, ids: &[u64], dwo_name: &str, split: SplitFiles) {
    let Ok(program) = ElfFile::parse(MemorySource::new("program", program(version, ids, dwo_name))) else { return };
    let module = Module::new(ModuleFiles { split, cache: None, ..ModuleFiles::new(Arc::new(program)) });
    ask(&module);
    if let Some(info) = module.debug_info() {
        ask_debug_info(info);
    }
}

/// Ids of the first units of a `.dwo` file.
fn ids_of_file(file: &ElfFile) -> Vec<u64> {
    let load = |id: gimli::SectionId| match id.dwo_name().map(|name| file.section_data(name)) {
        Some(Ok(data)) => Ok::<_, std::convert::Infallible>(data.unwrap_or_default()),
        _ => Ok(SectionData::empty()),
    };
    let Ok(sections) = gimli::DwarfSections::load(load);
    let mut dwarf = sections.borrow(|data| gimli::EndianReader::new(data.clone(), gimli::LittleEndian));
    dwarf.file_type = gimli::DwarfFileType::Dwo;
    let units = unit_spans(&dwarf, &mut Vec::new());
    let mut ids: Vec<u64> = units.iter().filter_map(|unit| unit.dwo_id).take(MAX_SKELETONS).collect();
    ids.dedup();
    ids
}

/// Ids in the table of a package's index of units.
///
/// Source: DWARF 5, 7.3.5.3: version, columns, used and all slots of the table, which has the ids of units.
fn ids_of_package(file: &ElfFile) -> Vec<u64> {
    let Ok(Some(index)) = file.section_data(".debug_cu_index") else { return Vec::new() };
    let Some((header, table)) = index.split_first_chunk::<16>() else { return Vec::new() };
    let slots = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    let ids = table.chunks_exact(8).map(|id| id.iter().rev().fold(0, |id, byte| id << 8 | u64::from(*byte)));
    ids.take(slots as usize).filter(|id| *id != 0).take(MAX_SKELETONS).collect()
}

/// A program of skeletons.
fn program(version: u8, ids: &[u64], dwo_name: &str) -> Vec<u8> {
    // DWARF 5, 3.1.2 and 7.5.5: names and forms of a skeleton's attributes; before it those of GNU (DebugFission).
    let abbreviations: &[u8] = match version {
        // DW_TAG_skeleton_unit: dwo_name, comp_dir, low_pc, high_pc (data8), addr_base
        5 => &[1, 0x4a, 0, 0x76, 0x08, 0x1b, 0x08, 0x11, 0x01, 0x12, 0x07, 0x73, 0x17, 0, 0, 0],
        // DW_TAG_compile_unit: GNU_dwo_name, comp_dir, low_pc, high_pc (data8), GNU_addr_base, GNU_dwo_id (data8)
        _ => &[
            1, 0x11, 0, 0xb0, 0x42, 0x08, 0x1b, 0x08, 0x11, 0x01, 0x12, 0x07, 0xb3, 0x42, 0x17, 0xb1, 0x42, 0x07, 0, 0,
            0,
        ],
    };
    // What is before the addresses: length, version, sizes of addresses and segments (DWARF 5, 7.27).
    let addresses = (0..ADDRESSES).flat_map(|number| (TEXT_START + number * DISTANCE).to_le_bytes());
    let len = (4 + ADDRESSES * 8) as u32;
    let mut addr = [&len.to_le_bytes()[..], &[5, 0, 8, 0]].concat();
    addr.extend(addresses);
    let mut info = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let mut body = vec![version, 0];
        match version {
            // DW_UT_skeleton, address size, abbreviations at 0, id
            5 => body.extend([&[4, 8, 0, 0, 0, 0][..], &id.to_le_bytes()].concat()),
            _ => body.extend_from_slice(&[0, 0, 0, 0, 8]),
        }
        body.push(1);
        body.extend_from_slice(dwo_name.as_bytes());
        body.extend_from_slice(b"\0/nowhere\0");
        let part = TEXT_LEN / MAX_SKELETONS as u64;
        body.extend_from_slice(&(TEXT_START + part * number as u64).to_le_bytes());
        body.extend_from_slice(&part.to_le_bytes());
        body.extend_from_slice(&8_u32.to_le_bytes());
        if version < 5 {
            body.extend_from_slice(&id.to_le_bytes());
        }
        info.extend_from_slice(&(body.len() as u32).to_le_bytes());
        info.extend_from_slice(&body);
    }
    image(&[(".debug_abbrev", abbreviations), (".debug_info", &info), (".debug_addr", &addr)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wildcard;

    /// The seeds reach what they are for.
    #[test]
    fn skeletons_are_completed_by_the_seeds() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        for (folder, name, version) in [
            ("dwo", "gcc4", 4),
            ("dwo", "gcc5", 5),
            ("dwo", "clang4", 4),
            ("dwo", "clang5", 5),
            ("dwp", "clang4", 4),
            ("dwp", "clang5", 5),
            ("dwp", "gcc4", 4),
        ] {
            let path = corpus.join(folder).join(name);
            let file = ElfFile::parse(MemorySource::new("seed", std::fs::read(&path).unwrap())).unwrap();
            let (ids, split) = match folder {
                "dwo" => (ids_of_file(&file), SplitFiles::default()),
                _ => (ids_of_package(&file), SplitFiles { package: Some(Arc::new(file)), directories: Vec::new() }),
            };
            assert!(!ids.is_empty(), "{folder}/{name}");
            let program = ElfFile::from_memory("program", program(version, &ids, path.to_str().unwrap())).unwrap();
            let module = Module::new(ModuleFiles { split, cache: None, ..ModuleFiles::new(Arc::new(program)) });
            let found = module.symbols_matching(&Wildcard::new("sum"));
            assert!(!found.is_empty(), "{folder}/{name}: {:?}", module.problems());
            assert!(!module.types_matching(&Wildcard::new("*node*")).is_empty(), "{folder}/{name}");
            assert_eq!(module.problems(), [], "{folder}/{name}");
        }
    }
}
