//! Names for the entries of the procedure linkage table.
//!
//! Linkers write no symbols for them. Every flavour (`.plt`, `.plt.sec` with IBT, `.plt.got`, prelinked or not) ends an
//! entry by an indirect jump through a slot of the GOT, and a relocation says which function fills that slot.

use std::collections::HashMap;

use object::LittleEndian as LE;
use object::elf::{EM_X86_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, Rela64, SHT_RELA};
use object::pod;
use outpost_base::ImageOffset;

use super::{ElfFile, ElfSymbol, ElfSymbolBinding, ElfSymbolKind, ElfSymbolSource};
use crate::Problem;

/// Bytes of an entry that can begin one: `.plt` and `.plt.sec` have 16 each, `.plt.got` 8 or 16.
const ENTRY_STEP: usize = 8;
/// `jmp *disp32(%rip)`. Source: Intel SDM vol. 2, JMP.
const JUMP_THROUGH_SLOT: [u8; 2] = [0xff, 0x25];

/// One symbol `name@plt` for each entry that calls another image's function.
pub(super) fn symbols(file: &ElfFile, problems: &mut Vec<Problem>) -> Vec<ElfSymbol> {
    if file.machine() != EM_X86_64.0 {
        return Vec::new();
    }
    let slots = slots(file, problems);
    let mut found = Vec::new();
    for name in [".plt", ".plt.sec", ".plt.got"] {
        let Some((_, section)) = file.section(name) else { continue };
        let bytes = match file.section_data(name) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(error) => {
                problems.push(Problem::new(name, error));
                continue;
            }
        };
        let entry_size = match section.entry_size {
            8 => 8,
            _ => 16,
        };
        for (number, entry) in bytes.chunks(entry_size.max(ENTRY_STEP)).enumerate() {
            let address = section.range.start.0.wrapping_add((number * entry_size) as u64);
            let Some(function) = slot_of(entry, address).and_then(|slot| slots.get(&slot)) else { continue };
            found.push(ElfSymbol {
                name: format!("{function}@plt"),
                address: ImageOffset(address),
                size: entry.len() as u64,
                kind: ElfSymbolKind::Function,
                binding: ElfSymbolBinding::Local,
                source: ElfSymbolSource::Plt,
            });
        }
    }
    found
}

/// Function names by the address of the GOT slot they fill.
fn slots(file: &ElfFile, problems: &mut Vec<Problem>) -> HashMap<u64, String> {
    let mut slots = HashMap::new();
    let Some(dynsym) = file.dynsym(problems) else { return slots };
    for (index, section) in file.sections().iter().enumerate() {
        if section.kind != SHT_RELA.0 || !section.allocated {
            continue;
        }
        let bytes = match file.section_bytes(index) {
            Ok(bytes) => bytes,
            Err(error) => {
                problems.push(Problem::new(section.name.clone(), error));
                continue;
            }
        };
        let count = bytes.len() / size_of::<Rela64<LE>>();
        let Ok((relocations, _)) = pod::slice_from_bytes::<Rela64<LE>>(&bytes, count) else { continue };
        for relocation in relocations {
            let kind = relocation.r_type(LE, false);
            if kind != R_X86_64_JUMP_SLOT && kind != R_X86_64_GLOB_DAT {
                continue;
            }
            let name = dynsym.name(relocation.r_sym(LE, false) as usize).filter(|name| !name.is_empty());
            if let Some(name) = name {
                slots.insert(relocation.r_offset.get(LE), String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    slots
}

/// The GOT slot through which the entry at `address` jumps.
fn slot_of(entry: &[u8], address: u64) -> Option<u64> {
    let at = entry.windows(2).position(|window| window == JUMP_THROUGH_SLOT)?;
    let displacement = i32::from_le_bytes(entry.get(at + 2..at + 6)?.try_into().ok()?);
    Some(address.wrapping_add(at as u64 + 6).wrapping_add_signed(i64::from(displacement)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_of_all_flavours_are_seen() {
        // .plt: jmp *0x2fca(%rip); push; jmp
        let lazy = [0xff, 0x25, 0xca, 0x2f, 0, 0, 0x68, 0, 0, 0, 0, 0xe9, 0xe0, 0xff, 0xff, 0xff];
        assert_eq!(slot_of(&lazy, 0x1030), Some(0x4000));
        // .plt.sec: endbr64; bnd jmp *0x2f75(%rip); nopl
        let ibt = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x75, 0x2f, 0, 0, 0x0f, 0x1f, 0x44, 0, 0];
        assert_eq!(slot_of(&ibt, 0x1050), Some(0x3fd0));
        assert_eq!(slot_of(&[0x90; 16], 0x1050), None);
        assert_eq!(slot_of(&[0xff, 0x25, 1], 0x1050), None);
    }
}
