//! Children of all forms, without a tracer.

use std::time::Duration;

use outpost_target::{OutputStream, StdioSpec, TargetError};
use outpost_testkit::wait_until;
use rustix::event::PollFlags;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::*;

fn spec(program: &str, arguments: &[&str]) -> CreateSpec {
    CreateSpec {
        program: program.into(),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Client,
        randomize: true,
        break_in: false,
    }
}

fn exit_code(process: ProcessId) -> Option<i32> {
    let pid = Pid::from_raw(process.0 as i32)?;
    waitpid(Some(pid), WaitOptions::empty()).unwrap()?.1.exit_status()
}

/// Runs to the end; gives standard output, standard error and the exit code.
fn run(spec: &CreateSpec, input: Option<&[u8]>) -> (String, String, Option<i32>) {
    let mut child = prepare(spec).unwrap();
    let process = child.process();
    child.release();
    let mut table = StdioTable::default();
    table.insert(process, child.outcome().unwrap());
    for bytes in input.into_iter().chain(input.is_some().then_some(&b""[..])) {
        table.write_input(process, bytes).unwrap();
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    wait_until("its output ends", Duration::from_secs(10), || {
        for output in table.read_output() {
            let stream = if output.stream == OutputStream::Stdout { &mut out } else { &mut err };
            stream.extend(output.bytes);
        }
        table.flush_input();
        table.descriptors().iter().all(|(_, flags)| *flags != PollFlags::IN)
    });
    let code = exit_code(process);
    table.process_ended(process);
    assert!(table.descriptors().is_empty());
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), code)
}

fn refusal(spec: &CreateSpec) -> String {
    let error = match prepare(spec) {
        Err(error) => error,
        Ok(child) => {
            let process = child.process();
            let error = child.outcome().unwrap_err();
            assert_eq!(exit_code(process), Some(127));
            error
        }
    };
    match error {
        TargetError::File { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    let spec = spec("printf", &["<%s>", "two words", "", "$HOME", "*", "\"quoted\"", "ümläut"]);
    assert_eq!(run(&spec, None).0, "<two words><><$HOME><*><\"quoted\"><ümläut>");
}

#[test]
fn streams_are_apart_and_input_ends() {
    let spec = spec("sh", &["-c", "cat; echo failed >&2; exit 3"]);
    let (out, err, code) = run(&spec, Some(b"some input"));
    assert_eq!((out.as_str(), err.as_str(), code), ("some input", "failed\n", Some(3)));
}

#[test]
fn much_input_waits_until_it_is_read() {
    let spec = spec("sh", &["-c", "sleep 0.2; wc -c"]);
    let (out, _, _) = run(&spec, Some(&vec![b'x'; 900_000]));
    assert_eq!(out.trim(), "900000");
    let mut child = prepare(&self::spec("sleep", &["60"])).unwrap();
    let process = child.process();
    child.release();
    let mut table = StdioTable::default();
    table.insert(process, child.outcome().unwrap());
    let refused = (0..3).map(|_| table.write_input(process, &vec![0; 600_000])).find_map(Result::err);
    assert!(matches!(refused, Some(TargetError::Invalid { reason }) if reason.contains("does not read")));
    rustix::process::kill_process(Pid::from_raw(process.0 as i32).unwrap(), rustix::process::Signal::KILL).unwrap();
    exit_code(process);
}

#[test]
fn the_environment_is_replaced_or_changed() {
    let mut spec = spec("/usr/bin/env", &[]);
    spec.environment = Some(vec![("A".into(), "1".into()), ("B".into(), "2".into())]);
    spec.environment_changes = vec![("B".into(), None), ("C".into(), Some("x=y".into()))];
    assert_eq!(run(&spec, None).0, "A=1\nC=x=y\n");
    spec.environment = None;
    let (out, ..) = run(&spec, None);
    assert!(out.contains("PATH=") && out.contains("\nC=x=y\n"), "{out}");
    spec.environment_changes = vec![("A=B".into(), Some(String::new()))];
    assert!(matches!(prepare(&spec), Err(TargetError::Invalid { .. })));
}

#[test]
fn directory_and_files_are_used() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in"), "from a file").unwrap();
    let mut spec = spec("sh", &["-c", "pwd; cat; echo error >&2; echo last"]);
    spec.directory = Some(folder.path().to_str().unwrap().into());
    let same = Some("out".to_owned());
    spec.stdio = StdioSpec::Files { stdin: Some("in".into()), stdout: same.clone(), stderr: same };
    assert_eq!(run(&spec, None), (String::new(), String::new(), Some(0)));
    let written = std::fs::read_to_string(folder.path().join("out")).unwrap();
    let real = folder.path().canonicalize().unwrap();
    assert_eq!(written, format!("{}\nfrom a fileerror\nlast\n", real.display()));
    spec.stdio = StdioSpec::Files { stdin: None, stdout: None, stderr: None };
    assert_eq!(run(&spec, None).2, Some(0));
}

#[test]
fn a_terminal_is_one_with_size_session_and_end_of_input() {
    let mut spec = spec("sh", &["-c", "tty >/dev/null && stty size && ps -o tpgid=,pid= -p $$ && cat"]);
    spec.stdio = StdioSpec::Pty { columns: 91, rows: 33 };
    let mut child = prepare(&spec).unwrap();
    let process = child.process();
    child.release();
    let mut table = StdioTable::default();
    table.insert(process, child.outcome().unwrap());
    table.write_input(process, b"typed\n").unwrap();
    let mut out = String::new();
    let mut ended = false;
    wait_until("the terminal closes", Duration::from_secs(10), || {
        out.extend(table.read_output().iter().map(|output| String::from_utf8_lossy(&output.bytes).into_owned()));
        if !ended && out.matches("typed").count() == 2 {
            table.write_input(process, b"").unwrap();
            ended = true;
        }
        table.descriptors().is_empty()
    });
    assert!(out.contains("33 91"), "{out}");
    let group: Vec<&str> =
        out.lines().find(|line| line.matches(&process.to_string()).count() == 2).unwrap().split_whitespace().collect();
    assert_eq!(group[0], group[1], "it is the foreground group of its terminal");
    assert_eq!(exit_code(process), Some(0));
}

#[test]
fn randomisation_can_be_switched_off() {
    let stack = |randomize: bool| {
        let mut spec = spec("grep", &["\\[stack\\]", "/proc/self/maps"]);
        spec.randomize = randomize;
        run(&spec, None).0
    };
    assert_eq!(stack(false), stack(false));
    assert_ne!(stack(true), stack(true));
}

#[test]
fn the_child_has_default_signals_and_no_files_of_the_server() {
    let (out, ..) = run(&spec("grep", &["-E", "SigBlk|SigIgn", "/proc/self/status"]), None);
    assert!(out.lines().all(|line| line.ends_with("\t0000000000000000")), "{out}");
    // 3 is the directory that ls itself reads.
    let (out, ..) = run(&spec("ls", &["/proc/self/fd"]), None);
    assert_eq!(out, "0\n1\n2\n3\n");
}

#[test]
fn failures_to_execute_are_told_precisely() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let check = |program: &str, expected: &str| {
        let reason = refusal(&spec(program, &[]));
        assert!(reason.contains(expected), "{program}: {reason}");
    };
    check("/no/such/program", "no such file");
    check("no-such-program-in-path", "not found in the server's PATH");
    check(folder.path().to_str().unwrap(), "directory");
    check(&file("plain", "text", 0o644), "not executable");
    check(&file("text", "echo no interpreter", 0o755), "neither ELF");
    check(&file("script", "#!/no/such/interpreter -x\n", 0o755), "its interpreter /no/such/interpreter does not exist");
    check(&file("strange", &format!("#!{}\n", file("inner", "x", 0o644)), 0o755), "is not executable");
    let mut elf = std::fs::read("/bin/true").unwrap();
    let at = elf.windows(6).position(|bytes| bytes == b"/lib64").unwrap();
    elf[at + 1..at + 4].copy_from_slice(b"gon");
    let program = folder.path().join("elf");
    std::fs::write(&program, elf).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    check(program.to_str().unwrap(), "its interpreter /gon64/ld-linux-x86-64.so.2 does not exist");
    let mut elsewhere = spec("true", &[]);
    elsewhere.directory = Some("/no/such/directory".into());
    assert!(refusal(&elsewhere).contains("working directory"));
    let mut input = spec("true", &[]);
    input.stdio = StdioSpec::Files { stdin: Some("/no/such/input".into()), stdout: None, stderr: None };
    assert!(refusal(&input).contains("no such file"));
    assert!(matches!(prepare(&spec("true", &["a\0b"])), Err(TargetError::Invalid { .. })));
}

#[test]
fn a_child_that_is_not_released_ends_with_its_server() {
    let child = prepare(&spec("true", &[])).unwrap();
    let process = child.process();
    drop(child);
    assert_eq!(exit_code(process), Some(127));
}

#[test]
fn a_terminal_takes_another_size() {
    let mut spec = spec("sh", &["-c", "stty size; read line; stty size"]);
    spec.stdio = StdioSpec::Pty { columns: 91, rows: 33 };
    let mut child = prepare(&spec).unwrap();
    let process = child.process();
    child.release();
    let mut table = StdioTable::default();
    table.insert(process, child.outcome().unwrap());
    let mut out = String::new();
    let mut resized = false;
    wait_until("the terminal closes", Duration::from_secs(10), || {
        out.extend(table.read_output().iter().map(|output| String::from_utf8_lossy(&output.bytes).into_owned()));
        if !resized && out.contains("33 91") {
            table.resize(process, 100, 40).unwrap();
            table.write_input(process, b"go\n").unwrap();
            resized = true;
        }
        table.descriptors().is_empty()
    });
    assert!(out.contains("40 100"), "{out}");
    table.process_ended(process);
    assert!(matches!(table.resize(process, 1, 1), Err(TargetError::Invalid { .. })), "it is gone");
}
