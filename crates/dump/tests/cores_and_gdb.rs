//! Cores of real programs, the kernel's and gdb's, against what gdb says of them.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, elf, elf::FileHeader64};
use outpost_base::Va;
use outpost_dump::{DumpError, ElfCore};
use outpost_target::{ReadRequest, RegionUsage, RegisterSets, StopReason, Target};
use outpost_testkit::{Build, Compiler, Running, skip};

const PROGRAM: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char greeting[] = "a string in writable data";
static const char constant[] = "a string in text that no core holds";
static pthread_barrier_t ready;
static void *wait_here(void *argument) {
    pthread_barrier_wait(&ready);
    for (;;) pause();
    return argument;
}
int main(int argc, char **argv) {
    pthread_t threads[3];
    pthread_barrier_init(&ready, 0, 4);
    for (int at = 0; at < 3; ++at) pthread_create(&threads[at], 0, wait_here, 0);
    pthread_barrier_wait(&ready);
    printf("%p %p\n", (void *)greeting, (void *)constant);
    fflush(stdout);
    if (argc > 1 && !strcmp(argv[1], "crash")) { sleep(1); *(volatile int *)0x1234 = 5; }
    for (;;) pause();
}
"#;

struct Sample {
    _folder: tempfile::TempDir,
    core: PathBuf,
    program: PathBuf,
    writable: Va,
    constant: Va,
}

fn program() -> PathBuf {
    Build::source(Compiler::Gcc, "cores", PROGRAM).flags("-g -O1").path()
}

fn addresses(line: &str) -> (Va, Va) {
    let mut words = line.split(' ').map(|word| Va(u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap()));
    (words.next().unwrap(), words.next().unwrap())
}

/// A core that gdb wrote of the running program.
fn gcore() -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core");
    let mut running = Running::start(program(), &[]);
    let (writable, constant) = addresses(&running.line());
    let output = Command::new("gdb")
        .args([
            "-nx",
            "-batch",
            "-p",
            &running.pid().to_string(),
            "-ex",
            &format!("generate-core-file {}", core.display()),
        ])
        .output()
        .unwrap();
    assert!(core.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    Sample { _folder: folder, core, program: program(), writable, constant }
}

/// A core that the kernel wrote, where its pattern is a plain file name.
fn kernel_core() -> Option<Sample> {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with('|') || pattern.contains('/') {
        skip("the kernel hands cores to a program here");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("ulimit -c unlimited; cd '{}'; exec '{}' crash", folder.path().display(), program().display());
    let mut running = Running::command(Command::new("bash").args(["-c", &script]));
    let (writable, constant) = addresses(&running.line());
    running.wait(Duration::from_secs(20));
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let Some(core) = files.next() else {
        skip("the kernel wrote no core");
        return None;
    };
    Some(Sample { core, _folder: folder, program: program(), writable, constant })
}

fn gdb(sample: &Sample, commands: &[&str]) -> String {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-ex", "set debuginfod enabled off"]);
    for line in commands {
        command.args(["-ex", line]);
    }
    let output = command.arg(&sample.program).arg(&sample.core).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn check(sample: &Sample) {
    let mut core = ElfCore::open(&sample.core).unwrap();
    assert_eq!(core.problems().collect::<Vec<_>>(), [""; 0]);
    let process = core.processes().unwrap().remove(0);
    assert_eq!(Path::new(&process.executable), sample.program.canonicalize().unwrap());

    let threads: Vec<_> = core.threads(process.id).unwrap().iter().map(|thread| thread.id).collect();
    assert_eq!(threads.len(), 4);
    let listed = gdb(sample, &["info threads"]);
    assert!(threads.iter().all(|id| listed.contains(&format!("LWP {id}"))), "{listed}");
    let registers = core.registers_many(&threads, RegisterSets { floating: true, debug: false }).unwrap();
    let all = gdb(sample, &["thread apply all -q printf \"REGS %lx %lx %lx %lx\\n\", $pc, $sp, $rbx, $fs_base"]);
    for context in registers {
        let context = context.unwrap();
        let value = |name| context.get_u64(context.arch.register_by_name(name).unwrap()).unwrap();
        let line = format!("REGS {:x} {:x} {:x} {:x}\n", value("rip"), value("rsp"), value("rbx"), value("fs_base"));
        assert!(all.contains(&line), "{line} in {all}");
        assert!(context.get(context.arch.register_by_name("xmm0").unwrap()).is_some());
    }

    let modules = core.modules(process.id).unwrap();
    assert!(modules[0].is_main && modules[0].build_id.is_some(), "{:?}", modules[0]);
    let shared = gdb(sample, &["info sharedlibrary"]);
    for line in shared.lines().filter(|line| line.starts_with("0x")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let path = words.last().unwrap();
        let module =
            modules.iter().find(|module| module.path == *path).unwrap_or_else(|| panic!("{path}: {modules:?}"));
        let text = Va(u64::from_str_radix(words[0].trim_start_matches("0x"), 16).unwrap());
        assert!(module.range.contains(text), "{line} {module:?}");
    }
    assert!(modules.iter().any(|module| module.path == "[vdso]"), "{modules:?}");

    let reads = [sample.writable, sample.constant, Va(0x10)].map(|at| ReadRequest { at, len: 8 });
    let answers = core.read_many(process.space, &reads).unwrap();
    assert_eq!(answers, [&b"a string"[..], b"a string", b""]);
    let regions = core.regions(process.id).unwrap();
    assert!(regions.is_sorted_by_key(|region| region.range.start));
    assert!(regions.iter().any(|region| region.range.contains(sample.writable) && region.write));
    // gdb writes no segment for text that it can have from the file; the mapping is there all the same.
    for context in core.registers_many(&threads, RegisterSets::default()).unwrap() {
        let pc = context.unwrap().pc();
        let region = regions.iter().find(|region| region.range.contains(pc)).unwrap();
        assert!(region.execute && !region.write && region.usage == RegionUsage::Image, "{pc}: {region:?}");
    }
    let constant = regions.iter().find(|region| region.range.contains(sample.constant)).unwrap();
    assert!(constant.read && !constant.write && Path::new(&constant.name) == sample.program.canonicalize().unwrap());
    assert!(regions.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start), "{regions:?}");
}

#[test]
fn a_core_of_gdb() {
    let sample = gcore();
    check(&sample);
    let core = ElfCore::open(&sample.core).unwrap();
    assert!(!matches!(core.last_stop().unwrap().stop.reason, StopReason::Exited { .. }));
}

#[test]
fn a_core_of_the_kernel() {
    let Some(sample) = kernel_core() else { return };
    check(&sample);
    let core = ElfCore::open(&sample.core).unwrap();
    let stop = core.last_stop().unwrap();
    let StopReason::Signal(signal) = &stop.stop.reason else { panic!("{stop:?}") };
    assert_eq!((signal.signo, signal.code, signal.address), (11, 1, Va(0x1234)));
}

#[test]
fn a_truncated_core_opens_and_says_so() {
    let Some(sample) = kernel_core() else { return };
    let bytes = std::fs::read(&sample.core).unwrap();
    let cut = sample.core.with_extension("cut");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let core = ElfCore::open(&cut).unwrap();
    let expected = format!("truncated: {} bytes expected, {} are there", bytes.len(), bytes.len() / 2);
    let problems: Vec<_> = core.problems().collect();
    assert!(problems.iter().any(|problem| problem.contains(&expected)), "{problems:?}");
    // However short, it never does worse than an error.
    for len in (0..bytes.len().min(20_000)).step_by(97) {
        std::fs::write(&cut, &bytes[..len]).unwrap();
        drop(ElfCore::open(&cut));
    }
}

#[test]
fn what_a_truncated_core_lost_is_not_made_up() {
    let Some(sample) = kernel_core() else { return };
    let bytes = std::fs::read(&sample.core).unwrap();
    let header = FileHeader64::<LittleEndian>::parse(bytes.as_slice()).unwrap();
    let segments = header.program_headers(LittleEndian, bytes.as_slice()).unwrap();
    let holds = |at: Va| {
        let found = segments.iter().find(|segment| {
            let start = segment.p_vaddr(LittleEndian);
            (start..start + segment.p_memsz(LittleEndian)).contains(&at.0)
        });
        found.unwrap().p_offset(LittleEndian) as usize
    };
    let cut = sample.core.with_extension("cut");
    std::fs::write(&cut, &bytes[..holds(sample.writable)]).unwrap();
    let mut core = ElfCore::open(&cut).unwrap();
    let process = core.processes().unwrap().remove(0);
    let reads = [sample.writable, sample.constant].map(|at| ReadRequest { at, len: 8 });
    let answers = core.read_many(process.space, &reads).unwrap();
    // The variable has in its file what it started with, which says nothing of what it was; text is not written to.
    assert_eq!(answers, [&b""[..], b"a string"]);
}

/// A fixed sequence (xorshift64), so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn damaged_headers_and_notes_do_no_harm() {
    let Some(sample) = kernel_core() else { return };
    let bytes = std::fs::read(&sample.core).unwrap();
    let header = FileHeader64::<LittleEndian>::parse(bytes.as_slice()).unwrap();
    let segments = header.program_headers(LittleEndian, bytes.as_slice()).unwrap();
    let notes = segments.iter().find(|segment| segment.p_type(LittleEndian) == elf::PT_NOTE).unwrap();
    let (start, len) = notes.file_range(LittleEndian);
    let notes = &bytes[start as usize..(start + len) as usize];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    outpost_dump::fuzz_notes(notes);
    for _ in 0..2000 {
        let mut changed = notes.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(changed.len());
            changed[at] = random.below(256) as u8;
        }
        changed.truncate(random.below(changed.len()) + 1);
        outpost_dump::fuzz_notes(&changed);
    }
    // Every field of the headers, and of the first notes; what then opens is read all over.
    let path = sample.core.with_extension("changed");
    for _ in 0..150 {
        let mut changed = bytes.clone();
        for _ in 0..=random.below(3) {
            let at = random.below((start as usize + 2000).min(bytes.len()));
            changed[at] = [0, 0xff, random.below(256) as u8][random.below(3)];
        }
        std::fs::write(&path, &changed).unwrap();
        let Ok(mut core) = ElfCore::open(&path) else { continue };
        let process = core.processes().unwrap().remove(0);
        let regions = core.regions(process.id).unwrap();
        let reads: Vec<_> = regions.iter().map(|region| ReadRequest { at: region.range.start, len: 64 }).collect();
        core.read_many(process.space, &reads).unwrap();
        core.modules(process.id).unwrap();
    }
}

#[test]
fn a_core_cut_before_its_notes_is_refused_with_both_sizes() {
    // gdb writes the notes last.
    let sample = gcore();
    let bytes = std::fs::read(&sample.core).unwrap();
    std::fs::write(&sample.core, &bytes[..bytes.len() / 2]).unwrap();
    let error = ElfCore::open(&sample.core).unwrap_err();
    assert!(matches!(error, DumpError::NoThreads { expected, actual, .. } if expected > actual), "{error}");
}

#[test]
fn what_is_no_core_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "this is not a core, whatever it is").unwrap();
    assert!(matches!(ElfCore::open(&text), Err(DumpError::UnknownSignature { .. })));
    assert!(matches!(ElfCore::open(&program()), Err(DumpError::NotACore { kind: 3, .. })));
    assert!(matches!(ElfCore::open(&folder.path().join("absent")), Err(DumpError::Unreadable { .. })));
    let mut other = std::fs::read(program()).unwrap();
    (other[16], other[18]) = (4, 183);
    std::fs::write(&text, other).unwrap();
    assert!(matches!(ElfCore::open(&text), Err(DumpError::WrongArchitecture { machine: 183, .. })));
}
