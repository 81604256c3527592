//! The lifeline in a real process without any debugger: a C program is given the code, maps it as a server would, and
//! faults at its sites.

use std::process::Command;
use std::time::Duration;

use outpost_testkit::{Build, Compiler, Running};

use super::*;

/// Maps the image given in a file, installs it for both signals, then does what the second argument says.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
struct kernel_sigaction { void *handler; unsigned long flags; void *restorer; unsigned long mask; };
static void own(int signal, siginfo_t *info, void *context) {
    (void)context;
    printf("own %d %d\n", signal, info->si_code);
    fflush(stdout);
    if (info->si_code > 0) _exit(7);
}
int main(int argc, char **argv) {
    (void)argc;
    unsigned char *map = mmap(0, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *file = fopen(argv[1], "rb");
    unsigned long handler = strtoul(argv[2], 0, 10), table = fread(map, 1, 65536, file);
    table -= 144;
    struct kernel_sigaction ours = { map + handler, 0x0c000004, map, 0 };
    const char *mode = argv[3];
    if (strstr(mode, "own"))
        for (int at = 0; at < 4; ++at) *(void **)(map + table + 32 * at) = (void *)own;
    if (strstr(mode, "ignore"))
        for (int at = 0; at < 4; ++at) *(long *)(map + table + 32 * at) = 1;
    syscall(SYS_rt_sigaction, SIGILL, &ours, 0, 8);
    syscall(SYS_rt_sigaction, SIGTRAP, &ours, 0, 8);
    /* site: 0xd6 in place of `inc eax`, then ret; pad: inc eax, jmp back to the ret */
    unsigned char *site = map + 32768, *pad = map + 32768 + 64;
    if (strstr(mode, "bare")) site = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(site, "\xd6\xc0\xc3", 3);
    memcpy(pad, "\xff\xc0\xe9", 3);
    *(int *)(pad + 3) = (int)(site + 2 - (pad + 7));
    *(unsigned *)(map + table + 128) = 2;
    *(void **)(map + table + 144 + 16 + 8) = strstr(mode, "bare") ? (void *)0xff : pad;
    if (strstr(mode, "full")) while (open("/dev/null", O_RDONLY) >= 0);
    *(void **)(map + table + 144 + 16) = site;
    if (strstr(mode, "bare")) mprotect(site, 4096, PROT_READ | PROT_EXEC);
    if (strstr(mode, "site")) {
        int sum = 0;
        for (int round = 0; round < 1000; ++round) {
            int value = round;
            __asm__ volatile("call *%1" : "+a"(value) : "r"(site) : "memory", "cc");
            sum += value == round + 1;
        }
        printf("%d\n", sum);
    }
    if (strstr(mode, "trace"))
        __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; nop; nop" ::: "memory", "cc");
    if (strstr(mode, "sent")) raise(SIGILL);
    if (strstr(mode, "fault")) __asm__ volatile("ud2");
    puts("end");
    return 0;
}
"#;

fn run(mode: &str) -> (String, std::process::ExitStatus) {
    let mut image = tempfile::NamedTempFile::new().unwrap();
    let none = KernelSigaction::default();
    std::io::Write::write_all(&mut image, &Lifeline::image(&[none; 4])).unwrap();
    let program = Build::source(Compiler::Gcc, "lifeline", PROGRAM).flags("-O1 -mno-red-zone").path();
    let mut running =
        Running::command(Command::new(program).arg(image.path()).arg(code::handler_offset().to_string()).arg(mode));
    let status = running.wait(Duration::from_secs(10));
    let lines = std::iter::from_fn(|| Some(running.line()).filter(|line| !line.is_empty()));
    (lines.collect::<Vec<_>>().join(" "), status)
}

#[test]
fn a_fault_at_a_site_goes_on_in_its_pad() {
    assert_eq!(run("site"), ("1000 end".into(), Default::default()));
}

#[test]
fn a_site_without_a_pad_is_taken_away_by_the_thread_that_faults_there() {
    assert_eq!(run("bare site"), ("1000 end".into(), Default::default()));
    // No descriptor is left for the program's memory.
    assert_eq!(run("bare full site"), ("1000 end".into(), Default::default()));
}

#[test]
fn an_orphaned_single_step_goes_on() {
    assert_eq!(run("trace"), ("end".into(), Default::default()));
}

#[test]
fn the_programs_own_handler_gets_what_is_not_ours() {
    let (output, status) = run("own sent");
    assert!(output.starts_with("own 4 ") && output.ends_with(" end") && status.success(), "{output} {status}");
    let (output, status) = run("own site fault");
    assert_eq!((output.as_str(), status.code()), ("1000 own 4 2", Some(7)));
}

#[test]
fn default_and_ignored_actions_do_what_they_would_have_done() {
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(run("fault").1.signal(), Some(4));
    assert_eq!(run("sent").1.signal(), Some(4));
    assert_eq!(run("ignore sent"), ("end".into(), Default::default()));
    assert_eq!(run("ignore fault").1.signal(), Some(4));
}

#[test]
fn entries_are_written_pad_first() {
    let lifeline = Lifeline { at: Va(0x10000), capacity: 4 };
    let writes = lifeline.fill_entry(1, 2, Va(0x1111), Va(0x2222));
    let entry = lifeline.at + Lifeline::len(0) + 16;
    assert_eq!(writes.clone().map(|(at, _)| at), [entry + 8, entry, lifeline.at + Lifeline::len(0) - 16]);
    assert_eq!(writes[1].1, 0x1111_u64.to_le_bytes());
    let action = KernelSigaction { handler: 1, flags: 2, restorer: 3, mask: 4 };
    assert_eq!(KernelSigaction::from_bytes(&action.to_bytes()), action);
}
