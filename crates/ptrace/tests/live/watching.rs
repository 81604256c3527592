//! Data watched by the protection of its pages.

use std::fs;

use outpost_base::{ProcessId, Va};
use outpost_ptrace::LiveTarget;
use outpost_target::condition::{Assembler, Op};
use outpost_target::*;

use super::common::*;

/// What all programs begin with: pages of their own, far from everything else.
const BEGIN: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/uio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    struct page { char bytes[4096]; } __attribute__((aligned(4096)));
    struct page watched = { { 1 } };
    struct page other[2];
"#;

fn program(name: &str, main: &str) -> std::path::PathBuf {
    compile(name, &format!("{BEGIN}{main}"), "-no-pie -pthread")
}

/// A program stopped at its `main`, and where `watched` is.
fn begin(target: &mut LiveTarget, program: &std::path::Path) -> (ProcessId, Va) {
    let (process, _) = create(target, program, &[]);
    let space = space(target, process);
    set(target, breakpoint(1000, space, symbol(program, "main")));
    go(target);
    clear(target, 1000);
    (process, symbol(program, "watched"))
}

fn watch(
    target: &mut LiveTarget,
    process: ProcessId,
    id: u32,
    at: Va,
    access: HardwareAccess,
    len: u32,
) -> BreakpointState {
    try_watch(target, process, id, at, access, len).unwrap()
}

fn try_watch(
    target: &mut LiveTarget,
    process: ProcessId,
    id: u32,
    at: Va,
    access: HardwareAccess,
    len: u32,
) -> Result<BreakpointState, TargetError> {
    let space = space(target, process);
    let kind = BreakpointKind::Hardware { access, len };
    let spec = BreakpointSpec { kind, ..breakpoint(id, space, at) };
    target.change_breakpoints(&[BreakpointChange::Set(spec)]).unwrap().remove(0)
}

/// Runs to the next stop, which is for breakpoint `id`; gives the byte at `at` there.
fn hit(target: &mut LiveTarget, process: ProcessId, id: u32, at: Va) -> u8 {
    let bundle = go(target);
    let expected = StopReason::Breakpoint { ids: vec![BreakpointId(id)] };
    assert_eq!(bundle.stop.reason, expected);
    let space = space(target, process);
    let mut byte = [0];
    assert_eq!(target.read_memory(space, at, &mut byte).unwrap(), 1);
    byte[0]
}

/// Runs to the end; gives the exit code.
fn end(target: &mut LiveTarget) -> i32 {
    match go(target).stop.reason {
        StopReason::Exited { status: ExitStatus::Code(code) } => code,
        other => panic!("{other:?}"),
    }
}

/// The protection of the page at `at`, as the kernel has it.
fn protection(process: ProcessId, at: Va) -> String {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let line = maps.lines().find(|line| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split_once(' ').unwrap().0;
        (u64::from_str_radix(start, 16).unwrap()..u64::from_str_radix(end, 16).unwrap()).contains(&at.0)
    });
    line.unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn writes_to_an_odd_range_stop_and_its_neighbours_do_not() {
    let program = program(
        "watched_range",
        r#"
        int main(void) {
            volatile char *w = watched.bytes;
            w[99] = 1;                               /* before it */
            w[100] = 2;                              /* its first byte */
            w[113] = 3;                              /* behind it */
            w[112] = 4;                              /* its last byte */
            *(volatile long *)(w + 93) = 5;          /* across its beginning, by a byte */
            w[104] = w[104];                         /* the same value */
            char sum = 0;
            for (int i = 0; i < 4096; i++) sum += w[i];
            memset((void *)other, 7, sizeof other);
            return sum & 0 | 9;
        }"#,
    );
    let mut target = target();
    let (process, at) = begin(&mut target, &program);
    let state = watch(&mut target, process, 1, at + 100, HardwareAccess::Write, 13);
    assert!(state.by_pages.contains("debug registers watch 1, 2, 4 or 8 bytes"), "{}", state.by_pages);
    assert_eq!(state.safety, KillSafety::Unsafe);
    assert_eq!(protection(process, at), "r--p");
    assert_eq!(hit(&mut target, process, 1, at + 100), 2);
    assert_eq!(hit(&mut target, process, 1, at + 112), 4);
    assert_eq!(hit(&mut target, process, 1, at + 100), 0);
    assert_eq!(hit(&mut target, process, 1, at + 104), 0, "a write of the same value is a write");
    assert_eq!(hits(&mut target, 1), 4);
    assert_eq!(end(&mut target), 9);
}

#[test]
fn reads_stop_too_and_a_fifth_watch_needs_no_register() {
    let program = program(
        "watched_reads",
        r#"
        int main(void) {
            volatile int *w = (int *)watched.bytes;
            int a = w[20];                           /* read */
            w[20] = 5;                               /* written */
            a += w[21];
            w[0] = 1;                                /* of a register */
            return a + 3;
        }"#,
    );
    let mut target = target();
    let (process, at) = begin(&mut target, &program);
    for id in 1..5 {
        let state = watch(&mut target, process, id, at + 4 * u64::from(id - 1), HardwareAccess::Write, 4);
        assert_eq!(state.by_pages, "");
    }
    let state = watch(&mut target, process, 5, at + 80, HardwareAccess::ReadWrite, 4);
    assert!(state.by_pages.contains("all four debug registers are in use"), "{}", state.by_pages);
    assert_eq!(protection(process, at), "---p");
    assert_eq!(hit(&mut target, process, 5, at + 80), 0);
    assert_eq!(hit(&mut target, process, 5, at + 80), 5);
    assert_eq!(hit(&mut target, process, 1, at), 1, "registers go on");
    clear(&mut target, 5);
    assert_eq!(protection(process, at), "rw-p");
    assert_eq!(end(&mut target), 3);
}

#[test]
fn a_condition_is_looked_at_beside_the_target() {
    let program = program(
        "watched_condition",
        r#"
        int main(void) {
            volatile long *w = (long *)(watched.bytes + 3);
            for (long i = 0; i < 200; i++) *w = i;
            return *w == 199 ? 4 : 5;
        }"#,
    );
    let mut target = target();
    let (process, at) = begin(&mut target, &program);
    let space = space(&mut target, process);
    let mut code = Assembler::default();
    code.constant((at + 3).0);
    code.load(8, false);
    code.constant(150);
    code.op(Op::Equal);
    code.op(Op::Return);
    let kind = BreakpointKind::Hardware { access: HardwareAccess::Write, len: 8 };
    let spec = BreakpointSpec { kind, condition: Some(code.finish().unwrap()), ..breakpoint(1, space, at + 3) };
    set(&mut target, spec);
    assert_eq!(hit(&mut target, process, 1, at + 3), 150);
    assert_eq!(hits(&mut target, 1), 1);
    assert_eq!(end(&mut target), 4);
}

#[test]
fn what_the_kernel_writes_arrives_and_stops() {
    let program = program(
        "watched_calls",
        r#"
        int main(void) {
            int p[2];
            if (pipe(p) || write(p[1], "abcdefgh", 8) != 8) return 1;
            if (read(p[0], watched.bytes + 8, 4) != 4) return 2;           /* into it */
            struct iovec two[2] = { { other, 2 }, { watched.bytes + 12, 2 } };
            if (readv(p[0], two, 2) != 4) return 3;                        /* into it, told in a structure */
            if (write(p[1], watched.bytes + 8, 6) != 6) return 4;          /* out of it */
            if (read(p[0], other, 6) != 6 || memcmp(other, "abcdgh", 6)) return 5;
            if (pipe((int *)(watched.bytes + 2000))) return 6;             /* beside it */
            return 7;
        }"#,
    );
    let mut target = target();
    let (process, at) = begin(&mut target, &program);
    watch(&mut target, process, 1, at + 8, HardwareAccess::ReadWrite, 100);
    assert_eq!(hit(&mut target, process, 1, at + 8), b'a');
    assert_eq!(hit(&mut target, process, 1, at + 13), b'h');
    assert_eq!(end(&mut target), 7);
}

#[test]
fn other_threads_are_seen_and_none_is_missed() {
    let program = program(
        "watched_threads",
        r#"
        volatile long *w = (long *)(watched.bytes + 16);
        static void *run(void *n) {
            for (long i = 0; i < 100; i++) { __atomic_add_fetch(w, 1, __ATOMIC_RELAXED); watched.bytes[(long)n]++; }
            return 0;
        }
        int main(void) {
            pthread_t t[4];
            for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, run, (void *)(100 + i));
            for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
            return *w == 400 ? 8 : 1;
        }"#,
    );
    let mut target = target();
    let (process, at) = begin(&mut target, &program);
    let space = space(&mut target, process);
    let kind = BreakpointKind::Hardware { access: HardwareAccess::Write, len: 9 };
    set(&mut target, BreakpointSpec { kind, auto_continue: true, ..breakpoint(1, space, at + 16) });
    run(&mut target);
    let mut count = 0;
    let code = loop {
        if let Event::Stopped(bundle) = event(&mut target) {
            count += bundle.hits.iter().map(|(_, hits)| hits).sum::<u64>();
            if let StopReason::Exited { status } = bundle.stop.reason {
                break status;
            }
        }
    };
    assert_eq!((count, code), (400, ExitStatus::Code(8)));
}

#[test]
fn the_programs_own_faults_are_its_own_and_children_are_free() {
    let program = program(
        "watched_faults",
        r#"
        #include <setjmp.h>
        sigjmp_buf back;
        static void caught(int s) { siglongjmp(back, 1); }
        /* Before anything is watched: whatever is put in front of it has to leave it its faults. */
        __attribute__((constructor)) static void begin(void) { signal(SIGSEGV, caught); }
        int main(void) {
            volatile char *w = watched.bytes;
            char *own = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (!sigsetjmp(back, 1)) { *own = 1; return 1; }
            w[10] = 1;                                             /* stops */
            if (mprotect(&watched, 4096, PROT_READ)) return 2;
            if (!sigsetjmp(back, 1)) { w[10] = 2; return 3; }      /* the program's own fault, in the very page */
            if (mprotect(&watched, 4096, PROT_READ | PROT_WRITE)) return 4;
            w[10] = 3;                                             /* stops */
            pid_t child = fork();
            if (!child) { w[10] = 4; _exit(w[10]); }
            int status;
            if (waitpid(child, &status, 0) != child || status != 4 << 8) return 5;
            if (w[10] != 3) return 6;
            return 7;
        }"#,
    );
    let mut target = target();
    let (process, at) = begin(&mut target, &program);
    watch(&mut target, process, 1, at + 9, HardwareAccess::Write, 3);
    let mut plan_hit = |expected| {
        let mut plan = Plan::run_all(generation(&target));
        plan.events.pass_signals = 1 << libc::SIGSEGV | 1 << libc::SIGCHLD;
        target.resume(&plan).unwrap();
        let bundle = stop(&mut target);
        assert_eq!(bundle.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(1)] });
        let space = space(&mut target, process);
        let mut byte = [0];
        target.read_memory(space, at + 10, &mut byte).unwrap();
        assert_eq!(byte[0], expected);
    };
    plan_hit(1);
    plan_hit(3);
    let mut plan = Plan::run_all(generation(&target));
    plan.events.pass_signals = 1 << libc::SIGSEGV | 1 << libc::SIGCHLD;
    target.resume(&plan).unwrap();
    assert_eq!(stop(&mut target).stop.reason, StopReason::Exited { status: ExitStatus::Code(7) });
}

#[test]
fn stacks_code_and_control_blocks_are_refused_and_say_why() {
    let program = program("watched_refusals", "int main(void) { volatile char *w = watched.bytes; return w[0]; }");
    let mut target = target();
    let (process, at) = begin(&mut target, &program);
    let stop = target.last_stop().unwrap();
    let registers = stop.registers[0].1.general.clone();
    let (sp, fs_base) = (Va(registers[19]), Va(registers[21]));
    let mut refused =
        |at, len| try_watch(&mut target, process, 1, at, HardwareAccess::Write, len).unwrap_err().to_string();
    assert!(refused(sp - 64, 16).contains("stack"));
    assert!(refused(fs_base, 16).contains("control block"));
    assert!(refused(symbol(&program, "main"), 16).contains("code"));
    assert!(refused(Va(0x1000), 16).contains("nothing is mapped"));
    watch(&mut target, process, 1, at, HardwareAccess::Write, 16);
    assert_eq!(end(&mut target), 1);
}

#[test]
fn a_step_over_a_call_and_a_detach_leave_everything_as_it_was() {
    let program = program(
        "watched_detach",
        r#"
        int main(void) {
            volatile char *w = watched.bytes;
            for (;;) { w[50]++; usleep(100); if (read(-1, watched.bytes, 10) != -1 || errno != EBADF) return 1; }
        }"#,
    );
    let mut target = target();
    let (process, at) = begin(&mut target, &program);
    watch(&mut target, process, 1, at + 49, HardwareAccess::Write, 3);
    for expected in 1..4 {
        assert_eq!(hit(&mut target, process, 1, at + 50), expected);
    }
    target.detach(process, DetachMode::Deliver).unwrap();
    assert_eq!(protection(process, at), "rw-p");
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    assert!(status.contains("TracerPid:\t0"), "{status}");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(process.0 as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

/// What the program said in the end, and how it ended. It may get SIGSYS and whatever ends it.
fn last_words(target: &mut LiveTarget) -> (String, StopReason) {
    let mut plan = Plan::run_all(generation(target));
    plan.events.pass_signals = u128::MAX;
    target.resume(&plan).unwrap();
    let mut text = Vec::new();
    loop {
        match event(target) {
            Event::Output(output) => text.extend(output.bytes),
            Event::Stopped(bundle) => return (String::from_utf8(text).unwrap(), bundle.stop.reason),
            _ => {}
        }
    }
}

/// What robust mutexes need: `robust` makes one, `state` tells how its lock is got by somebody else.
const ROBUST: &str = r#"
    #include <time.h>
    static pthread_mutex_t *robust(void *at, int shared) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        if (shared) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutex_init(at, &attributes);
        return at;
    }
    static const char *state(pthread_mutex_t *mutex) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 10;
        int result = pthread_mutex_timedlock(mutex, &until);
        return result == EOWNERDEAD ? "its owner died" : result ? strerror(result) : "it was free";
    }
"#;

#[test]
fn a_robust_mutex_in_the_pages_is_released_as_its_owner_ends() {
    let source = r#"
        #include <linux/filter.h>
        #include <linux/seccomp.h>
        #include <stddef.h>
        #include <sys/prctl.h>
        #include <sys/syscall.h>
        pthread_mutex_t *mutex;
        static void *ends(void *how) {
            pthread_mutex_lock(mutex);
            if (how) {
                /* Ended by the kernel, alone. */
                struct sock_filter code[] = {
                    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
                    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                };
                struct sock_fprog filter = { 4, code };
                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
                syscall(SYS_getppid);
            }
            return 0;
        }
        int main(void) {
            mutex = robust(watched.bytes + 64, 0);
            for (long how = 0; how < 2; how++) {
                pthread_t thread;
                pthread_create(&thread, 0, ends, (void *)how);
                pthread_join(thread, 0);
                printf("%s\n", state(mutex));
                pthread_mutex_consistent(mutex);
                pthread_mutex_unlock(mutex);
            }
            return 7;
        }"#;
    let program = program("watched_robust", &format!("{ROBUST}{source}"));
    for access in [HardwareAccess::Write, HardwareAccess::ReadWrite] {
        let mut target = target();
        let (process, at) = begin(&mut target, &program);
        watch(&mut target, process, 1, at + 2000, access, 100);
        let (text, reason) = last_words(&mut target);
        assert_eq!(text, "its owner died\nits owner died\n", "{access:?}");
        assert_eq!(reason, StopReason::Exited { status: ExitStatus::Code(7) });
    }
}

/// The kernel walks through all mutexes that a thread holds: one that it cannot touch must not keep it from the next.
#[test]
fn a_robust_mutex_behind_one_in_the_pages_is_released_as_the_process_ends() {
    let source = r#"
        int main(int argc, char **argv) {
            pthread_mutex_t *both = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            pthread_mutex_t *mutexes[] = { robust(both, 1), robust(watched.bytes + 64, 0), robust(watched.bytes + 128, 0),
                                           robust(both + 1, 1) };
            int begin[2];
            if (pipe(begin)) return 1;
            if (!fork()) {
                char byte;
                close(begin[1]);
                read(begin[0], &byte, 1);                    /* until the other one is gone */
                const char *first = state(both), *second = state(both + 1);
                FILE *file = fopen(argv[2], "w");
                fprintf(file, "%s, %s.", first, second);
                fclose(file);
                _exit(0);
            }
            for (int i = 0; i < 4; i++) pthread_mutex_lock(mutexes[i]);
            watched.bytes[2000] = 1;
            switch (argv[1][0]) {
                case 'k': kill(getpid(), SIGKILL); break;
                case 't': kill(getpid(), SIGTERM); break;
                case 's': *(volatile int *)8 = 1; break;
                default: _exit(3);
            }
            for (;;) pause();
        }"#;
    let program = program("watched_robust_both", &format!("{ROBUST}{source}"));
    let folder = tempfile::tempdir().unwrap();
    for access in [HardwareAccess::Write, HardwareAccess::ReadWrite] {
        for how in ["kill", "term", "segv", "exit"] {
            let told = folder.path().join(format!("{how} {access:?}"));
            let mut target = target();
            let (process, _) = create(&mut target, &program, &[how, told.to_str().unwrap()]);
            let space = space(&mut target, process);
            set(&mut target, breakpoint(1000, space, symbol(&program, "main")));
            go(&mut target);
            clear(&mut target, 1000);
            let at = symbol(&program, "watched");
            watch(&mut target, process, 1, at + 1999, access, 9);
            let mut plan = Plan::run_all(generation(&target));
            plan.events.pass_signals = u128::MAX;
            target.resume(&plan).unwrap();
            assert_eq!(stop(&mut target).stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(1)] });
            assert!(matches!(last_words(&mut target).1, StopReason::Exited { .. }));
            let words = || fs::read_to_string(&told).unwrap_or_default();
            // Somebody has to let the child go.
            let mut pass = || drop(target.wait_event(Some(std::time::Duration::from_millis(1)), &[]).unwrap());
            outpost_testkit::wait_until("the other one tells", LIMIT, || {
                pass();
                words().ends_with('.')
            });
            assert_eq!(words(), "its owner died, its owner died.", "{how} {access:?}");
        }
    }
}
