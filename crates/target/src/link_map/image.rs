//! An ELF image as it lies in memory: extent, bias, build-id, dynamic section.
//!
//! Source: System V gABI, ch. 4 and 5; offsets are those of `Elf64_Ehdr`, `Elf64_Phdr` and `Elf64_Nhdr`. Little-endian
//! 64-bit images only, as all architectures of [`outpost_base::Arch`] are.

use outpost_base::{BuildId, ImageOffset, LoadBias, MemoryReader, Va, VaRange};

const EHDR_SIZE: usize = 64;
const PHDR_SIZE: usize = 56;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_PHDR: u32 = 6;
const NT_GNU_BUILD_ID: u32 = 3;

/// Program headers of one image; real ones have about a dozen.
const MAX_HEADERS: usize = 4096;
/// Entries of a dynamic section.
const MAX_DYNAMIC: usize = 4096;
/// Bytes of one note segment that are looked at.
const MAX_NOTES: usize = 64 * 1024;
/// Pages below an address in which an ELF header is looked for: 64 MiB.
const MAX_PAGES_BELOW: u64 = 16 * 1024;
const PAGE: u64 = 4096;

/// What the headers of an image in memory say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// From the first to the last loaded segment, rounded out to pages.
    pub range: VaRange,
    /// What loading added to its own addresses.
    pub bias: LoadBias,
    /// Its build-id note, if it has one that is in memory.
    pub build_id: Option<BuildId>,
    /// Where its dynamic section is.
    pub dynamic: Option<Va>,
    /// Path of the dynamic loader it asks for.
    pub interpreter: Option<String>,
}

/// One program header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProgramHeader {
    kind: u32,
    pub(super) file_offset: u64,
    pub(super) address: ImageOffset,
    file_size: u64,
    memory_size: u64,
}

impl ProgramHeader {
    pub(super) fn is_load(&self) -> bool {
        self.kind == PT_LOAD
    }

    pub(super) fn is_program_headers(&self) -> bool {
        self.kind == PT_PHDR
    }
}

/// Reads the image whose ELF header is at `at`; `None` if there is none or its program headers are not in memory.
pub fn read_image(at: Va, memory: &mut dyn MemoryReader) -> Option<ImageFacts> {
    let (headers_at, count) = elf_header(at, memory)?;
    let headers = read_program_headers(headers_at, count, memory)?;
    let first = headers.iter().filter(|header| header.is_load()).min_by_key(|header| header.address)?;
    // The segment may start inside its first page; the header is then that much further in.
    let header_address = first.address.0.checked_sub(first.file_offset)?;
    let bias = LoadBias::between(at, ImageOffset(header_address));
    Some(facts_from_headers(&headers, bias, memory))
}

/// Looks for the ELF header of the image that `inside` belongs to, from its page downwards.
pub(super) fn find_image_below(inside: Va, memory: &mut dyn MemoryReader) -> Option<Va> {
    let top = inside.align_down(PAGE);
    (0..MAX_PAGES_BELOW)
        .map_while(|pages| top.0.checked_sub(pages * PAGE).map(Va))
        .find(|&at| elf_header(at, memory).is_some())
}

/// Reads `count` program headers.
pub(super) fn read_program_headers(at: Va, count: usize, memory: &mut dyn MemoryReader) -> Option<Vec<ProgramHeader>> {
    if count == 0 || count > MAX_HEADERS {
        return None;
    }
    let mut bytes = vec![0; count * PHDR_SIZE];
    memory.read_exact(at, &mut bytes)?;
    bytes
        .chunks_exact(PHDR_SIZE)
        .map(|header| {
            Some(ProgramHeader {
                kind: u32_at(header, 0)?,
                file_offset: u64_at(header, 8)?,
                address: ImageOffset(u64_at(header, 16)?),
                file_size: u64_at(header, 32)?,
                memory_size: u64_at(header, 40)?,
            })
        })
        .collect()
}

/// What program headers and the memory they lead to say.
pub(super) fn facts_from_headers(
    headers: &[ProgramHeader],
    bias: LoadBias,
    memory: &mut dyn MemoryReader,
) -> ImageFacts {
    let loads = || headers.iter().filter(|header| header.is_load());
    let start = loads().map(|header| header.address.0).min().unwrap_or(0);
    let end = loads().map(|header| header.address.0.saturating_add(header.memory_size)).max().unwrap_or(0);
    let range = VaRange {
        start: ImageOffset(start).to_va(bias).align_down(PAGE),
        end: ImageOffset(end).to_va(bias).align_up(PAGE),
    };
    let of_kind = |kind| headers.iter().filter(move |header| header.kind == kind);
    let interpreter = of_kind(PT_INTERP).next().and_then(|header| {
        let path = memory.read_cstring(header.address.to_va(bias), 4096)?;
        Some(String::from_utf8_lossy(&path).into_owned())
    });
    ImageFacts {
        range,
        bias,
        build_id: of_kind(PT_NOTE).find_map(|header| build_id(header, bias, memory)),
        dynamic: of_kind(PT_DYNAMIC).next().map(|header| header.address.to_va(bias)),
        interpreter,
    }
}

/// The pairs `d_tag, d_val` up to `DT_NULL` or the end of what can be read.
pub(super) fn dynamic_entries(at: Va, memory: &mut dyn MemoryReader) -> Vec<(u64, u64)> {
    (0..MAX_DYNAMIC as u64)
        .map_while(|index| {
            let entry = at + index * 16;
            Some((memory.read_u64(entry)?, memory.read_u64(entry + 8)?))
        })
        .take_while(|(tag, _)| *tag != 0)
        .collect()
}

/// Where the program headers of the image at `at` are, and how many.
fn elf_header(at: Va, memory: &mut dyn MemoryReader) -> Option<(Va, usize)> {
    let mut header = [0; EHDR_SIZE];
    memory.read_exact(at, &mut header)?;
    // EI_MAG, ELFCLASS64, ELFDATA2LSB
    if header[..6] != [0x7f, b'E', b'L', b'F', 2, 1] || usize::from(u16_at(&header, 54)?) != PHDR_SIZE {
        return None;
    }
    Some((at.checked_add(u64_at(&header, 32)?)?, usize::from(u16_at(&header, 56)?)))
}

fn build_id(segment: &ProgramHeader, bias: LoadBias, memory: &mut dyn MemoryReader) -> Option<BuildId> {
    let len = usize::try_from(segment.file_size.min(segment.memory_size)).ok()?.min(MAX_NOTES);
    let mut bytes = vec![0; len];
    let got = memory.read(segment.address.to_va(bias), &mut bytes);
    let mut rest = bytes.get(..got)?;
    // Notes are padded to 4 bytes; those of segments aligned to 8 hold no build-id of their own padding.
    loop {
        let (name_len, len) = (u32_at(rest, 0)? as usize, u32_at(rest, 4)? as usize);
        let kind = u32_at(rest, 8)?;
        let name = rest.get(12..12_usize.checked_add(name_len)?)?;
        let start = 12 + name_len.checked_next_multiple_of(4)?;
        let contents = rest.get(start..start.checked_add(len)?)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && !contents.is_empty() {
            return Some(BuildId(contents.to_vec()));
        }
        rest = rest.get(start.checked_add(len.checked_next_multiple_of(4)?)?..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
