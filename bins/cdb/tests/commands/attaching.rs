//! `.attach`, `.create` and their options.

use std::time::Duration;

use outpost_testkit::{Build, Compiler, Running, wait_until};

use crate::common::*;

const TICKING: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((noinline)) void tick(int n) { __asm__ volatile("" :: "r"(n) : "memory"); }
int main(int argc, char **argv) {
    puts("ready");
    fflush(stdout);
    int ticks = atoi(argv[1]);
    for (int n = 0; n < ticks; n++) { tick(n); usleep(10000); }
    return 7;
}
"#;

fn ticking(ticks: u32) -> Running {
    let mut running =
        Running::start(Build::source(Compiler::Gcc, "ticking", TICKING).flags("-g").path(), &[&ticks.to_string()]);
    assert_eq!(running.line(), "ready");
    running
}

/// State and tracer of a process, as the kernel tells them.
fn state(running: &Running) -> (char, u32) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    (field("State:").chars().next().unwrap(), field("TracerPid:").parse().unwrap())
}

#[test]
fn an_attach_without_break_lets_the_others_run() {
    let (one, mut other) = (ticking(100_000), ticking(100_000));
    let script = format!("bp tick; .attach -b 0n{}; .echo [both]; |; .echo [end]; qd", other.pid());
    let output = run(&["-p", &one.pid().to_string(), "-c", &script]);
    assert!(output.contains("Breakpoint 0 hit"), "the one that was stopped has run:\n{output}");
    assert_eq!(part(&output, "both").lines().count(), 2, "{output}");
    assert!(other.is_running() && state(&other).1 == 0);
}

#[test]
fn what_was_abandoned_is_taken_over_and_resumed() {
    let mut running = ticking(200);
    let pid = running.pid();
    run(&["-p", &pid.to_string(), "-c", ".abandon; q"]);
    // The kernel stops it when it would next run.
    wait_until("it is left stopped", Duration::from_secs(10), || state(&running) == ('T', 0));
    let output = run(&["-c", &format!(".attach -e -r 0n{pid}; .echo [end]; .lastevent")]);
    assert!(output.contains("to process"), "{output}");
    assert!(part(&output, "end").contains("xit"), "what follows waits for the next stop, its end:\n{output}");
    assert_eq!(running.wait(Duration::from_secs(10)).code(), Some(7));
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let own = std::process::id();
    for (options, expected) in [
        ("-v -b", "-v goes with no other option"),
        ("-b -e", "-b does not stop"),
        ("-k", "not implemented"),
        ("-x", "nknown option -x"),
    ] {
        let output = run(&["-c", &format!(".attach {options} 0n{own}")]);
        assert!(output.contains(expected), ".attach {options}:\n{output}");
    }
}

#[test]
fn looking_without_holding() {
    let running = ticking(100_000);
    let pid = running.pid().to_string();
    let commands = [format!(".attach -vr 0n{pid}"), ".echo [look]; |; lm; .echo [end]".to_owned()];
    let by_command = run(&["-c", &commands[0], "-c", &commands[1]]);
    let by_option = run(&["-pvr", "-p", &pid, "-c", &commands[1]]);
    for output in [by_command, by_option] {
        let look = part(&output, "look");
        assert!(look.contains("examine") && look.contains("libc_so"), "{output}");
    }
    assert_eq!(state(&running).1, 0);
}

#[test]
fn processes_are_created_where_createdir_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let path = path.to_str().unwrap();
    let output = run(&["-c", &format!(".createdir {path}; .createdir"), "-c", ".create -f /bin/pwd", "-c", "g"]);
    assert!(output.contains(&format!("Processes are created in {path}")), "{output}");
    assert!(output.lines().any(|line| line == path), "{output}");
}

#[test]
fn processes_that_end_at_the_same_time_are_all_told() {
    // The end of the second is on its way while the first makes the session go on.
    for _ in 0..5 {
        let output = run(&["-c", ".create /bin/true", "-c", "g", "/bin/true"]);
        assert_eq!(output.matches("Exit process, code 0").count(), 2, "{output}");
        assert!(!output.contains("answers stop"), "{output}");
    }
}

/// Nothing of a 32-bit program would be understood; what would be put into it would be other instructions there.
#[test]
fn programs_for_32_bits_are_refused() {
    const WAITS: &str = r#"
__asm__(".globl _start\n_start: mov $4, %eax; mov $1, %ebx; mov $text, %ecx; mov $6, %edx; int $0x80\n"
        "again: mov $29, %eax; int $0x80; jmp again\n"
        ".data\ntext: .ascii \"ready\\n\"");
"#;
    let program = Build::source(Compiler::Gcc, "waits", WAITS).flags("-m32 -nostdlib -static -no-pie").path();
    let path = program.to_str().unwrap();
    let refused = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cdb"));
        let output = command.args(arguments).stdin(std::process::Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("debugging a 32-bit program is not supported") && text.contains("/waits"), "{text}");
        assert_eq!(output.status.code(), Some(1), "{text}");
    };
    refused(&["-c", "q", path]);
    let Ok(mut child) = std::process::Command::new(&program).stdout(std::process::Stdio::piped()).spawn() else {
        return outpost_testkit::skip("the kernel executes no 32-bit programs");
    };
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    refused(&["-p", &child.id().to_string(), "-c", "q"]);
    // Looked at in passing, too, and it lives.
    refused(&["-pv", "-p", &child.id().to_string(), "-c", "q"]);
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}
