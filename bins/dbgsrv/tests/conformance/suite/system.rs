//! The checks of what a system has beside what is debugged: programs that are made, their family, files, other processes.

use std::path::Path;

use outpost_base::{ProcessId, VaRange};
use outpost_target::*;
use outpost_testkit::{Build, Compiler, Running};

use super::{elsewhere, os, slow};
use crate::debuggee::{attach, event, generation, live, space, stop, symbol};

pub(super) fn create(target: &mut dyn Target, program: &str, arguments: &[&str], stdio: StdioSpec) -> ProcessId {
    let spec = CreateSpec {
        program: program.into(),
        arguments: arguments.iter().map(|argument| (*argument).into()).collect(),
        environment: None,
        environment_changes: vec![("CONFORMANCE".into(), Some("some value".into()))],
        directory: Some("/".into()),
        stdio,
        randomize: false,
        break_in: true,
    };
    let (process, bundle) = live(target).create(&spec, &BundleRequest::default()).unwrap();
    assert_eq!(bundle.unwrap().stop.reason, StopReason::Created);
    process
}

/// Runs to the end; what was written by stream, and how it ended.
fn finish(target: &mut dyn Target) -> (String, String, ExitStatus) {
    // Children of a shell are no business of ours.
    let sigchld = EventMask { pass_signals: 1 << 17, ..EventMask::default() };
    let run = |target: &mut dyn Target| {
        let plan = Plan { events: sigchld.clone(), ..Plan::run_all(generation(target)) };
        live(target).resume(&plan).unwrap();
    };
    run(target);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match event(target) {
            Event::Output(Output { stream: OutputStream::Stdout, bytes, .. }) => out.extend(bytes),
            Event::Output(Output { stream: OutputStream::Stderr, bytes, .. }) => err.extend(bytes),
            Event::Stopped(bundle) => match bundle.stop.reason {
                StopReason::Exited { status } => {
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    return (text(out), text(err), status);
                }
                StopReason::Execed { .. } => run(target),
                other => panic!("{other:?}"),
            },
            _ => {}
        }
    }
}

pub(super) fn created_with_streams(target: &mut dyn Target, _: &Path) {
    let script = "read line; echo \"$line, $CONFORMANCE, $PWD\"; echo oops >&2; exit 5";
    let process = create(target, "sh", &["-c", script], StdioSpec::Client);
    os(target).write_stdin(process, b"typed\n").unwrap();
    let ended = finish(target);
    assert_eq!(ended, ("typed, some value, /\n".into(), "oops\n".into(), ExitStatus::Code(5)));
    let spec = |program: &str| CreateSpec {
        program: program.into(),
        arguments: Vec::new(),
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Client,
        randomize: true,
        break_in: true,
    };
    for missing in ["/no/such/program", "no-such-program-anywhere", "/etc/passwd"] {
        let error = live(target).create(&spec(missing), &BundleRequest::default()).unwrap_err();
        assert_eq!(error.severity(), Severity::Operation, "{error}");
        assert!(error.to_string().contains(missing), "{error}");
    }
}

pub(super) fn created_on_a_pty(target: &mut dyn Target, _: &Path) {
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size";
    create(target, "sh", &["-c", script], StdioSpec::Pty { columns: 91, rows: 17 });
    let (out, _, status) = finish(target);
    assert_eq!((out.trim(), status), ("17 91", ExitStatus::Code(0)));
}

pub(super) fn family_and_modules(target: &mut dyn Target, _: &Path) {
    let program = Build::source(
        Compiler::Gcc,
        "family",
        r#"
        #include <dlfcn.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            if (!dlopen("libm.so.6", RTLD_NOW)) return 1;
            pid_t child = fork();
            if (child == 0) _exit(3);
            int status;
            waitpid(child, &status, 0);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 3) return 2;
            execl("/bin/true", "true", (char *)0);
            return 4;
        }
        "#,
    )
    .flags("-ldl")
    .path();
    let process = create(target, program.to_str().unwrap(), &[], StdioSpec::Client);
    assert!(target.modules(process).unwrap().iter().all(|module| !module.path.contains("libm.")));
    let (mut loaded, mut forked, mut executed) = (false, false, false);
    loop {
        let events = EventMask { modules: true, fork: true, exec: true, ..EventMask::default() };
        let plan = Plan { events, ..Plan::run_all(generation(target)) };
        live(target).resume(&plan).unwrap();
        match stop(target).stop.reason {
            StopReason::ModulesChanged => {
                let modules = target.modules(process).unwrap();
                loaded |= modules.iter().any(|module| module.path.contains("libm.so") && module.build_id.is_some());
            }
            StopReason::Forked { child, vfork, followed } => {
                assert!(!vfork && !followed && child != process);
                assert!(loaded);
                forked = true;
            }
            StopReason::Execed { executable, .. } => {
                assert!(forked && executable.ends_with("true"), "{executable}");
                executed = true;
            }
            StopReason::Exited { status } => {
                assert_eq!(status, ExitStatus::Code(0));
                break;
            }
            StopReason::Signal(info) if info.signo == 17 => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(loaded && forked && executed, "{loaded} {forked} {executed}");
}

pub(super) fn search(target: &mut dyn Target, folder: &Path) {
    let program = Build::source(
        Compiler::Gcc,
        "haystack",
        "#include <stdio.h>\n#include <unistd.h>\nchar hay[1 << 20] = {1};\n\
         int main(void) { for (int i = 0; i < 3; i++) sprintf(hay + 1000 + i * 300000, \"ne%s%d\", \"edle\", 7);\n\
         puts(\"ready\"); fflush(stdout); pause(); }\n",
    )
    .flags("-no-pie")
    .path();
    let _ = folder;
    let mut running = elsewhere(|| Running::start(&program, &[]));
    assert_eq!(running.line(), "ready");
    attach(target, running.pid());
    let space = space(target, ProcessId(running.pid()));
    let hay = symbol(&program, "hay");
    let request = |limit, alignment| SearchRequest {
        range: VaRange::from_len(hay, 1 << 20),
        pattern: b"needle7".to_vec(),
        alignment,
        writable_only: true,
        limit,
    };
    let expected = [hay + 1000, hay + 301_000, hay + 601_000];
    assert_eq!(target.search(space, &request(100, 1)).unwrap(), expected);
    assert_eq!(target.search(space, &request(2, 8)).unwrap(), expected[..2]);
}

pub(super) fn files_and_processes(target: &mut dyn Target, folder: &Path) {
    let debuggee = slow(folder);
    let process = ProcessId(debuggee.pid());
    attach(target, debuggee.pid());
    let path = folder.join("a file");
    let bytes = std::fs::read(&path).unwrap();
    let (file, len) = os(target).open_file(Some(process), path.to_str().unwrap()).unwrap();
    assert_eq!(len, bytes.len() as u64);
    // The first two thirds, some bytes at the end, and some beyond it.
    let (most, end) = (bytes.len() / 3 * 2, bytes.len() - 10);
    let parts = os(target).read_file(file, &[(0, most as u64), (end as u64, 100), (len + 1_000_000, 5)]).unwrap();
    assert!(parts[0] == bytes[..most] && parts[1] == bytes[end..] && parts[2].is_empty());
    os(target).close_file(file).unwrap();
    assert!(os(target).read_file(file, &[(0, 1)]).is_err());
    let error = os(target).open_file(None, "/no/such/file").unwrap_err();
    assert!(matches!(error, TargetError::File { .. }), "{error}");
    let entries = os(target).list_directory(folder.to_str().unwrap()).unwrap();
    let mut names: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.is_directory)).collect();
    names.sort_unstable();
    assert_eq!(names, [("a file", false), ("page", false)]);
    let handles = os(target).handles(process).unwrap();
    assert!(handles.iter().any(|handle| handle.target.ends_with("/page")), "{handles:?}");
    assert!(handles.iter().any(|handle| handle.number == 1 && handle.kind == "Pipe"), "{handles:?}");
    let query = ProcessQuery::Name { name: "worker".into(), how: NameMatch::FileName };
    let listed = os(target).list_processes(&query, true).unwrap();
    let own = listed.iter().find(|listed| listed.id == process).unwrap();
    assert_eq!((own.parent, own.threads), (ProcessId(std::process::id()), 1));
    assert!(own.tracer.0 != 0 && matches!(own.attachability, Some(Attachability::No { .. })), "{own:?}");
    let all = os(target).list_processes(&ProcessQuery::All, false).unwrap();
    assert!(all.iter().any(|listed| listed.id == process) && all.len() >= listed.len());
    let (now, uptime) = os(target).clock().unwrap();
    assert!(now > own.start_time_us && uptime > 0);
}
