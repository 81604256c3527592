//! An ELF file: its headers, and its sections on demand.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object::LittleEndian as LE;
use object::elf::{
    self, FileHeader64, PF_R, PF_W, PF_X, PN_XNUM, ProgramHeader64, SHF_ALLOC, SHF_COMPRESSED, SHF_EXECINSTR,
    SHT_NOBITS, SHT_NULL, SectionHeader64,
};
use object::pod;
use outpost_base::{Arch, BuildId, ImageOffset};

use super::compressed::{self, Compressed};
use super::{DebugLink, dynamic, notes};
use crate::cache_files::CacheDirectory;
use crate::{ByteSource, ImageRange, MemorySource, Problem, SectionData, SymbolsError};

/// Most program headers that are read; real files have a dozen, kernel cores thousands.
const MAX_SEGMENTS: u64 = 1 << 20;
/// Most section headers that are read; real files have dozens, `-ffunction-sections` objects tens of thousands.
const MAX_SECTIONS: u64 = 1 << 20;

/// Decompressed sections of at least this many bytes are kept on disk and mapped; smaller ones are made anew.
const MIN_CACHED: u64 = 1 << 20;
/// Bytes of decompressed sections that are kept on disk.
const MAX_SECTION_CACHE: u64 = 20 << 30;

/// What an ELF file is for (`e_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfKind {
    /// Object file, not linked (`ET_REL`).
    Relocatable,
    /// Program with fixed addresses (`ET_EXEC`).
    Executable,
    /// Shared library or position-independent program (`ET_DYN`).
    SharedObject,
    /// Memory of a process that ended (`ET_CORE`).
    Core,
}

/// A program header: what the loader maps, and a few things it is told.
#[derive(Clone, Copy, Debug)]
pub struct ElfSegment {
    /// `p_type`.
    pub kind: u32,
    /// Whether its memory is readable.
    pub readable: bool,
    /// Whether its memory is executable.
    pub executable: bool,
    /// Whether its memory is writable.
    pub writable: bool,
    /// File offset of its bytes.
    pub file_offset: u64,
    /// Bytes in the file; memory beyond them is zero.
    pub file_len: u64,
    /// Image addresses it occupies.
    pub range: ImageRange,
    /// `p_align`.
    pub alignment: u64,
}

/// A section header.
#[derive(Clone, Debug)]
pub struct ElfSection {
    /// Name; damaged UTF-8 is replaced.
    pub name: String,
    /// `sh_type`.
    pub kind: u32,
    /// Whether it is part of the image in memory (`SHF_ALLOC`).
    pub allocated: bool,
    /// Whether it holds code (`SHF_EXECINSTR`).
    pub executable: bool,
    /// Whether its bytes are compressed by `SHF_COMPRESSED`.
    pub compressed: bool,
    /// Image addresses it occupies, if allocated.
    pub range: ImageRange,
    /// File offset of its bytes.
    pub file_offset: u64,
    /// Bytes in the file; 0 for `SHT_NOBITS`.
    pub file_len: u64,
    /// `sh_link`.
    pub link: u32,
    /// `sh_info`.
    pub info: u32,
    /// `sh_entsize`.
    pub entry_size: u64,
}

/// An ELF64 little-endian file: an image, a debug file, or the mini-symtab inside an image.
///
/// Opening reads the headers only. Sections are read when asked for; compressed ones are kept after the first time.
#[derive(Debug)]
pub struct ElfFile {
    source: Arc<dyn ByteSource>,
    kind: ElfKind,
    machine: u16,
    entry: ImageOffset,
    segments: Vec<ElfSegment>,
    sections: Vec<ElfSection>,
    decompressed: Vec<OnceLock<SectionData>>,
    prefetched: Mutex<HashMap<usize, SectionData>>,
    section_cache: OnceLock<CacheDirectory>,
    build_id: Option<BuildId>,
    problems: Vec<Problem>,
}

impl ElfFile {
    /// Reads the headers and the build-id of `source`.
    ///
    /// A damaged table is left out and reported in [`ElfFile::problems`]; a file with neither sections nor segments
    /// that can be read is still opened, since its header may be all that was wanted.
    /// # Errors
    /// [`SymbolsError::NotElf`] if the header is not that of an ELF64 little-endian file; [`SymbolsError::Read`].
    pub fn parse(source: Arc<dyn ByteSource>) -> Result<ElfFile, SymbolsError> {
        let not_elf = |reason| SymbolsError::NotElf { name: source.name(), reason };
        if source.len() < size_of::<FileHeader64<LE>>() as u64 {
            return Err(not_elf("it is shorter than an ELF header"));
        }
        let bytes = source.read(0, size_of::<FileHeader64<LE>>() as u64)?;
        let (header, _) = pod::from_bytes::<FileHeader64<LE>>(&bytes).map_err(|()| not_elf("it has no ELF header"))?;
        if header.e_ident.magic != elf::ELFMAG {
            return Err(not_elf("it does not begin with the ELF magic"));
        }
        if header.e_ident.class != elf::ELFCLASS64 {
            return Err(not_elf("it is not a 64-bit file"));
        }
        if header.e_ident.data != elf::ELFDATA2LSB {
            return Err(not_elf("it is not a little-endian file"));
        }
        let kind = match header.e_type.get(LE) {
            elf::ET_REL => ElfKind::Relocatable,
            elf::ET_EXEC => ElfKind::Executable,
            elf::ET_DYN => ElfKind::SharedObject,
            elf::ET_CORE => ElfKind::Core,
            _ => return Err(not_elf("its type is none of REL, EXEC, DYN, CORE")),
        };
        let mut file = ElfFile {
            kind,
            machine: header.e_machine.get(LE).0,
            entry: ImageOffset(header.e_entry.get(LE)),
            segments: Vec::new(),
            sections: Vec::new(),
            decompressed: Vec::new(),
            prefetched: Mutex::default(),
            section_cache: OnceLock::new(),
            build_id: None,
            problems: Vec::new(),
            source,
        };
        match read_sections(&*file.source, header, &mut file.problems) {
            Ok(sections) => file.sections = sections,
            Err(error) => file.problems.push(Problem::new("section headers", error)),
        }
        file.decompressed.resize_with(file.sections.len(), OnceLock::new);
        match read_segments(&*file.source, header) {
            Ok(segments) => file.segments = segments,
            Err(error) => file.problems.push(Problem::new("program headers", error)),
        }
        match notes::build_id(&file) {
            Ok(id) => file.build_id = id,
            Err(error) => file.problems.push(Problem::new("build-id", error)),
        }
        Ok(file)
    }

    /// Reads an image that is complete in memory, as the vdso is; `name` is for messages.
    /// # Errors
    /// As [`ElfFile::parse`].
    pub fn from_memory(name: impl Into<String>, bytes: Vec<u8>) -> Result<ElfFile, SymbolsError> {
        ElfFile::parse(MemorySource::new(name, bytes))
    }

    /// What the source calls the file.
    pub fn name(&self) -> String {
        self.source.name()
    }

    /// Where its bytes come from.
    pub fn source(&self) -> &Arc<dyn ByteSource> {
        &self.source
    }

    /// What it is for.
    pub fn kind(&self) -> ElfKind {
        self.kind
    }

    /// `e_machine`.
    pub fn machine(&self) -> u16 {
        self.machine
    }

    /// Its architecture; `None` if it is not one that this debugger knows.
    pub fn arch(&self) -> Option<Arch> {
        (self.machine == elf::EM_X86_64.0).then_some(Arch::X86_64)
    }

    /// Where execution begins; 0 in most libraries.
    pub fn entry(&self) -> ImageOffset {
        self.entry
    }

    /// Program headers, in file order.
    pub fn segments(&self) -> &[ElfSegment] {
        &self.segments
    }

    /// Section headers, in file order, the null one first.
    pub fn sections(&self) -> &[ElfSection] {
        &self.sections
    }

    /// The build-id note's content.
    pub fn build_id(&self) -> Option<&BuildId> {
        self.build_id.as_ref()
    }

    /// What was damaged in the headers.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The section of that name, with its index.
    pub fn section(&self, name: &str) -> Option<(usize, &ElfSection)> {
        self.sections.iter().enumerate().find(|(_, section)| section.name == name)
    }

    /// The bytes of section `index`, decompressed if need be; empty for `SHT_NOBITS` and for an index not there.
    /// # Errors
    /// [`SymbolsError::OutOfBounds`], [`SymbolsError::Malformed`], [`SymbolsError::TooLarge`], [`SymbolsError::Read`].
    pub fn section_bytes(&self, index: usize) -> Result<SectionData, SymbolsError> {
        let (Some(section), Some(slot)) = (self.sections.get(index), self.decompressed.get(index)) else {
            return Ok(SectionData::empty());
        };
        if let Some(kept) = slot.get() {
            return Ok(kept.clone());
        }
        let prefetched = self.prefetched.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
        let raw = match prefetched {
            Some(raw) => raw,
            None => self.source.read(section.file_offset, section.file_len)?,
        };
        let name = self.source.name();
        let compressed = if section.compressed {
            Compressed::gabi(&name, &section.name, &raw)?
        } else if section.name.starts_with(".zdebug") {
            Compressed::gnu(&name, &section.name, &raw)?
        } else {
            return Ok(raw);
        };
        let done = self.decompress(section, compressed)?;
        Ok(slot.get_or_init(|| done).clone())
    }

    /// Decompresses into the cache, if there is one, so that the section costs neither time nor memory again.
    fn decompress(&self, section: &ElfSection, compressed: Compressed<'_>) -> Result<SectionData, SymbolsError> {
        let large = compressed.size >= MIN_CACHED;
        let (Some(cache), Some(id), true) = (self.section_cache.get(), &self.build_id, large) else {
            return compressed.read().map(SectionData::from);
        };
        let (size, file_len) = (compressed.size, section.file_len);
        let name = format!("{id}{}-{file_len:x}-{size:x}", section.name);
        // Parsers check what they read each time they read it, so of a cached section only the length must be right.
        if let Ok(Some(kept)) = cache.open(&name)
            && kept.len() as u64 == size
        {
            return Ok(kept);
        }
        let stored = cache.store(&name, |mut out| match compressed.copy_to(&mut out) {
            Ok(()) => Ok(out),
            Err(error) => Err(io::Error::other(error)),
        });
        // A full disk must not cost the symbols; damage shows again.
        stored.or_else(|_| {
            let raw = self.source.read(section.file_offset, section.file_len)?;
            let name = self.source.name();
            let again = match section.compressed {
                true => Compressed::gabi(&name, &section.name, &raw),
                false => Compressed::gnu(&name, &section.name, &raw),
            };
            again?.read().map(SectionData::from)
        })
    }

    /// Gives the file a directory in which decompressed sections are kept; the first one given counts.
    pub(crate) fn keep_sections_in(&self, cache: &Path) {
        let directory = CacheDirectory::new(cache.join("sections"), MAX_SECTION_CACHE);
        self.section_cache.get_or_init(|| directory);
    }

    /// The bytes of the section called `name`, decompressed if need be; `None` if there is none or it has no bytes.
    ///
    /// A debug section is also found by its old compressed name (`.zdebug_info` for `.debug_info`).
    /// # Errors
    /// As [`ElfFile::section_bytes`].
    pub fn section_data(&self, name: &str) -> Result<Option<SectionData>, SymbolsError> {
        let found = self.section(name).or_else(|| {
            let rest = name.strip_prefix(".debug")?;
            self.section(&format!(".zdebug{rest}"))
        });
        match found {
            Some((index, section)) if section.kind != SHT_NOBITS.0 => self.section_bytes(index).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads sections of these names at once, for a source that pays for each time it is asked. The next one who asks
    /// for such a section gets what was read here; a failure is left for them to find.
    pub(crate) fn prefetch(&self, names: &[&str]) {
        let is_wanted = |section: &ElfSection| {
            let plain = section.name.strip_prefix(".zdebug").map(|rest| format!(".debug{rest}"));
            section.file_len > 0 && names.contains(&plain.as_deref().unwrap_or(&section.name))
        };
        let wanted: Vec<usize> = (0..self.sections.len())
            .filter(|&at| self.sections.get(at).is_some_and(is_wanted))
            .filter(|&at| self.decompressed.get(at).is_some_and(|slot| slot.get().is_none()))
            .collect();
        let ranges: Vec<_> = wanted
            .iter()
            .filter_map(|&at| self.sections.get(at))
            .map(|section| section.file_offset..section.file_offset.saturating_add(section.file_len))
            .collect();
        if let Ok(read) = self.source.read_many(&ranges) {
            let mut prefetched = self.prefetched.lock().unwrap_or_else(PoisonError::into_inner);
            prefetched.extend(wanted.into_iter().zip(read));
        }
    }

    /// Bytes of the image as the file has them: what memory at `at` held right after loading, before relocation.
    ///
    /// Returns fewer bytes than `len` where the file's part of the segment ends; `None` if `at` is in no segment.
    pub fn image_bytes(&self, at: ImageOffset, len: usize) -> Option<SectionData> {
        if self.segments.is_empty() {
            // An object file that was given addresses.
            let section = self.sections.iter().find(|section| section.allocated && section.range.contains(at))?;
            let skip = at.0 - section.range.start.0;
            let available = section.file_len.checked_sub(skip)?.min(len as u64);
            return self.source.read(section.file_offset.checked_add(skip)?, available).ok();
        }
        let segment = self.segments.iter().find(|segment| {
            segment.kind == elf::PT_LOAD.0
                && segment.range.start <= at
                && at.0 - segment.range.start.0 < segment.file_len
        })?;
        let skip = at.0 - segment.range.start.0;
        let available = (segment.file_len - skip).min(len as u64);
        self.source.read(segment.file_offset.checked_add(skip)?, available).ok()
    }

    /// Image addresses that hold code, by executable sections or, without sections, by executable segments; sorted.
    pub fn text_ranges(&self) -> Vec<ImageRange> {
        let sections = self.sections.iter().filter(|section| section.allocated && section.executable);
        let mut ranges: Vec<ImageRange> = sections.map(|section| section.range).collect();
        if ranges.is_empty() {
            let segments = self.segments.iter().filter(|s| s.kind == elf::PT_LOAD.0 && s.executable);
            ranges = segments.map(|segment| segment.range).collect();
        }
        ranges.retain(|range| !range.is_empty());
        ranges.sort();
        ranges
    }

    /// Lowest and highest image address that loading occupies.
    pub fn loaded_range(&self) -> ImageRange {
        let loads = self.segments.iter().filter(|segment| segment.kind == elf::PT_LOAD.0);
        let bounds = loads
            .map(|segment| segment.range)
            .reduce(|all, range| ImageRange { start: all.start.min(range.start), end: all.end.max(range.end) });
        bounds.unwrap_or_default()
    }

    /// `.gnu_debuglink`: name and checksum of the separate debug file.
    pub fn debug_link(&self) -> Option<DebugLink> {
        notes::debug_link(self)
    }

    /// `.gnu_debugaltlink`: path and build-id of the file of shared DWARF that dwz made.
    pub fn debug_alt_link(&self) -> Option<(String, BuildId)> {
        notes::debug_alt_link(self)
    }

    /// `.gnu_debugdata`: the mini-symtab inside a stripped image, itself an ELF file.
    /// # Errors
    /// As [`ElfFile::parse`] and [`ElfFile::section_bytes`].
    pub fn mini_symtab(&self) -> Result<Option<ElfFile>, SymbolsError> {
        let Some(packed) = self.section_data(".gnu_debugdata")? else { return Ok(None) };
        let bytes = compressed::decompress_xz(&self.source.name(), ".gnu_debugdata", &packed)?;
        ElfFile::from_memory(format!("{} (.gnu_debugdata)", self.source.name()), bytes).map(Some)
    }

    /// `DT_SONAME`: what other images call this library.
    pub fn soname(&self) -> Option<String> {
        dynamic::Dynamic::read(self)?.soname()
    }

    /// `DT_NEEDED`: the libraries it asks for, in order.
    pub fn needed(&self) -> Vec<String> {
        dynamic::Dynamic::read(self).map(|dynamic| dynamic.needed()).unwrap_or_default()
    }

    /// `PT_INTERP`: the dynamic loader it asks for.
    pub fn interpreter(&self) -> Option<String> {
        let segment = self.segments.iter().find(|segment| segment.kind == elf::PT_INTERP.0)?;
        let bytes = self.source.read(segment.file_offset, segment.file_len.min(4096)).ok()?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Whether it holds DWARF.
    pub fn has_dwarf(&self) -> bool {
        [".debug_info", ".zdebug_info"].iter().any(|name| self.has_bytes(name))
    }

    /// Whether it holds a full symbol table.
    pub fn has_symtab(&self) -> bool {
        self.has_bytes(".symtab")
    }

    fn has_bytes(&self, name: &str) -> bool {
        self.section(name).is_some_and(|(_, section)| section.kind != SHT_NOBITS.0 && section.file_len > 0)
    }
}

fn table(
    source: &dyn ByteSource,
    what: &str,
    offset: u64,
    (count, entry_size): (u64, usize),
    limit: u64,
) -> Result<SectionData, SymbolsError> {
    if count > limit {
        let name = source.name();
        return Err(SymbolsError::TooLarge { name, what: what.to_owned(), size: count, limit });
    }
    source.read(offset, count * entry_size as u64)
}

fn read_segments(source: &dyn ByteSource, header: &FileHeader64<LE>) -> Result<Vec<ElfSegment>, SymbolsError> {
    let mut count = u64::from(header.e_phnum.get(LE));
    let offset = header.e_phoff.get(LE);
    if offset == 0 || count == 0 {
        return Ok(Vec::new());
    }
    if count == u64::from(PN_XNUM) {
        // gABI, "ELF header": the true number is then in sh_info of section 0.
        let first = source.read(header.e_shoff.get(LE), size_of::<SectionHeader64<LE>>() as u64)?;
        if let Ok((first, _)) = pod::from_bytes::<SectionHeader64<LE>>(&first) {
            count = u64::from(first.sh_info.get(LE));
        }
    }
    let entry_size = size_of::<ProgramHeader64<LE>>();
    if usize::from(header.e_phentsize.get(LE)) != entry_size {
        let (what, reason) = ("program headers".to_owned(), "their size is not 56 bytes".to_owned());
        return Err(SymbolsError::Malformed { name: source.name(), what, reason });
    }
    let bytes = table(source, "program headers", offset, (count, entry_size), MAX_SEGMENTS)?;
    let headers = pod::slice_from_all_bytes::<ProgramHeader64<LE>>(&bytes).unwrap_or_default();
    Ok(headers.iter().map(segment).collect())
}

fn segment(header: &ProgramHeader64<LE>) -> ElfSegment {
    let (start, flags) = (header.p_vaddr.get(LE), header.p_flags.get(LE));
    ElfSegment {
        kind: header.p_type.get(LE).0,
        readable: flags.contains(PF_R),
        executable: flags.contains(PF_X),
        writable: flags.contains(PF_W),
        file_offset: header.p_offset.get(LE),
        file_len: header.p_filesz.get(LE),
        range: ImageRange::new(start, start.saturating_add(header.p_memsz.get(LE))),
        alignment: header.p_align.get(LE),
    }
}

fn read_sections(
    source: &dyn ByteSource,
    header: &FileHeader64<LE>,
    problems: &mut Vec<Problem>,
) -> Result<Vec<ElfSection>, SymbolsError> {
    let offset = header.e_shoff.get(LE);
    if offset == 0 {
        return Ok(Vec::new());
    }
    let entry_size = size_of::<SectionHeader64<LE>>();
    let first = source.read(offset, entry_size as u64)?;
    let mut count = u64::from(header.e_shnum.get(LE));
    let mut names_index = u32::from(header.e_shstrndx.get(LE).0);
    if let Ok((first, _)) = pod::from_bytes::<SectionHeader64<LE>>(&first) {
        // gABI, "ELF header": numbers too large for the header are in section 0.
        if count == 0 {
            count = first.sh_size.get(LE);
        }
        if names_index == u32::from(elf::SHN_XINDEX.0) {
            names_index = first.sh_link.get(LE);
        }
    }
    let bytes = table(source, "section headers", offset, (count, entry_size), MAX_SECTIONS)?;
    let headers = pod::slice_from_all_bytes::<SectionHeader64<LE>>(&bytes).unwrap_or_default();
    let names = headers
        .get(names_index as usize)
        .map(|names| source.read(names.sh_offset.get(LE), names.sh_size.get(LE)))
        .unwrap_or_else(|| Ok(SectionData::empty()))
        .unwrap_or_else(|error| {
            problems.push(Problem::new("section names", error));
            SectionData::empty()
        });
    Ok(headers.iter().map(|header| section(header, &names)).collect())
}

fn section(header: &SectionHeader64<LE>, names: &[u8]) -> ElfSection {
    let (kind, flags) = (header.sh_type.get(LE), header.sh_flags.get(LE));
    let (start, size) = (header.sh_addr.get(LE), header.sh_size.get(LE));
    let in_file = kind != SHT_NOBITS && kind != SHT_NULL;
    let allocated = flags.contains(SHF_ALLOC);
    ElfSection {
        name: String::from_utf8_lossy(string_at(names, u64::from(header.sh_name.get(LE)))).into_owned(),
        kind: kind.0,
        allocated,
        executable: flags.contains(SHF_EXECINSTR),
        compressed: flags.contains(SHF_COMPRESSED),
        range: if allocated { ImageRange::new(start, start.saturating_add(size)) } else { ImageRange::default() },
        file_offset: header.sh_offset.get(LE),
        file_len: if in_file { size } else { 0 },
        link: header.sh_link.get(LE),
        info: header.sh_info.get(LE),
        entry_size: header.sh_entsize.get(LE),
    }
}

/// The NUL-terminated string at `offset` of a string table; empty if it lies outside.
pub(super) fn string_at(table: &[u8], offset: u64) -> &[u8] {
    let rest = usize::try_from(offset).ok().and_then(|offset| table.get(offset..)).unwrap_or_default();
    match rest.iter().position(|&byte| byte == 0) {
        Some(end) => &rest[..end],
        None => rest,
    }
}
