//! Stops of real programs as gdb saw them: builds a program, records it (`programs/record.py`), reads the record.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use object::{Object, ObjectSegment, ObjectSymbol};
use outpost_base::{Arch, ImageOffset, LoadBias, MemoryReader, RegisterContext, RegisterValue, Va, VaRange};
use outpost_testkit::{Build, Compiler, skip};
use outpost_unwind::{CfiSections, ModuleCfi, ModuleList, Stack, UnwindModule, UnwindModules};

/// The callee-saved registers and the stack pointer, in the order of the record.
pub(crate) const SAVED: [&str; 7] = ["rbx", "rbp", "rsp", "r12", "r13", "r14", "r15"];

/// A frame as gdb sees it; `None` is what gdb does not know.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) pc: u64,
    pub(crate) cfa: Option<u64>,
    pub(crate) is_signal_frame: bool,
    pub(crate) saved: [Option<u64>; 7],
    pub(crate) name: String,
}

/// One thread of a stopped program.
pub(crate) struct Stop {
    pub(crate) context: RegisterContext,
    pub(crate) frames: Vec<Expected>,
    pub(crate) memory: Pieces,
}

pub(crate) struct Record {
    pub(crate) stops: Vec<Stop>,
    /// Stops of which gdb itself knew nothing.
    pub(crate) unknown_stops: usize,
    files: Vec<Mapped>,
    vdso: Pieces,
}

/// A mapped ELF file.
struct Mapped {
    path: String,
    range: VaRange,
    executable: Vec<VaRange>,
    bias: LoadBias,
    bytes: Arc<Vec<u8>>,
}

/// Memory in pieces.
#[derive(Default, Clone)]
pub(crate) struct Pieces(BTreeMap<u64, Arc<Vec<u8>>>);

impl MemoryReader for Pieces {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let here = at.0.wrapping_add(done as u64);
            let Some((start, bytes)) = self.0.range(..=here).next_back() else { break };
            let rest = bytes.get((here - start) as usize..).unwrap_or_default();
            let count = rest.len().min(buf.len() - done);
            if count == 0 {
                break;
            }
            buf[done..done + count].copy_from_slice(&rest[..count]);
            done += count;
        }
        done
    }
}

/// What differs from gdb's frames, as far as `frames` go. Registers that gdb does not know are not compared.
pub(crate) fn differences(stack: &Stack, frames: &[Expected]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, expected) in frames.iter().enumerate() {
        let Some(frame) = stack.frames.get(at) else {
            wrong.push(format!("frame {at} ({}) is missing: {:?}", expected.name, stack.end));
            break;
        };
        let mut check = |what: &str, ours: Option<u64>, gdb: Option<u64>| {
            if gdb.is_some() && ours != gdb {
                wrong.push(format!("frame {at} ({}) {what}: {ours:x?}, expected {gdb:x?}", expected.name));
            }
        };
        check("pc", Some(frame.registers.pc().0), Some(expected.pc));
        check("cfa", frame.cfa.map(|cfa| cfa.0), expected.cfa);
        for (name, value) in SAVED.iter().zip(expected.saved) {
            check(name, frame.registers.get_u64(Arch::X86_64.register_by_name(name).expect("a register")), value);
        }
        if frame.is_signal_frame != expected.is_signal_frame {
            wrong.push(format!("frame {at} ({}) is a signal frame for one of the two", expected.name));
        }
    }
    wrong
}

/// Whether all these programs can be had. A test that needs them does nothing where they are not.
pub(crate) fn have(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
        if !found {
            skip(&format!("{program} is not installed"));
        }
        found
    })
}

/// Compiles `programs/<source>` with a compiler and its options.
pub(crate) fn build(source: &str, compiler: Compiler, options: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(source);
    let text = fs::read_to_string(path).expect("a source");
    Build::source(compiler, "debuggee", &text).flags(options).path()
}

/// Runs the program in gdb after this plan and reads what it recorded.
pub(crate) fn record(program: &Path, plan: &str) -> Record {
    let directory = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/record.py");
    let output = directory.path().join("record");
    let settings = format!("python output = {:?}; plan = {plan}", output.display().to_string());
    let done = Command::new("timeout")
        .args(["-k", "5", "180", "gdb", "-nx", "-batch", "-ex", &settings, "-x"])
        .arg(script)
        .arg(program)
        .env("LANG", "C")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("gdb");
    let messages = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !messages.contains("Traceback"), "gdb failed: {messages}");
    read(&fs::read_to_string(output).expect("a record"))
}

fn read(text: &str) -> Record {
    let mut record = Record { stops: Vec::new(), unknown_stops: 0, files: Vec::new(), vdso: Pieces::default() };
    let mut stop: Option<Stop> = None;
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        match (fields[0], &mut stop) {
            ("map", _) => record.add_map(&fields[1..]),
            ("stop", _) => {
                let context = RegisterContext::new(Arch::X86_64);
                stop = Some(Stop { context, frames: Vec::new(), memory: Pieces::default() });
            }
            ("register", Some(stop)) => {
                let name = if fields[1] == "eflags" { "rflags" } else { fields[1] };
                let id = Arch::X86_64.register_by_name(name).expect("a register's name");
                stop.context.set(id, RegisterValue::from_u64(number(fields[2]), 64));
            }
            ("memory", stop) => {
                let pieces = stop.as_mut().map_or(&mut record.vdso, |stop| &mut stop.memory);
                pieces.0.insert(number(fields[1]), Arc::new(bytes(fields[2])));
            }
            ("frame", Some(stop)) => stop.frames.push(Expected {
                pc: number(fields[1]),
                cfa: known(fields[2]),
                is_signal_frame: fields[3] == "signal",
                saved: std::array::from_fn(|index| known(fields[4 + index])),
                name: fields[11].to_owned(),
            }),
            ("end", Some(done)) => {
                // Behind the loader's entry, of which nothing tells that it is the outermost, gdb takes the number of
                // arguments for a return address, and so on.
                let named = done.frames.iter().rposition(|frame| frame.name != "-").map_or(1, |last| last + 1);
                if named < done.frames.len() {
                    done.frames.truncate(named);
                    done.frames[named - 1].cfa = None;
                }
                record.stops.extend(stop.take());
            }
            ("unknown", _) => record.unknown_stops += 1,
            (what, _) => panic!("record has {what:?}"),
        }
    }
    record
}

impl Record {
    fn add_map(&mut self, fields: &[&str]) {
        let [start, end, offset, permissions, path] = fields else { panic!("record has map {fields:?}") };
        let range = VaRange { start: Va(number(start)), end: Va(number(end)) };
        let executable = permissions.contains('x').then_some(range);
        if let Some(mapped) = self.files.iter_mut().find(|mapped| mapped.path == *path) {
            mapped.range.end = range.end;
            mapped.executable.extend(executable);
            return;
        }
        let contents = if *path == "[vdso]" {
            // Its bytes follow in the record; the place is filled when modules are made.
            Vec::new()
        } else {
            match fs::read(path) {
                Ok(contents) => contents,
                Err(_) => return,
            }
        };
        let bias = bias(&contents, range.start, number(offset));
        let bytes = Arc::new(contents);
        self.files.push(Mapped {
            path: (*path).to_owned(),
            range,
            executable: executable.into_iter().collect(),
            bias: bias.unwrap_or(LoadBias(range.start.0)),
            bytes,
        });
    }

    /// The program's modules. Of those whose path contains `without`, call frame information is withheld.
    pub(crate) fn modules(&self, without: Option<&str>, symbols: Symbols) -> Modules {
        let mut list = Vec::new();
        let mut functions = Vec::new();
        let mut executable = Vec::new();
        for mapped in &self.files {
            executable.extend(&mapped.executable);
            let bytes = self.contents(mapped);
            let is_withheld = without.is_some_and(|part| mapped.path.contains(part));
            let sections = CfiSections::from_elf(bytes.clone()).filter(|_| !is_withheld).unwrap_or_default();
            list.push(UnwindModule { range: mapped.range, bias: mapped.bias, cfi: Arc::new(ModuleCfi::new(sections)) });
            if let (Symbols::Known, Ok(elf)) = (symbols, object::File::parse(bytes.as_slice())) {
                let code = elf
                    .symbols()
                    .chain(elf.dynamic_symbols())
                    .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.size() > 0);
                functions.extend(
                    code.map(|symbol| {
                        VaRange::from_len(ImageOffset(symbol.address()).to_va(mapped.bias), symbol.size())
                    }),
                );
            }
        }
        functions.sort_by_key(|function| function.start);
        Modules { list: ModuleList::new(list), functions, executable }
    }

    /// What is mapped from files, under the memory of one stop.
    pub(crate) fn memory(&self, stop: &Stop) -> Overlay {
        let files = self.files.iter().flat_map(|mapped| segments(&self.contents(mapped), mapped.bias)).collect();
        Overlay { stop: stop.memory.clone(), files: Pieces(files) }
    }

    fn contents(&self, mapped: &Mapped) -> Arc<Vec<u8>> {
        if mapped.path != "[vdso]" {
            return mapped.bytes.clone();
        }
        self.vdso.0.get(&mapped.range.start.0).cloned().unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Symbols {
    Known,
    Stripped,
}

pub(crate) struct Modules {
    list: ModuleList,
    functions: Vec<VaRange>,
    executable: Vec<VaRange>,
}

impl UnwindModules for Modules {
    fn module_at(&mut self, address: Va) -> Option<UnwindModule> {
        self.list.module_at(address)
    }

    fn is_executable(&mut self, address: Va) -> bool {
        self.executable.iter().any(|range| range.contains(address))
    }

    fn function_at(&mut self, address: Va) -> Option<VaRange> {
        let after = self.functions.partition_point(|function| function.start <= address);
        self.functions[..after].iter().rev().take(4).find(|function| function.contains(address)).copied()
    }
}

#[derive(Clone)]
pub(crate) struct Overlay {
    stop: Pieces,
    files: Pieces,
}

impl MemoryReader for Overlay {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        match self.stop.read(at, buf) {
            0 => self.files.read(at, buf),
            count => count,
        }
    }
}

fn bias(file: &[u8], start: Va, offset: u64) -> Option<LoadBias> {
    let elf = object::File::parse(file).ok()?;
    let segment = elf.segments().find(|segment| segment.file_range().0 & !0xfff == offset)?;
    Some(LoadBias::between(start, ImageOffset(segment.address() & !0xfff)))
}

fn segments(file: &[u8], bias: LoadBias) -> Vec<(u64, Arc<Vec<u8>>)> {
    let Ok(elf) = object::File::parse(file) else { return Vec::new() };
    elf.segments()
        .filter_map(|segment| {
            let at = ImageOffset(segment.address()).to_va(bias);
            Some((at.0, Arc::new(segment.data().ok()?.to_vec())))
        })
        .collect()
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("record has number {text:?}"))
}

fn known(text: &str) -> Option<u64> {
    (text != "-").then(|| number(text))
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| number(std::str::from_utf8(pair).unwrap_or("")) as u8).collect()
}
