//! The engine over a core: everything that reads works as with a live process, everything that runs is refused.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::PathBuf;
use std::process::Command;

use outpost_dump::ElfCore;
use outpost_engine::*;
use outpost_target::{AttachMode, StopReason, TargetKind};
use outpost_testkit::{Build, Compiler, Running};

const SOURCE: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
struct job { int id; const char *name; };
static struct job current = { 4, "cleaning" };
static int deep(struct job *job, int level) {
    if (level == 0)
        for (;;) pause();
    return deep(job, level - 1) + job->id;
}
static void *worker(void *argument) {
    for (;;) pause();
    return argument;
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, worker, 0);
    usleep(20000);
    puts("ready");
    fflush(stdout);
    return deep(&current, 3);
}
"#;

/// A core that gdb wrote of the running program.
fn core(folder: &tempfile::TempDir) -> PathBuf {
    let program = Build::source(Compiler::Gcc, "cores", SOURCE).flags("-g -O0").path();
    let mut running = Running::start(program, &[]);
    assert_eq!(running.line(), "ready");
    std::thread::sleep(std::time::Duration::from_millis(50));
    let core = folder.path().join("core");
    let command = format!("generate-core-file {}", core.display());
    let output =
        Command::new("gdb").args(["-nx", "-batch", "-p", &running.pid().to_string(), "-ex", &command]).output();
    assert!(core.exists(), "{}", String::from_utf8_lossy(&output.unwrap().stderr));
    core
}

#[test]
fn a_core_is_read_like_a_process_and_cannot_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::new();
    engine.set_symbol_cache(Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/symbols").into()));
    let system = engine.add_system(Box::new(ElfCore::open(&core(&folder)).unwrap())).unwrap();
    let Ok(Wait::Event(EngineEvent::Stopped(stop))) = engine.wait(None, &[]) else { panic!("no stored event") };
    assert!(matches!(stop.reason, StopReason::Signal(_) | StopReason::DumpOpened), "{:?}", stop.reason);
    assert_eq!(stop.chance, None, "a dump does not tell");
    assert_eq!(engine.systems()[0].kind, TargetKind::UserDump);

    let process = engine.current_process().unwrap();
    let threads: Vec<_> = engine.threads(process).unwrap().iter().map(|thread| thread.ordinal).collect();
    let stacks = engine.stacks(&threads, 50).unwrap();
    let functions = |stack: &ThreadStack| stack.frames.iter().map(|frame| frame.function.clone()).collect::<Vec<_>>();
    let main = stacks.iter().find(|stack| functions(stack).contains(&"main".into())).unwrap();
    assert_eq!(functions(main).iter().filter(|name| *name == "deep").count(), 4);
    assert!(stacks.iter().any(|stack| functions(stack).contains(&"worker".into())));

    engine.select_thread(main.thread).unwrap();
    let deepest = main.frames.iter().find(|frame| frame.function == "deep").unwrap();
    assert!(deepest.source.as_ref().unwrap().file.ends_with("cores.c"));
    engine.select_frame(deepest.index).unwrap();
    let job = engine.local("job").unwrap().unwrap();
    let mut memory = engine.memory().unwrap();
    let id = job.deref(&mut memory).unwrap().member("id", &mut memory).unwrap().scalar(&mut memory).unwrap();
    assert_eq!(id.as_i128(), 4);

    let no_run = |result: Result<(), EngineError>| matches!(result, Err(EngineError::Unsupported { .. }));
    assert!(no_run(engine.go(&RunOptions::default(), &[])));
    assert!(no_run(engine.go_up(&RunOptions::default())));
    assert!(no_run(engine.set_breakpoint(BreakpointRequest::code(BreakpointPlace::Address(stop.pc))).map(drop)));
    assert!(no_run(engine.attach(system, outpost_base::ProcessId(1), AttachMode::Existing).map(drop)));
    assert!(no_run(memory.write(stop.pc, &[1])));
    assert!(matches!(engine.wait(None, &[]), Err(EngineError::NotRunning)));

    engine.leave(process, Leave::Kill).unwrap();
    assert!(engine.systems().is_empty(), "a dump goes with its process");
    assert_eq!(engine.state(), EngineState::NoDebuggee);
}
