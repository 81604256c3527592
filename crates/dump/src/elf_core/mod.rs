//! x86-64 ELF cores.

mod memory;
mod notes;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, ReadCache, ReadRef};
use outpost_base::{AddressSpaceId, Arch, MemoryReader, ProcessId, RegisterContext, ThreadId, Va, VaRange};
use outpost_target::link_map::read_link_map;
use outpost_target::{
    ModuleInfo, ProcessInfo, ProcessOrigin, ReadRequest, Region, RegionUsage, RegisterSets, SigInfo, StopBundle,
    StopGeneration, StopReason, StopRecord, Target, TargetError, TargetInfo, TargetKind, ThreadInfo, ThreadRunState,
    ThreadTimes,
};

use crate::DumpError;
use memory::{CoreMemory, Segment};
use notes::Notes;

/// An x86-64 ELF core as a target: the kernel's, gdb's, or anything that writes the same notes.
///
/// Threads come in the file's order; the kernel puts the one that died first, and it owns the stored event. Memory that
/// was not dumped is supplied from mapped files whose build-id is proven to be the same. Source: core(5), elf(5).
#[derive(Debug)]
pub struct ElfCore {
    info: TargetInfo,
    process: ProcessInfo,
    notes: Notes,
    memory: CoreMemory,
    modules: Vec<ModuleInfo>,
    stop: StopBundle,
    problems: Vec<String>,
}

/// One read of one request; more is a sign of a hostile request, not of a person.
const MAX_READ: u64 = 1 << 30;

impl ElfCore {
    /// Opens a core.
    ///
    /// A truncated one opens with what is there, and [`ElfCore::problems`] gives the expected and the actual size.
    ///
    /// # Errors
    /// [`DumpError`] where not even the threads can be read.
    pub fn open(path: &Path) -> Result<ElfCore, DumpError> {
        let unreadable = |source| DumpError::Unreadable { path: path.into(), source };
        let file = File::open(path).map_err(unreadable)?;
        let actual = file.metadata().map_err(unreadable)?.len();
        check_kind(path, &file)?;
        let cache = ReadCache::new(file.try_clone().map_err(unreadable)?);
        let damaged = |what| DumpError::Damaged { path: path.into(), what };
        let header = FileHeader64::<LittleEndian>::parse(&cache).map_err(|_| damaged("its file header is cut off"))?;
        let endian = LittleEndian;
        let headers = header.program_headers(endian, &cache).map_err(|_| damaged("its program headers are cut off"))?;
        let (mut notes, mut segments, mut expected) = (Notes::default(), Vec::new(), 0_u64);
        for program_header in headers {
            let (offset, len) = program_header.file_range(endian);
            expected = expected.max(offset.saturating_add(len));
            match program_header.p_type(endian) {
                elf::PT_NOTE => {
                    let held = len.min(actual.saturating_sub(offset));
                    if let Ok(bytes) = (&cache).read_bytes_at(offset, held) {
                        notes::parse(bytes, &mut notes);
                    }
                }
                elf::PT_LOAD => segments.push(Segment {
                    range: VaRange::from_len(Va(program_header.p_vaddr(endian)), program_header.p_memsz(endian)),
                    file_offset: offset,
                    file_len: len,
                    flags: program_header.p_flags(endian).0,
                }),
                _ => {}
            }
        }
        if notes.threads.is_empty() {
            return Err(DumpError::NoThreads { path: path.into(), expected, actual });
        }
        let mut problems = std::mem::take(&mut notes.problems);
        if actual < expected {
            problems.push(format!("the core is truncated: {expected} bytes expected, {actual} are there"));
        }
        let memory = CoreMemory::new(file, segments, notes.files.clone());
        Ok(ElfCore::assemble(path, notes, memory, problems))
    }

    fn assemble(path: &Path, notes: Notes, mut memory: CoreMemory, problems: Vec<String>) -> ElfCore {
        // Without NT_PRPSINFO the first thread's id is the best there is.
        let id = if notes.process.0 != 0 { notes.process } else { ProcessId(notes.threads[0].id.0) };
        let executable = executable(&notes, &mut memory);
        let modules = modules(&notes, &executable, &mut memory);
        let stop = stored_event(id, &notes);
        let process = ProcessInfo {
            id,
            parent: notes.parent,
            space: AddressSpaceId(u64::from(id.0)),
            origin: ProcessOrigin::Dump,
            executable,
            arguments: notes.arguments.split(' ').map(String::from).collect(),
            auxv: notes.auxv.clone(),
            start_time_us: 0,
            user_time_us: 0,
            system_time_us: 0,
            steps_unsafe_because: String::new(),
        };
        let info = TargetInfo {
            kind: TargetKind::UserDump,
            arch: Arch::X86_64,
            page_size: auxv(&notes.auxv, AT_PAGESZ).unwrap_or(4096),
            name: path.display().to_string(),
            host: String::new(),
            os: String::new(),
            processors: 0,
        };
        ElfCore { info, process, notes, memory, modules, stop, problems }
    }

    /// What is damaged or missing, for the user; grows as memory is read.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().chain(&self.memory.problems).map(String::as_str)
    }

    fn check(&self, process: ProcessId) -> Result<(), TargetError> {
        match process == self.process.id {
            true => Ok(()),
            false => Err(TargetError::NoProcess { process }),
        }
    }
}

impl Target for ElfCore {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError> {
        Ok(vec![self.process.clone()])
    }

    fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError> {
        self.check(process)?;
        let fs_base = Arch::X86_64.register_by_name("fs_base");
        let thread = |thread: &notes::CoreThread| ThreadInfo {
            id: thread.id,
            process,
            // Cores hold the name of the process, not of each thread.
            name: if thread.id.0 == process.0 { self.notes.name.clone() } else { String::new() },
            state: ThreadRunState::Stopped,
            suspend_count: 0,
            teb: Va(fs_base.and_then(|id| thread.registers.get_u64(id)).unwrap_or(0)),
        };
        Ok(self.notes.threads.iter().map(thread).collect())
    }

    fn thread_times(&mut self, process: ProcessId) -> Result<Vec<ThreadTimes>, TargetError> {
        self.check(process)?;
        let times = self.notes.threads.iter().map(|thread| ThreadTimes {
            id: thread.id,
            start_time_us: 0,
            user_time_us: thread.times_us.0,
            system_time_us: thread.times_us.1,
        });
        Ok(times.collect())
    }

    fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError> {
        self.check(process)?;
        Ok(self.modules.clone())
    }

    fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError> {
        self.check(process)?;
        let stacks: Vec<Va> = self.notes.threads.iter().map(|thread| thread.registers.sp()).collect();
        let vdso = self.modules.iter().find(|module| module.path == "[vdso]").map(|module| module.range);
        let mut segments = self.memory.mappings_without_segment();
        segments.extend(self.memory.segments().iter().filter(|segment| !segment.range.is_empty()));
        segments.sort_by_key(|segment| segment.range.start);
        let files = self.memory.files();
        let region = |segment: &Segment| {
            let file = files.iter().find(|file| file.range.contains(segment.range.start));
            let usage = match file {
                _ if vdso.is_some_and(|vdso| vdso.overlaps(segment.range)) => RegionUsage::Vdso,
                // By address: the loader's path and the kernel's may differ by symbolic links.
                Some(_) if self.modules.iter().any(|module| module.range.overlaps(segment.range)) => RegionUsage::Image,
                Some(_) => RegionUsage::MappedFile,
                None if stacks.iter().any(|&sp| segment.range.contains(sp)) => RegionUsage::Stack,
                None => RegionUsage::Unknown,
            };
            Region {
                range: segment.range,
                read: segment.flags & elf::PF_R.0 != 0,
                write: segment.flags & elf::PF_W.0 != 0,
                execute: segment.flags & elf::PF_X.0 != 0,
                shared: false,
                file_offset: file.map_or(0, |file| file.file_offset + (segment.range.start - file.range.start)),
                device: 0,
                inode: 0,
                name: file.map_or_else(String::new, |file| file.path.clone()),
                usage,
            }
        };
        Ok(segments.iter().map(region).collect())
    }

    fn read_many(&mut self, space: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
        if space != self.process.space {
            return Err(TargetError::NoProcess { process: ProcessId(space.0 as u32) });
        }
        let mut read = |request: &ReadRequest| {
            let mut bytes = vec![0; request.len.min(MAX_READ) as usize];
            let count = self.memory.read(request.at, &mut bytes);
            bytes.truncate(count);
            bytes
        };
        Ok(reads.iter().map(&mut read).collect())
    }

    fn registers_many(
        &mut self,
        threads: &[ThreadId],
        _: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError> {
        let find = |thread: &ThreadId| {
            let known = self.notes.threads.iter().find(|known| known.id == *thread);
            known.map(|known| known.registers.clone()).ok_or(TargetError::NoThread { thread: *thread })
        };
        Ok(threads.iter().map(find).collect())
    }

    fn last_stop(&self) -> Option<&StopBundle> {
        Some(&self.stop)
    }
}

/// `AT_PAGESZ`, `AT_PHDR` and `AT_EXECFN` of getauxval(3).
const AT_PHDR: u64 = 3;
const AT_PAGESZ: u64 = 6;
const AT_EXECFN: u64 = 31;

/// Parses note bytes and drops the result: the body of a fuzz target.
#[doc(hidden)]
pub fn fuzz_notes(bytes: &[u8]) {
    notes::parse(bytes, &mut Notes::default());
}

fn check_kind(path: &Path, file: &File) -> Result<(), DumpError> {
    let mut start = [0; 20];
    let got = file.read_at(&mut start, 0).map_err(|source| DumpError::Unreadable { path: path.into(), source })?;
    if got < start.len() || start[..4] != elf::ELFMAG {
        return Err(DumpError::UnknownSignature { path: path.into(), signature: start[..got.min(8)].into() });
    }
    let (kind, machine) = (u16::from_le_bytes([start[16], start[17]]), u16::from_le_bytes([start[18], start[19]]));
    if start[4] != elf::ELFCLASS64.0 || start[5] != elf::ELFDATA2LSB.0 || machine != elf::EM_X86_64.0 {
        return Err(DumpError::WrongArchitecture { path: path.into(), machine });
    }
    match kind == elf::ET_CORE.0 {
        true => Ok(()),
        false => Err(DumpError::NotACore { path: path.into(), kind }),
    }
}

fn auxv(pairs: &[(u64, u64)], key: u64) -> Option<u64> {
    pairs.iter().find(|pair| pair.0 == key).map(|pair| pair.1)
}

/// The file mapped where the program's headers are; else the path it was started by.
fn executable(notes: &Notes, memory: &mut CoreMemory) -> String {
    let headers = auxv(&notes.auxv, AT_PHDR).map(Va);
    let mapped = headers.and_then(|headers| notes.files.iter().find(|file| file.range.contains(headers)));
    if let Some(mapped) = mapped {
        return mapped.path.clone();
    }
    let started_by = auxv(&notes.auxv, AT_EXECFN).and_then(|at| memory.read_cstring(Va(at), 4096));
    started_by.map_or_else(|| notes.name.clone(), |path| String::from_utf8_lossy(&path).into_owned())
}

/// The loader's list; where the core lost it, every ELF image among the mapped files.
fn modules(notes: &Notes, executable: &str, memory: &mut CoreMemory) -> Vec<ModuleInfo> {
    let found = read_link_map(&notes.auxv, executable, memory).modules;
    if found.len() > 1 {
        return found;
    }
    let mut modules = found;
    for file in notes.files.iter().filter(|file| file.file_offset == 0) {
        if modules.iter().any(|module| module.range.contains(file.range.start)) {
            continue;
        }
        let Some(image) = outpost_target::link_map::read_image(file.range.start, memory) else { continue };
        modules.push(ModuleInfo {
            range: image.range,
            bias: image.bias,
            path: file.path.clone(),
            build_id: image.build_id,
            namespace: 0,
            is_main: file.path == executable,
        });
    }
    modules
}

/// The signal the process died of, or was stopped with when the core was taken.
fn stored_event(process: ProcessId, notes: &Notes) -> StopBundle {
    let signalled = notes.threads.iter().find(|thread| thread.signal != 0);
    let thread = signalled.unwrap_or(&notes.threads[0]);
    let bare = || SigInfo {
        signo: i32::from(thread.signal),
        code: 0,
        errno: 0,
        address: Va(0),
        sender: ProcessId(0),
        raw: Vec::new(),
        fatal_by_default: true,
    };
    let reason = match thread.signal {
        0 => StopReason::DumpOpened,
        _ => StopReason::Signal(thread.siginfo.clone().filter(|info| info.signo != 0).unwrap_or_else(bare)),
    };
    let mut stop = StopBundle::bare(StopGeneration(1), StopRecord { process, thread: thread.id, reason });
    stop.registers.push((thread.id, thread.registers.clone()));
    stop
}
