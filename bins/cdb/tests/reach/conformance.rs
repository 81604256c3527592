//! Checks of the functional specification (remote debugging, section 14) that need programs on both sides, by number.
//!
//! | Check | Where it is, or whose it is |
//! | --- | --- |
//! | 4, 5, 8, 10, 11 | here |
//! | 12, 14 | `reverse`, `discovery` |
//! | 6, 7, 16 | `bins/dbgsrv/tests`: `life_cycle`, `sessions`, `hostile` |
//! | 13 | `bins/dbengprx/tests/relay.rs` |
//! | 1, 2, 3 | the debugging server's: commands of several clients in one session |
//! | 9 | the kernel connection server's: its links have one client each |
//! | 15 | the debugging server's: only a debugger has a terminal to keep silent |
//! | 17 | the debugger's: secure mode constrains commands, of which a process server knows none |

use std::net::TcpListener;
use std::process::Command;

use outpost_testkit::{Running, skip, state, tracer, wait_until};

use crate::support::{LIMIT, Program, cdb, number_behind, run, signal};

/// With 51 and 52 busy, `port=51:60` listens on 53 and lists `53:60`.
#[test]
fn check_4_a_range_listens_on_its_first_free_port_and_lists_the_rest() {
    let (first, _taken) = (0..)
        .find_map(|_| {
            let one = TcpListener::bind("127.0.0.1:0").ok()?;
            let first = one.local_addr().ok()?.port();
            let second = TcpListener::bind(("127.0.0.1", first.checked_add(1)?)).ok()?;
            // Free a moment ago, and this low nobody else is given it soon.
            TcpListener::bind(("127.0.0.1", first.checked_add(2)?)).ok()?;
            Some((first, [one, second]))
        })
        .unwrap();
    let server = Program::server(&["-t", &format!("tcp:port={first}:{}", first + 9)]);
    let line = server.line("listening on");
    let chosen = number_behind(&line, "Port=");
    assert!(chosen > first + 1, "{line}");
    assert!(line.ends_with(&format!("tcp:Port={chosen}:{}", first + 9)), "{line}");
    let shown = format!("tcp:Port={chosen}:{}", first + 9);
    wait_until("it is listed", LIMIT, || run(["-QR", "localhost"]).text.contains(&shown));
}

/// `pipe=p%d_%x` expands to pid and tid; a second server on the same name fails.
#[test]
fn check_5_codes_in_a_pipe_name_are_replaced_and_a_live_name_is_refused() {
    let server = Program::server(&["-t", "npipe:pipe=p%d_%x"]);
    let pid = server.pid();
    let name = format!("p{pid}_{pid:x}");
    assert_eq!(server.connection(), format!("npipe:Pipe={name},Server=."));
    let second = Program::server(&["-t", &format!("npipe:pipe={name}")]).end();
    assert_eq!(second.code, Some(1), "{}", second.text);
    assert!(second.text.contains(&format!("the pipe name '{name}' is in use by process {pid}")), "{}", second.text);
}

/// Smart client symbols come from the client's disk; the server opens no symbol file.
#[test]
fn check_8_symbols_come_from_the_clients_disk_and_the_server_opens_none() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let source = "int counter; __attribute__((noinline)) int told_only_there(int amount) { return counter += amount; }\n\
                  int usleep(unsigned); int main(void) { for (;;) { told_only_there(3); usleep(1000); } }";
    std::fs::write(path("p.c"), source).unwrap();
    std::fs::create_dir(path("symbols")).unwrap();
    let tool = |line: &str| {
        let mut words = line.split_whitespace();
        let status = Command::new(words.next().unwrap()).args(words).current_dir(place.path()).status().unwrap();
        assert!(status.success(), "{line}");
    };
    tool("gcc -g -O0 -o prog p.c");
    tool("objcopy --only-keep-debug prog symbols/prog.debug");
    tool("objcopy --strip-all --add-gnu-debuglink=symbols/prog.debug prog");
    let running = Running::start(path("prog"), &[]);

    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return skip("strace cannot trace here");
    }
    let log = path("opened");
    let calls = "trace=open,openat,openat2,execve";
    let mut traced = Command::new("strace");
    traced.args(["-f", "-o", &log, "-e", calls]).arg(crate::support::dbgsrv()).args(["-t", "tcp:port=0"]);
    let strace = Program::start(&mut traced);
    let connection = strace.connection();
    let script = "bp prog!told_only_there; g; k; dv; x prog!counter; lm; qd";
    let symbols = path("symbols");
    let arguments = ["-premote", &connection, "-y", &symbols, "-p", &running.pid().to_string(), "-c", script];
    let ended = run(arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    for words in ["p.c @ 1]", "prog!main", "amount = 0n3", "(DWARF private)", "symbols/prog.debug"] {
        assert!(ended.text.contains(words), "{words}: {}", ended.text);
    }
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.pid())).unwrap();
    signal(children.trim().parse().unwrap(), "TERM");
    strace.end();

    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains(&format!("/proc/{}/maps", running.pid())), "the worker was watched, too: {log}");
    let place = place.path().to_str().unwrap();
    let opened: Vec<&str> = log.lines().filter(|line| line.contains(place) || line.contains(".debug")).collect();
    assert!(opened.is_empty(), "neither the debug file nor even the program: {opened:#?}");
}

/// `-cs` + `-pb -p`: no user instruction executed before attach.
#[test]
fn check_10_a_suspended_program_begins_when_a_debugger_attaches() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("ran");
    let script = format!("echo ran >{}; exec sleep 1000", file.display());
    let server = Program::server(&["-t", "tcp:port=0", "-cs", "sh", "-c", &script]);
    let line = server.line("created process");
    let (_, rest) = line.split_once("created process ").unwrap();
    let pid: u32 = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    wait_until("it is held", LIMIT, || state(pid) == Some('T'));
    // Its loader would have mapped the C library.
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!maps.contains("libc.so") && !file.exists(), "{maps}");
    let arguments = ["-premote", &server.connection(), "-pb", "-p", &pid.to_string(), "-c", "g"];
    let debugger = Program::start(&mut cdb(arguments));
    wait_until("it runs", LIMIT, || file.exists());
    assert_ne!(tracer(pid), 0, "under the debugger");
    drop(debugger);
    signal(pid, "KILL");
}

/// `-pc`/`-cimp`: the server's command line is run; without a pending one, `-cimp` fails clearly.
#[test]
fn check_11_a_pending_command_line_is_run_once() {
    let server = Program::server(&["-t", "tcp:port=0", "-pc", "/bin/echo", "from the server", "-x"]);
    let connection = server.connection();
    let ended = run(["-premote", &connection, "-cimp", "-c", "|; g; q"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("create  name: ") && ended.text.contains("/bin/echo"), "{}", ended.text);
    assert!(ended.text.contains("from the server -x"), "{}", ended.text);
    let ended = run(["-premote", &connection, "-cimp"]);
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(ended.text.contains("the server holds no command line pending"), "{}", ended.text);
}
