//! Debuggees in containers: seen from outside, and by a server that stands inside.

use std::path::PathBuf;

use outpost_testkit::{Container, ProcessServer, skip, text_differences, tracer, wait_until};

use crate::support::{Ended, LIMIT, Program, cdb, dbgsrv, run};

/// Works on for ever, and once there is a file `/fork`, makes a child that executes the program again.
const INSIDE: &str = "\
#include <stdio.h>
#include <unistd.h>
int rounds;
__attribute__((noinline)) int inside_work(int amount) { rounds += amount; return rounds; } // inside
int program(char **argv) {
    printf(\"%s is %d\\n\", argv[1] ? argv[1] : \"program\", getpid());
    fflush(stdout);
    for (;;) {
        inside_work(7);
        usleep(1000);
        if (argv[1] || access(\"/fork\", F_OK))
            continue;
        unlink(\"/fork\");
        if (fork() == 0) {
            execl(argv[0], argv[0], \"again\", NULL);
            _exit(1);
        }
    }
}
";

/// What stands at the same path on this machine.
const OUTSIDE: &str =
    "int outside_only(void) { return 3; } // outside\nint program(char **argv) { return outside_only(); }";

fn start(user_namespace: bool) -> Option<Container> {
    let mut container = Container::start(INSIDE, OUTSIDE, user_namespace)?;
    assert_eq!(container.line(), "program is 1");
    Some(container)
}

fn shows(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    for words in words {
        assert!(ended.text.contains(words), "{words}: {}", ended.text);
    }
}

/// It is as it was: runs, is traced by nobody, its text is its files'.
fn assert_let_go(pid: u32) {
    wait_until("it is let go", LIMIT, || tracer(pid) == 0);
    assert_eq!(text_differences(pid), []);
}

#[test]
fn modules_symbols_and_sources_are_those_of_the_container() {
    for user_namespace in [false, true] {
        let Some(container) = start(user_namespace) else { return };
        let server = ProcessServer::start();
        let pid = container.pid().to_string();
        let script = "|; bp prog!inside_work; g; k; dv; x prog!*_only; lsa .; lm; bc *; qd";
        let ended = run(["-premote", server.connection(), "-p", &pid, "-c", script]);
        let program = container.program().display().to_string();
        shows(
            &ended,
            &[
                &format!("name: {program}"),
                "Breakpoint 0 hit",
                &format!("prog!inside_work+0x7 [{program}.c @ 4]"),
                "amount = 0n7",
                "prog!main",
                // At the same path here stands another program, whose source stands beside it.
                ">    4: __attribute__((noinline)) int inside_work(int amount) { rounds += amount; return rounds; } // inside",
                &format!("(DWARF private)  {program} (on the target's machine)"),
                "libc.so.6 (on the target's machine)",
            ],
        );
        assert!(!ended.text.contains("outside"), "{}", ended.text);
        assert_let_go(container.pid());
    }
}

/// A control group named as container engines name theirs; removed with the value, once its process is gone.
struct ControlGroup(PathBuf);

impl ControlGroup {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// In the unified hierarchy, or in one of the old ones (cgroups(7)).
    fn with(pid: u32) -> Option<ControlGroup> {
        let engine = format!("engine{pid}");
        ["", "unified", "pids", "freezer"].iter().find_map(|hierarchy| {
            let group =
                ControlGroup(PathBuf::from("/sys/fs/cgroup").join(hierarchy).join(&engine).join(ControlGroup::ID));
            std::fs::create_dir_all(&group.0).ok()?;
            // Elsewhere than in a hierarchy it is a folder like any other.
            std::fs::metadata(group.0.join("cgroup.procs")).ok()?;
            std::fs::write(group.0.join("cgroup.procs"), pid.to_string()).ok()?;
            let shown = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            shown.contains(&engine).then_some(group)
        })
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        wait_until("the control group is empty", LIMIT, || !self.0.exists() || std::fs::remove_dir(&self.0).is_ok());
        let _ = std::fs::remove_dir(self.0.parent().unwrap());
    }
}

#[test]
fn lists_of_processes_name_the_container() {
    let Some(container) = start(false) else { return };
    let pid = container.pid();
    let Some(group) = ControlGroup::with(pid) else { return skip("no control group can be made here") };
    let server = ProcessServer::start();
    let ended = run(["-premote", server.connection(), "-p", &pid.to_string(), "-c", ".tlist -c prog; .tlist prog; qd"]);
    let name = format!("engine{pid}:{}", &ControlGroup::ID[..12]);
    let lines: Vec<&str> = ended.text.lines().filter(|line| line.contains(&format!("0n{pid} prog"))).collect();
    assert_eq!(lines.len(), 2, "{}", ended.text);
    let shown = format!("[{name}, pid {} inside]", inner_id(pid));
    assert!(lines[0].contains(&shown) && !lines[1].contains(&name), "{lines:#?}");
    drop(container);
    drop(group);
}

/// What a process is called in its own pid namespace.
fn inner_id(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    let ids: Vec<&str> = line.split_whitespace().skip(1).collect();
    assert_eq!(ids.len(), 2, "it has a namespace of its own");
    ids[1].to_owned()
}

#[test]
fn forks_and_execs_in_a_container_are_followed() {
    let Some(mut container) = start(false) else { return };
    let script = ".childdbg 1; sxe cpr; .echo ready; g; .echo forked; |; g; .echo executed; |; \
                  bp prog!inside_work; g; k; lsa .; bc *; |0s; qd";
    let debugger = Program::start(&mut cdb(["-p", &container.pid().to_string(), "-pd", "-c", script]));
    debugger.line("ready");
    std::fs::write(container.path("/fork"), "").unwrap();
    let ended = debugger.end();
    let program = container.program().display().to_string();
    shows(&ended, &[&format!("Executed {program}"), "Breakpoint 0 hit", "// inside", "prog!main"]);
    let between = |from: &str, to: &str| ended.text.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
    assert!(between("forked\n", "executed\n").contains(&format!("child  name: {program}")), "{}", ended.text);
    // The child knows itself by its number in there.
    assert_eq!(container.line(), "again is 2");
    assert_let_go(container.pid());
}

#[test]
fn a_server_inside_is_reached_through_nsenter() {
    for user_namespace in [false, true] {
        let Some(container) = start(user_namespace) else { return };
        container.bring(&dbgsrv());
        let all = if user_namespace { "-U -m -p -u --preserve-credentials" } else { "-m -p -u" };
        let transport = format!("exec:nsenter -t {} {all} -r -- /dbgsrv --stdio", container.pid());
        // It is process 1 in there, and the machine has the container's name.
        let script = ".tlist; |; bp prog!inside_work; g; k; lsa .; bc *; qd";
        let ended = run(["-premote", &transport, "-p", "1", "-c", script]);
        let program = container.program().display().to_string();
        shows(&ended, &[" 0n1 prog", "id: 1  attach", "Breakpoint 0 hit", "prog!main", "// inside", &program]);
        assert!(!ended.text.contains("outside"), "{}", ended.text);
        assert_let_go(container.pid());
    }
}

/// Locks record who holds them by the ids of the container, which are others than ours.
#[test]
fn a_deadlock_in_a_container_is_one_seen_from_outside() {
    const LOCKS: &str = "\
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;
pthread_barrier_t both;
void *one(void *p) { pthread_mutex_lock(&first); pthread_barrier_wait(&both); pthread_mutex_lock(&second); return p; }
void *two(void *p) { pthread_mutex_lock(&second); pthread_barrier_wait(&both); pthread_mutex_lock(&first); return p; }
int program(char **argv) {
    pthread_t threads[2];
    pthread_barrier_init(&both, 0, 2);
    pthread_create(&threads[0], 0, one, 0);
    pthread_create(&threads[1], 0, two, 0);
    puts(\"ready\");
    fflush(stdout);
    pthread_join(threads[0], 0);
    return 0;
}
";
    let Some(mut container) = Container::start(LOCKS, OUTSIDE, false) else { return };
    assert_eq!(container.line(), "ready");
    let pid = container.pid().to_string();
    let mut ended = run(["-p", &pid, "-c", "q"]);
    wait_until("all of them wait", LIMIT, || {
        ended = run(["-p", &pid, "-c", "!locks; !analyze -hang -v; !cs prog!first; ~1s; !tcb; qd"]);
        ended.text.contains("HANG: DEADLOCK")
    });
    shows(
        &ended,
        &[
            "CAUSE: thread 1 \"prog\" waits for the pthread mutex prog!second",
            "which thread 2 \"prog\" holds",
            "  0 \"prog\" waits for the end of thread ",
            "locked by thread 1, waited for",
            "(in its own pid namespace, unless the block is damaged)",
        ],
    );
    assert!(!ended.text.contains("has ended"), "{}", ended.text);
    assert_let_go(container.pid());
}
