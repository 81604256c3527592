//! Checks of the functional specification (remote debugging, section 14) that need programs on both sides, by number.
//! 12 and 14 are in `reverse` and `discovery`.

use std::net::TcpListener;

use outpost_testkit::{state, tracer, wait_until};

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
