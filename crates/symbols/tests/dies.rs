//! DIEs as text are those that readelf shows.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use outpost_symbols::{DebugInfo, DieRef, DieSection, ElfFile, FileSource, Module, ModuleFiles};
use outpost_testkit::Build;

/// Offset, tag and names of the attributes.
type Row = (u64, String, Vec<String>);

fn debug_info(path: &Path) -> Arc<DebugInfo> {
    let image = Arc::new(ElfFile::parse(FileSource::open(path).unwrap()).unwrap());
    Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(image) }).debug_info().unwrap()
}

/// What readelf says: ` <1><2e>: Abbrev Number: 5 (DW_TAG_base_type)`, `    <2f>   DW_AT_byte_size   : 1`.
fn by_readelf(path: &Path) -> Vec<(u32, Row)> {
    let output = Command::new("readelf").args(["--wide", "--debug-dump=info"]).arg(path).output().unwrap();
    let mut rows: Vec<(u32, Row)> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let trimmed = line.trim_start();
        if let Some((head, tag)) = trimmed.split_once(": Abbrev Number: ") {
            let Some((_, tag)) = tag.split_once(" (") else { continue };
            let (depth, offset) = head.trim_start_matches('<').split_once("><").unwrap();
            let offset = u64::from_str_radix(offset.trim_end_matches('>'), 16).unwrap();
            // readelf shortens DW_TAG_template_type_parameter and its like.
            let tag = match tag.trim_end_matches(')') {
                tag if tag.ends_with("_param") => format!("{tag}eter"),
                tag => tag.to_owned(),
            };
            rows.push((depth.parse().unwrap(), (offset, tag, Vec::new())));
        } else if let Some((_, rest)) = trimmed.split_once(">   DW_AT_")
            && let Some((_, (_, _, names))) = rows.last_mut()
        {
            names.push(format!("DW_AT_{}", rest.split([' ', ':']).next().unwrap()));
        }
    }
    rows
}

fn check(fixture: &str, flags: &str) {
    let path = Build::fixture(fixture).flags(flags).path();
    let (info, expected) = (debug_info(&path), by_readelf(&path));
    let units: Vec<u64> = expected.iter().filter(|(depth, _)| *depth == 0).map(|(_, row)| row.0).collect();
    let mut found: Vec<(u32, Row)> = Vec::new();
    for unit in units {
        let at = info.die_at_offset(unit, false).unwrap();
        assert_eq!(at.offset, unit);
        for die in info.die_texts(at, u32::MAX, usize::MAX).unwrap() {
            let names = die.attributes.into_iter().map(|attribute| attribute.name).collect();
            found.push((die.depth, (die.at.offset, die.tag, names)));
        }
    }
    assert!(expected.len() > 100, "{}", expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    // Each lies in the nearest before it that is one level higher.
    let mut path: Vec<u64> = Vec::new();
    for (number, (depth, (offset, ..))) in expected.iter().enumerate() {
        path.truncate(*depth as usize);
        if number % 37 == 0 {
            let outer = info.die_ancestors(DieRef { section: DieSection::Info, offset: *offset }).unwrap();
            let outer: Vec<u64> = outer.into_iter().rev().map(|at| at.offset).collect();
            assert_eq!(outer, path, "{offset:#x}");
        }
        path.push(*offset);
    }
}

#[test]
fn dies_are_those_that_readelf_shows() {
    check("values.c", "-g -O2");
    check("shop.cpp", "-g -O2 -gdwarf-4");
    check("shop.cpp", "-g -O2 -gdwarf-5");
}

#[test]
fn what_is_no_die_is_refused() {
    let info = debug_info(&Build::fixture("values.c").flags("-g -O0").path());
    // The header of the unit stands for its DIE, what is behind all units for nothing.
    let root = info.die_at_offset(0, false).unwrap();
    assert_eq!(info.die_texts(root, 1, 9).unwrap()[0].tag, "DW_TAG_compile_unit");
    assert_eq!(info.die_at_offset(1 << 40, false), None);
    assert_eq!(info.die_at_offset(0, true), None);
    assert_eq!(info.die_ancestors(DieRef { offset: root.offset + 1, ..root }), None);
    for offset in 0..4096 {
        // Whatever stands there is read as far as it makes sense.
        drop(info.die_texts(DieRef { section: DieSection::Info, offset }, 3, 99));
    }
}
