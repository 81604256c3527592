//! Object files that a program loads by itself and tells debuggers of, as JIT compilers do.

use crate::ImageRange;
use outpost_base::ImageOffset;

/// Sections that are looked at.
const MAX_SECTIONS: usize = 1 << 16;
/// Relocations that are carried out.
const MAX_RELOCATIONS: usize = 1 << 22;

/// Fields of the ELF-64 header, section headers, symbols and relocations (System V gABI, chapter 4), by their offsets.
const E_TYPE: usize = 16;
const E_SHOFF: usize = 40;
const E_SHNUM: usize = 60;
const E_SHSTRNDX: usize = 62;
const SECTION_LEN: usize = 64;
const SYMBOL_LEN: usize = 24;
const RELOCATION_LEN: usize = 24;
const ET_REL: u16 = 1;
const ET_EXEC: u16 = 2;
const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHF_ALLOC: u64 = 2;
/// Section numbers from here on are none.
const SHN_LORESERVE: u16 = 0xff00;
/// Relocations of debug information and of call frame information (SysV x86-64 psABI, table 4.9).
const R_X86_64_64: u32 = 1;
const R_X86_64_PC32: u32 = 2;
const R_X86_64_32: u32 = 10;
const R_X86_64_32S: u32 = 11;
const R_X86_64_PC64: u32 = 24;

#[derive(Clone, Copy)]
struct Header {
    name: usize,
    kind: u32,
    flags: u64,
    address: u64,
    offset: usize,
    len: usize,
    link: usize,
    info: usize,
}

/// Makes of a relocatable object file whose sections have the addresses that they were loaded at an image that lies there:
/// symbols are given addresses, and references between its debug sections are filled in, and those from call frame
/// information to code. Other ELF files stay as they are.
///
/// Gives the addresses from the first to the last of its sections in memory; `None` if it has none, or is no ELF file.
pub fn place_object(bytes: &mut [u8]) -> Option<ImageRange> {
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let count = usize::from(u16_at(bytes, E_SHNUM)?).min(MAX_SECTIONS);
    let table = usize::try_from(u64_at(bytes, E_SHOFF)?).ok()?;
    let mut sections: Vec<Header> =
        (0..count).map_while(|at| header(bytes, table.checked_add(at * SECTION_LEN)?)).collect();
    let in_memory = sections.iter().filter(|section| section.flags & SHF_ALLOC != 0 && section.address != 0);
    let ends = in_memory.clone().filter_map(|section| section.address.checked_add(section.len as u64));
    let start = in_memory.map(|section| section.address).min()?;
    let range = ImageRange { start: ImageOffset(start), end: ImageOffset(ends.max()?) };
    if u16_at(bytes, E_TYPE)? != ET_REL {
        return Some(range);
    }
    // Call frame information refers to code by the distance. A compiler that does not need it has not loaded it; then
    // it is taken to follow what was.
    let frames = call_frames(bytes, &sections);
    if let Some((number, frames)) = frames.and_then(|at| Some((at, sections.get_mut(at)?)))
        && frames.address == 0
    {
        frames.address = range.end.0.checked_next_multiple_of(16)?;
        put(bytes, table.checked_add(number * SECTION_LEN)? + 16, &frames.address.to_le_bytes());
    }
    for section in sections.iter().filter(|section| section.kind == SHT_SYMTAB) {
        for at in 0..section.len / SYMBOL_LEN {
            let symbol = section.offset.checked_add(at * SYMBOL_LEN)?;
            let Some(within) = u16_at(bytes, symbol + 6).filter(|index| *index < SHN_LORESERVE) else { continue };
            let Some(of) = sections.get(usize::from(within)).filter(|_| within != 0) else { continue };
            let Some(value) = u64_at(bytes, symbol + 8) else { break };
            put(bytes, symbol + 8, &value.wrapping_add(of.address).to_le_bytes());
        }
    }
    let mut left = MAX_RELOCATIONS;
    for section in sections.iter().filter(|section| section.kind == SHT_RELA) {
        // What else is in memory the program has relocated, there.
        let is_of_use = |target: &&Header| target.flags & SHF_ALLOC == 0 || frames == Some(section.info);
        let Some(target) = sections.get(section.info).filter(is_of_use) else { continue };
        let Some(symbols) = sections.get(section.link) else { continue };
        for at in 0..(section.len / RELOCATION_LEN).min(left) {
            relocate(bytes, section.offset.checked_add(at * RELOCATION_LEN)?, *target, *symbols);
        }
        left -= (section.len / RELOCATION_LEN).min(left);
    }
    put(bytes, E_TYPE, &ET_EXEC.to_le_bytes());
    Some(range)
}

/// The number of `.eh_frame`.
fn call_frames(bytes: &[u8], sections: &[Header]) -> Option<usize> {
    let names = sections.get(usize::from(u16_at(bytes, E_SHSTRNDX)?))?;
    let is_named = |section: &Header| {
        let at = names.offset.checked_add(section.name)?;
        Some(bytes.get(at..)?.starts_with(b".eh_frame\0"))
    };
    sections.iter().position(|section| section.flags & SHF_ALLOC != 0 && is_named(section) == Some(true))
}

/// Fills one reference in; damaged ones are passed over.
fn relocate(bytes: &mut [u8], at: usize, target: Header, symbols: Header) -> Option<()> {
    let (offset, info, addend) = (u64_at(bytes, at)?, u64_at(bytes, at + 8)?, u64_at(bytes, at + 16)?);
    let symbol = usize::try_from(info >> 32).ok()?.checked_mul(SYMBOL_LEN).filter(|symbol| *symbol < symbols.len)?;
    let value = u64_at(bytes, symbols.offset.checked_add(symbol)? + 8)?.wrapping_add(addend);
    let distance = value.wrapping_sub(target.address.wrapping_add(offset));
    let offset = usize::try_from(offset).ok()?;
    let (value, distance) = (value.to_le_bytes(), distance.to_le_bytes());
    let value = match info as u32 {
        R_X86_64_64 => &value[..],
        R_X86_64_32 | R_X86_64_32S => &value[..4],
        R_X86_64_PC64 => &distance[..],
        R_X86_64_PC32 => &distance[..4],
        _ => return None,
    };
    offset.checked_add(value.len()).filter(|end| *end <= target.len)?;
    put(bytes, target.offset.checked_add(offset)?, value)
}

fn header(bytes: &[u8], at: usize) -> Option<Header> {
    let word = |offset: usize| usize::try_from(u64_at(bytes, at + offset)?).ok();
    let half = |offset: usize| Some(u32::from_le_bytes(bytes.get(at + offset..at + offset + 4)?.try_into().ok()?));
    Some(Header {
        name: half(0)? as usize,
        kind: half(4)?,
        flags: u64_at(bytes, at + 8)?,
        address: u64_at(bytes, at + 16)?,
        offset: word(24)?,
        len: word(32)?,
        link: half(40)? as usize,
        info: half(44)? as usize,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at.checked_add(value.len())?)?.copy_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_passed_over() {
        // A header that claims sections everywhere, and every truncation of it.
        let mut bytes = vec![0xff; 4096];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        for (at, kind) in [(0, SHT_SYMTAB), (1, SHT_RELA), (2, SHT_SYMTAB)] {
            let start = 64 + at * SECTION_LEN;
            put(&mut bytes, start + 4, &kind.to_le_bytes());
            put(&mut bytes, start + 44, &2_u32.to_le_bytes());
        }
        for kind in [ET_REL, ET_EXEC] {
            for shoff in [0, 64, 4000, u64::MAX - 8] {
                for len in (0..4096).step_by(37) {
                    put(&mut bytes, E_TYPE, &kind.to_le_bytes());
                    put(&mut bytes, E_SHOFF, &shoff.to_le_bytes());
                    let mut cut = bytes[..len].to_vec();
                    let _ = place_object(&mut cut);
                }
            }
        }
    }
}
