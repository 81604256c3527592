//! Call frame information of an image that is only in memory: the vdso, and modules whose file is not to be had.

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, pod};
use outpost_base::{ImageOffset, LoadBias, MemoryReader, Va};

use super::header;
use super::sections::{CfiSection, CfiSections};

const HEADER_SIZE: usize = size_of::<FileHeader64<LittleEndian>>();
const PROGRAM_HEADER_SIZE: usize = size_of::<elf::ProgramHeader64<LittleEndian>>();
/// Most program headers that are looked at; real images have about a dozen.
const MAX_PROGRAM_HEADERS: usize = 256;
/// Most bytes of one section. The largest programs known have some 40 MiB.
const MAX_SECTION: u64 = 128 * 1024 * 1024;

impl CfiSections {
    /// Reads the sections of the image whose ELF header is at `at` in memory, and the bias it was loaded with.
    ///
    /// `None` if there is no ELF header, no `PT_GNU_EH_FRAME`, or any of it cannot be read. The length of `.eh_frame` is
    /// nowhere stated; it is taken from the last entry that the table of `.eh_frame_hdr` leads to.
    pub fn from_mapped_image(at: Va, memory: &mut dyn MemoryReader) -> Option<(CfiSections, LoadBias)> {
        let mut bytes = vec![0; HEADER_SIZE];
        memory.read_exact(at, &mut bytes)?;
        let file = FileHeader64::<LittleEndian>::parse(bytes.as_slice()).ok()?;
        let endian = file.endian().ok()?;
        let count = usize::from(file.e_phnum(endian));
        if count > MAX_PROGRAM_HEADERS || usize::from(file.e_phentsize(endian)) != PROGRAM_HEADER_SIZE {
            return None;
        }
        let headers_at = at.checked_add(file.e_phoff(endian))?;
        let headers_bytes = read(headers_at, (count * PROGRAM_HEADER_SIZE) as u64, memory)?;
        let (headers, _) = pod::slice_from_bytes::<elf::ProgramHeader64<LittleEndian>>(&headers_bytes, count).ok()?;

        let loads = || headers.iter().filter(|header| header.p_type(endian) == elf::PT_LOAD);
        let first = loads().min_by_key(|header| header.p_vaddr(endian))?;
        let own_address = first.p_vaddr(endian).checked_sub(first.p_offset(endian))?;
        let bias = LoadBias::between(at, ImageOffset(own_address));
        let table = headers.iter().find(|header| header.p_type(endian) == elf::PT_GNU_EH_FRAME)?;
        let header_at = ImageOffset(table.p_vaddr(endian));
        let bytes = read(header_at.to_va(bias), table.p_memsz(endian), memory)?;
        let eh_frame_hdr = CfiSection { address: header_at, bytes: bytes.into() };

        let (start, last_entry) = header::extent(&eh_frame_hdr)?;
        let last_len = memory.read_uint(last_entry.to_va(bias), 4)?;
        let len = last_entry.0.checked_sub(start.0)?.checked_add(last_len)?.checked_add(4)?;
        let bytes = read(start.to_va(bias), len, memory)?;
        let eh_frame = CfiSection { address: start, bytes: bytes.into() };
        let sections =
            CfiSections { eh_frame: Some(eh_frame), eh_frame_hdr: Some(eh_frame_hdr), ..CfiSections::default() };
        Some((sections, bias))
    }
}

fn read(at: Va, len: u64, memory: &mut dyn MemoryReader) -> Option<Vec<u8>> {
    if len > MAX_SECTION {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    memory.read_exact(at, &mut bytes)?;
    Some(bytes)
}
