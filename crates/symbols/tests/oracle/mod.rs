//! What gdb says of a program's frames, and a frame made of it for our own evaluation.

pub(crate) mod compare;
pub(crate) mod explained;
pub(crate) mod facts;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use object::{Object, ObjectSegment};
use outpost_base::{LoadBias, MemoryReader, RegisterValue, Va};
use outpost_symbols::{
    CallerFrame, DebugInfo, DwarfTypes, ElfFile, FileSource, FrameContext, LocalFiles, Module, ModuleFiles, SymbolPath,
    TypeTable, Variables, find_debug_files,
};
use outpost_testkit::Build;

use facts::VariableFacts;

/// A program, its debug info, and where gdb stopped it.
pub(crate) struct Program {
    pub(crate) module: Module,
    pub(crate) variables: Arc<Variables>,
    pub(crate) stops: Vec<Stop>,
    tls: TlsSegment,
}

impl Program {
    /// The program, its types and functions found through the module's index.
    pub(crate) fn new(build: Build) -> Program {
        Program::of_file(build.path(), &[])
    }

    /// As [`Program::new`], of any program; `settings` go to the script's environment.
    pub(crate) fn of_file(path: PathBuf, settings: &[(&str, &str)]) -> Program {
        let image = ElfFile::parse(FileSource::open(&path).expect("opens")).expect("is ELF");
        let (found, _) = find_debug_files(&image, Some(&path), &SymbolPath::default(), &LocalFiles, None);
        let files = ModuleFiles { cache: None, ..found.module_files(Arc::new(image)) };
        let module = Module::new(files);
        let variables = module.variables().expect("has DWARF").clone();
        assert!(module.problems().is_empty(), "{:?}", module.problems());
        Program { module, variables, stops: ask_gdb(&path, settings), tls: tls_segment(&path) }
    }

    /// The same, found by reading units.
    pub(crate) fn without_index(self, build: &Build) -> Program {
        let image = ElfFile::parse(FileSource::open(build.path()).expect("opens")).expect("is ELF");
        let info = DebugInfo::load(&image, None, &mut Vec::new()).expect("has DWARF").expect("has DWARF");
        let info = Arc::new(info);
        let types = TypeTable::new(Box::new(DwarfTypes::without_index(info.clone())));
        Program { variables: Arc::new(Variables::new(info, types)), ..self }
    }

    /// Frame `at` of a stop, for evaluation.
    pub(crate) fn frame<'a>(&self, stop: &'a Stop, at: usize) -> OracleFrame<'a> {
        OracleFrame::new(stop, at, &self.variables, self.tls)
    }
}

/// One stop of the program.
pub(crate) struct Stop {
    pub(crate) memory: Memory,
    pub(crate) bias: LoadBias,
    thread_pointer: Va,
    pub(crate) globals: Vec<VariableFacts>,
    /// Innermost first.
    pub(crate) frames: Vec<FrameFacts>,
}

/// One frame as gdb shows it.
#[derive(Default)]
pub(crate) struct FrameFacts {
    pub(crate) pc: u64,
    pub(crate) cfa: u64,
    pub(crate) inlined: bool,
    pub(crate) function: String,
    pub(crate) registers: HashMap<u16, Vec<u8>>,
    pub(crate) variables: Vec<VariableFacts>,
    /// Where functions went on that ended by tail calls before this one was entered, innermost first.
    pub(crate) tail_calls: Vec<u64>,
}

/// Runs `program` under gdb, stopping at each call of `stop`.
fn ask_gdb(program: &Path, settings: &[(&str, &str)]) -> Vec<Stop> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/facts.py");
    let program = program.canonicalize().expect("program exists");
    let output = Command::new("timeout")
        .args(["60", "gdb", "-nx", "-batch", "-x"])
        .arg(&script)
        .arg(&program)
        .env("ORACLE_DIRECTORY", directory.path())
        .env("ORACLE_SCRIPTS", script.parent().expect("a folder"))
        .env("ORACLE_PROGRAM", &program)
        .envs(settings.iter().copied())
        .output()
        .expect("gdb runs");
    let facts = std::fs::read_to_string(directory.path().join("facts")).expect("gdb wrote facts");
    assert!(facts.ends_with("END\n"), "gdb: {}", String::from_utf8_lossy(&output.stderr));
    let file = Memory::of_program(&program);
    parse(&facts, &file)
}

fn parse(facts: &str, program: &Memory) -> Vec<Stop> {
    let mut stops: Vec<Stop> = Vec::new();
    for line in facts.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
        if words[0] == "STOP" {
            // The first mapping is that of the lowest address that the program asks for.
            let lowest = program.segments.iter().map(|(at, _)| *at).min().unwrap_or(0);
            let bias = LoadBias(number(2) - lowest);
            let memory = Memory::of_core(Path::new(words[1])).with_program(program, bias);
            stops.push(Stop { memory, bias, thread_pointer: Va(number(3)), globals: Vec::new(), frames: Vec::new() });
            continue;
        }
        let Some(stop) = stops.last_mut() else { continue };
        if words[0] == "FRAME" {
            stop.frames.push(FrameFacts {
                pc: number(1),
                cfa: number(2),
                inlined: words[3] == "inline",
                function: words[4].to_owned(),
                ..FrameFacts::default()
            });
            continue;
        }
        if words[0] == "GLOBAL" {
            stop.globals.push(VariableFacts::new(words[1]));
            continue;
        }
        let mut frame = stop.frames.last_mut();
        match (words[0], &mut frame) {
            ("TAIL", Some(frame)) => {
                frame.tail_calls.push(number(1));
                continue;
            }
            ("REG", Some(frame)) => {
                let hex = words[2];
                let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
                frame.registers.insert(number(1) as u16, bytes.collect());
                continue;
            }
            ("VAR", Some(frame)) => {
                frame.variables.push(VariableFacts::new(words[1]));
                continue;
            }
            _ => {}
        }
        // Globals come before the first frame.
        let variable = match frame {
            Some(frame) => frame.variables.last_mut(),
            None => stop.globals.last_mut(),
        };
        let Some(variable) = variable else { continue };
        variable.take(&words);
    }
    stops
}

/// Memory of a stopped program: its core, and its file for what the core leaves out.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    segments: Arc<Vec<(u64, Vec<u8>)>>,
}

impl Memory {
    fn of_core(path: &Path) -> Memory {
        Memory::of_segments(path)
    }

    fn of_program(path: &Path) -> Memory {
        Memory::of_segments(path)
    }

    fn of_segments(path: &Path) -> Memory {
        let bytes = std::fs::read(path).expect("file is readable");
        let file = object::File::parse(&*bytes).expect("file is ELF");
        let segments = file.segments().map(|segment| (segment.address(), segment.data().expect("data").to_vec()));
        Memory { segments: Arc::new(segments.filter(|(_, bytes)| !bytes.is_empty()).collect()) }
    }

    fn with_program(&self, program: &Memory, bias: LoadBias) -> Memory {
        let moved = program.segments.iter().map(|(at, bytes)| (at.wrapping_add(bias.0), bytes.clone()));
        Memory { segments: Arc::new(self.segments.iter().cloned().chain(moved).collect()) }
    }
}

impl MemoryReader for Memory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let here = at.0.wrapping_add(done as u64);
            let Some((start, bytes)) =
                self.segments.iter().find(|(start, bytes)| (*start..*start + bytes.len() as u64).contains(&here))
            else {
                break;
            };
            let rest = &bytes[(here - start) as usize..];
            let count = rest.len().min(buf.len() - done);
            buf[done..done + count].copy_from_slice(&rest[..count]);
            done += count;
        }
        done
    }
}

/// A frame of gdb's as a context for our evaluation.
pub(crate) struct OracleFrame<'a> {
    stop: &'a Stop,
    /// Index of the frame that was not inlined.
    at: usize,
    memory: Memory,
    variables: Arc<Variables>,
    tls: TlsSegment,
    caller: Option<Box<OracleFrame<'a>>>,
}

/// Size and alignment of the program's thread-local segment.
#[derive(Clone, Copy, Default)]
struct TlsSegment {
    size: u64,
    alignment: u64,
}

impl<'a> OracleFrame<'a> {
    /// The frame that `at` is, or is inlined into.
    fn new(stop: &'a Stop, at: usize, variables: &Arc<Variables>, tls: TlsSegment) -> OracleFrame<'a> {
        let at = (at..stop.frames.len()).find(|at| !stop.frames[*at].inlined).expect("a real frame");
        OracleFrame { stop, at, memory: stop.memory.clone(), variables: variables.clone(), tls, caller: None }
    }

    fn facts(&self) -> &'a FrameFacts {
        &self.stop.frames[self.at]
    }
}

impl FrameContext for OracleFrame<'_> {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        &mut self.memory
    }

    fn load_bias(&self) -> LoadBias {
        self.stop.bias
    }

    fn pc(&self) -> Option<Va> {
        Some(Va(self.facts().pc))
    }

    fn lookup_address(&self) -> Option<Va> {
        // Only the innermost frame was interrupted; all others wait for a return.
        let is_return_address = self.stop.frames[..self.at].iter().any(|frame| !frame.inlined);
        Some(Va(self.facts().pc - u64::from(is_return_address)))
    }

    fn register(&mut self, dwarf: u16) -> Option<RegisterValue> {
        RegisterValue::from_bytes(self.facts().registers.get(&dwarf)?)
    }

    fn cfa(&mut self) -> Option<Va> {
        Some(Va(self.facts().cfa))
    }

    fn thread_local(&mut self, offset: u64) -> Option<Va> {
        // Variant II with the program's block right below the thread pointer (ELF TLS, 4.4.6).
        let block = self.tls.size.next_multiple_of(self.tls.alignment.max(1));
        Some(Va(self.stop.thread_pointer.0 - block + offset))
    }

    fn caller(&mut self) -> Option<CallerFrame<'_>> {
        let next = (self.at + 1..self.stop.frames.len()).find(|at| !self.stop.frames[*at].inlined)?;
        let caller = OracleFrame::new(self.stop, next, &self.variables, self.tls);
        let caller = self.caller.insert(Box::new(caller));
        Some(CallerFrame { frame: &mut **caller, variables: self.variables.clone() })
    }
}

/// The thread-local segment of a program.
fn tls_segment(program: &PathBuf) -> TlsSegment {
    use object::read::elf::ProgramHeader;
    let bytes = std::fs::read(program).expect("program is readable");
    let file = object::read::elf::ElfFile64::<object::Endianness>::parse(&*bytes).expect("program is ELF");
    let endian = file.endian();
    let found = file.elf_program_headers().iter().find(|header| header.p_type(endian) == object::elf::PT_TLS);
    found.map_or(TlsSegment::default(), |header| TlsSegment {
        size: header.p_memsz(endian),
        alignment: header.p_align(endian),
    })
}
