//! The memory a core holds, and what its mapped files can add.
//!
//! A core leaves out what the kernel's `coredump_filter` excludes, above all program text. Such memory is supplied from
//! the file that was mapped there, as gdb does, but only if that file is proven to be the one: the build-id that the core
//! holds for the image (the kernel dumps the first page of ELF images) must equal the file's own.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, ReadCache, elf};
use outpost_base::{BuildId, MemoryReader, Va, VaRange};
use outpost_target::link_map::read_image;

use super::notes::MappedFile;

/// A loaded segment of the core.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) range: VaRange,
    pub(super) file_offset: u64,
    /// Bytes present in the core; the rest of the range was not dumped.
    pub(super) file_len: u64,
    pub(super) flags: u32,
}

/// Reads a core's memory.
#[derive(Debug)]
pub(super) struct CoreMemory {
    core: File,
    /// Ascending by address.
    segments: Vec<Segment>,
    /// Ascending by address.
    files: Vec<MappedFile>,
    /// Proven files by path; `None` where there is none to be had.
    opened: HashMap<String, Option<File>>,
    /// Why files were not used.
    pub(super) problems: Vec<String>,
}

impl CoreMemory {
    pub(super) fn new(core: File, mut segments: Vec<Segment>, mut files: Vec<MappedFile>) -> CoreMemory {
        segments.sort_by_key(|segment| segment.range.start);
        files.sort_by_key(|file| file.range.start);
        CoreMemory { core, segments, files, opened: HashMap::new(), problems: Vec::new() }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn files(&self) -> &[MappedFile] {
        &self.files
    }

    /// Reads from the core alone: bytes from `at` up to the end of what its segment holds.
    fn read_core(&self, at: Va, buf: &mut [u8]) -> usize {
        let index = self.segments.partition_point(|segment| segment.range.start <= at);
        let Some(segment) = index.checked_sub(1).map(|index| self.segments[index]) else { return 0 };
        let skip = at - segment.range.start;
        let held = segment.file_len.min(segment.range.len()).saturating_sub(skip);
        let want = held.min(buf.len() as u64) as usize;
        let Some(offset) = segment.file_offset.checked_add(skip) else { return 0 };
        read_fully(&self.core, &mut buf[..want], offset)
    }

    /// Whether a truncated core should have held the byte at `at`. What is lost must not be made up from a file, which has
    /// only what writable memory started with.
    fn is_lost(&self, at: Va) -> bool {
        let index = self.segments.partition_point(|segment| segment.range.start <= at);
        let segment = index.checked_sub(1).map(|index| self.segments[index]);
        segment.is_some_and(|segment| at - segment.range.start < segment.file_len.min(segment.range.len()))
    }

    /// Mappings of files, or parts of them, that have no segment: gdb leaves out what it can have from the file. As
    /// segments that hold nothing, with the access the file's program headers ask for, or read-only where unknown.
    pub(super) fn mappings_without_segment(&mut self) -> Vec<Segment> {
        let mut missing = Vec::new();
        for mapped in self.files.clone() {
            let mut start = mapped.range.start;
            let covering: Vec<VaRange> = self.segments.iter().map(|segment| segment.range).collect();
            for covered in covering.into_iter().filter(|covered| covered.overlaps(mapped.range)) {
                missing.extend((start < covered.start).then_some(VaRange { start, end: covered.start }));
                start = start.max(covered.end);
            }
            missing.extend((start < mapped.range.end).then_some(VaRange { start, end: mapped.range.end }));
        }
        missing.into_iter().map(|range| self.without_contents(range)).collect()
    }

    fn without_contents(&mut self, range: VaRange) -> Segment {
        let mapped = self.files.iter().find(|file| file.range.contains(range.start)).cloned();
        let flags = mapped.and_then(|mapped| {
            let first = self.files.iter().find(|file| file.path == mapped.path && file.file_offset == 0)?;
            let from_first = range.start.0.checked_sub(first.range.start.0)?;
            access_by_headers(self.proven_file(&mapped.path)?, from_first)
        });
        Segment { range, file_offset: 0, file_len: 0, flags: flags.unwrap_or(elf::PF_R.0) }
    }

    /// Reads what was not dumped from the file that was mapped there. Never written private pages only: the core holds
    /// those that were.
    fn read_mapped(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let index = self.files.partition_point(|file| file.range.start <= at);
        let Some(mapped) = index.checked_sub(1).map(|index| self.files[index].clone()) else { return 0 };
        if !mapped.range.contains(at) || self.is_lost(at) {
            return 0;
        }
        let skip = at - mapped.range.start;
        let mut want = (mapped.range.end - at).min(buf.len() as u64) as usize;
        // What the core holds further on is newer than the file.
        let next = self.segments.partition_point(|segment| segment.range.start <= at);
        if let Some(next) = self.segments.get(next) {
            want = want.min(usize::try_from(next.range.start - at).unwrap_or(usize::MAX));
        }
        let Some(offset) = mapped.file_offset.checked_add(skip) else { return 0 };
        match self.proven_file(&mapped.path) {
            Some(file) => read_fully(file, &mut buf[..want], offset),
            None => 0,
        }
    }

    fn proven_file(&mut self, path: &str) -> Option<&File> {
        if !self.opened.contains_key(path) {
            let opened = match self.prove(path) {
                Ok(file) => Some(file),
                Err(problem) => {
                    self.problems.push(format!("{path} is not used for memory that was not dumped: {problem}"));
                    None
                }
            };
            self.opened.insert(path.into(), opened);
        }
        self.opened.get(path)?.as_ref()
    }

    fn prove(&self, path: &str) -> Result<File, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let first = self.files.iter().find(|mapped| mapped.path == path && mapped.file_offset == 0);
        let start = first.ok_or("its first page was not mapped")?.range.start;
        let id = |memory: &mut dyn MemoryReader| -> Option<BuildId> { read_image(start, memory)?.build_id };
        let in_core = id(&mut CoreOnly(self)).ok_or("the core holds no build-id for it")?;
        let in_file = id(&mut FileImage { file: &file, start }).ok_or("the file has no build-id")?;
        match in_core == in_file {
            true => Ok(file),
            false => Err(format!("build-id {in_file} in the file, {in_core} in the core")),
        }
    }
}

impl MemoryReader for CoreMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let Some(here) = at.checked_add(done as u64) else { break };
            let count = match self.read_core(here, &mut buf[done..]) {
                0 => self.read_mapped(here, &mut buf[done..]),
                count => count,
            };
            if count == 0 {
                break;
            }
            done += count;
        }
        done
    }
}

/// The core's own bytes only.
struct CoreOnly<'a>(&'a CoreMemory);

impl MemoryReader for CoreOnly<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        self.0.read_core(at, buf)
    }
}

/// A file as if its first segment were mapped whole, which is enough for headers and notes.
struct FileImage<'a> {
    file: &'a File,
    start: Va,
}

impl MemoryReader for FileImage<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        match at.0.checked_sub(self.start.0) {
            Some(offset) => read_fully(self.file, buf, offset),
            None => 0,
        }
    }
}

/// Access flags (`PF_*`) of the loaded segment that is this far from the start of the image.
fn access_by_headers(file: &File, from_first: u64) -> Option<u32> {
    const PAGE: u64 = 4096;
    let cache = ReadCache::new(file.try_clone().ok()?);
    let header = elf::FileHeader64::<LittleEndian>::parse(&cache).ok()?;
    let headers = header.program_headers(LittleEndian, &cache).ok()?;
    let mut loads = headers.iter().filter(|header| header.p_type(LittleEndian) == elf::PT_LOAD);
    // Segments share pages of the file but not of memory, so it is the address that tells.
    let pages = |header: &elf::ProgramHeader64<LittleEndian>| {
        let range = VaRange::from_len(Va(header.p_vaddr(LittleEndian)), header.p_memsz(LittleEndian));
        VaRange { start: range.start.align_down(PAGE), end: range.end.align_up(PAGE) }
    };
    let image = loads.clone().map(|header| pages(header).start).min()?;
    let at = image.checked_add(from_first)?;
    Some(loads.find(|header| pages(header).contains(at))?.p_flags(LittleEndian).0)
}

fn read_fully(file: &File, buf: &mut [u8], offset: u64) -> usize {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset.saturating_add(done as u64)) {
            Ok(0) | Err(_) => break,
            Ok(count) => done += count,
        }
    }
    done
}
