//! Stacks of all threads in cores of crashed programs, against gdb's of the same core.
//!
//! Call frame information comes from the core's memory alone: what was not dumped is supplied from proven files.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use outpost_base::{AddressSpaceId, MemoryReader, Va, VaRange};
use outpost_dump::ElfCore;
use outpost_target::{ReadRequest, RegisterSets, StopReason, Target};
use outpost_testkit::{Build, Compiler, Running, skip};
use outpost_unwind::{
    CfiSections, FrameTrust, ModuleCfi, ModuleList, Stack, StackEnd, UnwindModule, UnwindModules, unwind_stack,
};

const PROGRAM: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <stdexcept>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static pthread_barrier_t ready;
volatile long sink;
static void *wait_here(void *argument) {
    pthread_barrier_wait(&ready);
    for (;;) pause();
    return argument;
}
__attribute__((noinline)) static long recurse(long depth) {
    char room[100];
    memset(room, (int)depth, sizeof room);
    return recurse(depth + 1) + room[depth % 100];
}
static void on_signal(int number) { if (number) abort(); }
int main(int argc, char **argv) {
    pthread_t threads[2];
    pthread_barrier_init(&ready, 0, 3);
    for (int at = 0; at < 2; ++at) pthread_create(&threads[at], 0, wait_here, 0);
    pthread_barrier_wait(&ready);
    puts("ready");
    fflush(stdout);
    usleep(200000);
    if (argc < 2) return 1;
    if (!strcmp(argv[1], "null")) { void (*volatile nothing)(int) = 0; nothing(1); }
    if (!strcmp(argv[1], "throw")) throw std::runtime_error("uncaught");
    if (!strcmp(argv[1], "handler")) { signal(SIGSEGV, on_signal); sink = *(volatile long *)16; }
    if (!strcmp(argv[1], "overflow")) sink = recurse(1);
    if (!strcmp(argv[1], "free")) { volatile char *bad = argv[0]; free((char *)bad + 8); }
    return 0;
}
"#;

/// Prints `thread LWP`, then for each frame its pc, stack pointer and callee-saved registers.
const SCRIPT: &str = r#"
import gdb
for thread in gdb.selected_inferior().threads():
    thread.switch()
    print("thread %d" % thread.ptid[1])
    frame, level = gdb.newest_frame(), 0
    while frame is not None and level < 150:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            values = []
            for name in ["rip", "rsp", "rbx", "rbp", "r12", "r13", "r14", "r15"]:
                value = frame.read_register(name)
                values.append("-" if value.is_optimized_out else "%x" % (int(value) & 0xFFFFFFFFFFFFFFFF))
            print("frame " + " ".join(values))
        frame, level = frame.older(), level + 1
"#;

struct Crash {
    core: PathBuf,
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// Runs the program until it dies; its core by the kernel.
fn crash(how: &str, flags: &str) -> Option<Crash> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with('|') || pattern.contains('/') {
        skip("the kernel hands cores to a program here");
        return None;
    }
    let program = Build::source(Compiler::Gxx, "crashes", PROGRAM).flags(flags).path();
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "ulimit -c unlimited; ulimit -s 256; cd '{}'; exec '{}' {how} 2>/dev/null",
        folder.path().display(),
        program.display()
    );
    let mut running = Running::command(Command::new("bash").args(["-c", &script]));
    running.line();
    running.wait(Duration::from_secs(20));
    let core = fs::read_dir(folder.path()).unwrap().next().map(|entry| entry.unwrap().path());
    if core.is_none() {
        skip("the kernel wrote no core");
    }
    Some(Crash { core: core?, program, folder })
}

/// Frames by thread as gdb sees them; `None` is what it does not know.
type Frames = Vec<(u32, Vec<Vec<Option<u64>>>)>;

fn by_gdb(crash: &Crash) -> Frames {
    let script = crash.folder.path().join("frames.py");
    fs::write(&script, SCRIPT).unwrap();
    let mut command = Command::new("gdb");
    for setting in ["debuginfod enabled off", "backtrace past-main on"] {
        command.args(["-iex", &format!("set {setting}")]);
    }
    let output = command.args(["-nx", "-batch"]).arg(&crash.program).arg(&crash.core).arg("-x").arg(script).output();
    let output = output.unwrap();
    let mut threads = Frames::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(id) = line.strip_prefix("thread ") {
            threads.push((id.parse().unwrap(), Vec::new()));
        } else if let Some(values) = line.strip_prefix("frame ") {
            let values = values.split(' ').map(|value| u64::from_str_radix(value, 16).ok());
            threads.last_mut().unwrap().1.push(values.collect());
        }
    }
    assert!(!threads.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    threads
}

struct Memory<'a>(&'a mut ElfCore, AddressSpaceId);

impl MemoryReader for Memory<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let request = ReadRequest { at, len: buf.len() as u64 };
        let bytes = self.0.read_many(self.1, &[request]).unwrap().remove(0);
        buf[..bytes.len()].copy_from_slice(&bytes);
        bytes.len()
    }
}

struct Modules {
    list: ModuleList,
    executable: Vec<VaRange>,
}

impl UnwindModules for Modules {
    fn module_at(&mut self, address: Va) -> Option<UnwindModule> {
        self.list.module_at(address)
    }

    fn is_executable(&mut self, address: Va) -> bool {
        self.executable.iter().any(|range| range.contains(address))
    }
}

/// Stacks of all threads, in the core's order.
fn ours(path: &Path) -> (ElfCore, Vec<(u32, Stack)>) {
    let mut core = ElfCore::open(path).unwrap();
    let process = core.processes().unwrap().remove(0);
    let regions = core.regions(process.id).unwrap();
    let executable = regions.iter().filter(|region| region.execute).map(|region| region.range).collect();
    let modules = core.modules(process.id).unwrap();
    let mut memory = Memory(&mut core, process.space);
    let list = modules.iter().map(|module| {
        // Static programs have no table that leads to it.
        let in_file = || Some((CfiSections::from_elf(Arc::new(fs::read(&module.path).ok()?))?, module.bias));
        let (sections, bias) = CfiSections::from_mapped_image(module.range.start, &mut memory)
            .or_else(in_file)
            .unwrap_or_else(|| panic!("{} has no call frame information", module.path));
        assert_eq!(bias, module.bias, "{}", module.path);
        UnwindModule { range: module.range, bias, cfi: Arc::new(ModuleCfi::new(sections)) }
    });
    let mut modules = Modules { list: ModuleList::new(list.collect()), executable };
    let threads: Vec<_> = core.threads(process.id).unwrap().iter().map(|thread| thread.id).collect();
    let contexts = core.registers_many(&threads, RegisterSets::default()).unwrap();
    let mut stacks = Vec::new();
    for (thread, context) in threads.iter().zip(contexts) {
        let stack = unwind_stack(&context.unwrap(), 100_000, &mut modules, &mut Memory(&mut core, process.space));
        stacks.push((thread.0, stack));
    }
    (core, stacks)
}

fn check(how: &str, flags: &str, signal: i32) -> Option<Stack> {
    let crash = crash(how, flags)?;
    let expected = by_gdb(&crash);
    let (core, stacks) = ours(&crash.core);
    let StopReason::Signal(info) = &core.last_stop().unwrap().stop.reason else { panic!("no signal") };
    assert_eq!(info.signo, signal);
    assert_eq!(stacks[0].0, core.last_stop().unwrap().stop.thread.0, "the thread that died comes first");
    assert_eq!(stacks.len(), 3);
    for (id, stack) in &stacks {
        let (_, frames) = expected.iter().find(|(thread, _)| thread == id).unwrap();
        for (at, values) in frames.iter().enumerate() {
            let frame = stack.frames.get(at).unwrap_or_else(|| panic!("{how}: frame {at} is missing: {:?}", stack.end));
            for (name, expected) in ["rip", "rsp", "rbx", "rbp", "r12", "r13", "r14", "r15"].iter().zip(values) {
                let value = frame.registers.get_u64(frame.registers.arch().register_by_name(name).unwrap());
                assert!(
                    expected.is_none() || value == *expected,
                    "{how}: thread {id} frame {at} {name}: {value:x?} {expected:x?}"
                );
            }
        }
        assert_eq!(stack.end, StackEnd::Outermost, "{how}");
        assert!(stack.frames.len() >= frames.len());
    }
    stacks.into_iter().next().map(|(_, stack)| stack)
}

#[test]
fn a_call_through_null() {
    let Some(stack) = check("null", "-O2", 11) else { return };
    assert_eq!(stack.frames[0].registers.pc(), Va(0));
    assert_eq!(stack.frames[1].trust, FrameTrust::Prologue);
}

#[test]
fn an_uncaught_exception() {
    check("throw", "-O2", 6);
    check("throw", "-O0 -g", 6);
}

#[test]
fn a_handler_that_aborts() {
    let Some(stack) = check("handler", "-O1 -fno-omit-frame-pointer", 6) else { return };
    assert_eq!(stack.frames.iter().filter(|frame| frame.is_signal_frame).count(), 1);
}

#[test]
fn a_stack_overflow() {
    let Some(stack) = check("overflow", "-O1 -fno-optimize-sibling-calls", 11) else { return };
    assert!(stack.frames.len() > 1000, "{} frames", stack.frames.len());
}

#[test]
fn a_bad_free_in_a_static_program() {
    check("free", "-O2 -static", 6);
}
