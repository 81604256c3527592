//! Programs under a system call filter (seccomp) that does not know how a sleep goes on after a stop.

use outpost_base::{Arch, ProcessId, RegisterContext};
use outpost_target::*;
use outpost_testkit::{Running, wait_until};

use super::common::*;

/// Sleeps with a time limit in the way it is told to, under a filter that ends it for restart_syscall(2) if that is what it is
/// told; afterwards it says so, and sleeps again. SIGUSR1 has a handler.
const SLEEPER: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <linux/filter.h>
    #include <linux/futex.h>
    #include <linux/seccomp.h>
    #include <poll.h>
    #include <signal.h>
    #include <stddef.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/prctl.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    static void on(int signo) { }
    static int word;
    int main(int argc, char **argv) {
        struct sigaction action = { .sa_handler = on, .sa_flags = SA_RESTART };
        sigaction(SIGUSR1, &action, 0);
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { 4, filter };
        if (!strcmp(argv[2], "other")) filter[1].k = SYS_reboot;
        if (strcmp(argv[2], "none") && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))) return 1;
        puts("ready");
        for (;;) {
            fflush(stdout);
            struct timespec limit = { 0, 400000000 };
            errno = 0;
            if (!strcmp(argv[1], "nanosleep")) nanosleep(&limit, 0);
            else if (!strcmp(argv[1], "poll")) poll(0, 0, 400);
            else syscall(SYS_futex, &word, FUTEX_WAIT, 0, &limit, 0, 0);
            puts(strerror(errno));
        }
    }
"#;

const WAYS: [(&str, &str); 3] = [("nanosleep", "Success"), ("poll", "Success"), ("futex", "Connection timed out")];

/// One that sleeps, in the way and with the filter that are named.
fn asleep(way: &str, filter: &str) -> Running {
    let mut sleeper = start(compile("sleeper", SLEEPER, ""), &[way, filter]);
    assert_eq!(sleeper.line(), "ready");
    wait_asleep(&sleeper);
    sleeper
}

fn wait_asleep(sleeper: &Running) {
    wait_until("it sleeps", LIMIT, || outpost_testkit::state(sleeper.pid()) == Some('S'));
}

fn returned(registers: &RegisterContext) -> i64 {
    registers.get_u64(Arch::X86_64.register_by_name("rax").unwrap()).unwrap() as i64
}

/// The kernel shows filters to whoever has CAP_SYS_ADMIN and no filter himself.
fn sees_filters() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    const SYS_ADMIN: u64 = 1 << 21;
    let sees = u64::from_str_radix(field("CapEff:"), 16).unwrap() & SYS_ADMIN != 0 && field("Seccomp:") == "0";
    if !sees {
        outpost_testkit::skip("the filters of other processes cannot be read here");
    }
    sees
}

#[test]
fn a_sleep_that_may_not_go_on_begins_anew() {
    if !sees_filters() {
        return;
    }
    for (way, ends) in WAYS {
        let mut sleeper = asleep(way, "forbids");
        let mut target = target();
        let process = ProcessId(sleeper.pid());
        let bundle = attach(&mut target, sleeper.pid());
        // ERESTARTNOHAND.
        assert_eq!(returned(&bundle.registers[0].1), -514, "{way}");
        for _ in 0..3 {
            run(&mut target);
            assert_eq!(sleeper.line(), ends, "{way}: it sleeps to the end, and goes on");
            target.interrupter().break_in();
            assert_eq!(stop(&mut target).stop.reason, StopReason::BreakIn, "{way}");
        }
        target.detach(process, DetachMode::Deliver).unwrap();
        for _ in 0..3 {
            assert_eq!(sleeper.line(), ends, "{way}: nothing is left of it");
        }
        // A handler ends it, as it would have.
        wait_asleep(&sleeper);
        attach(&mut target, sleeper.pid());
        sleeper.signal("USR1");
        target.detach(process, DetachMode::Deliver).unwrap();
        assert_eq!(sleeper.line(), "Interrupted system call", "{way}");
    }
}

#[test]
fn a_sleep_that_may_go_on_keeps_its_time() {
    for filter in ["none", "other"] {
        for (way, ends) in WAYS {
            let mut sleeper = asleep(way, filter);
            let mut target = target();
            let bundle = attach(&mut target, sleeper.pid());
            // ERESTART_RESTARTBLOCK.
            assert_eq!(returned(&bundle.registers[0].1), -516, "{way}, {filter}");
            target.detach(ProcessId(sleeper.pid()), DetachMode::Deliver).unwrap();
            assert_eq!(sleeper.line(), ends, "{way}, {filter}");
        }
    }
}
