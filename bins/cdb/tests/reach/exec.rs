//! `exec:`, a command whose input and output are the link.

use outpost_testkit::{sleeper_in_its_own_network, state, tracer, wait_until};

use crate::support::{LIMIT, Program, assert_debugged, cdb, dbgsrv, pid_in, run, signal, sleeper};

/// A shell that writes its process id and becomes a server, whose session ends with its link.
fn server_with_pid_in(file: &std::path::Path) -> String {
    format!("exec:sh -c 'echo $$ >{}; exec {} --stdio --grace 0'", file.display(), dbgsrv().display())
}

#[test]
fn a_process_is_debugged_through_a_command_and_nothing_of_it_stays() {
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let mut sleeper = sleeper();
    let ended = run(["-premote", &server_with_pid_in(&pid), "-p", &sleeper.pid().to_string(), "-c", "r rip; qd"]);
    assert_debugged(&ended, &mut sleeper);
    assert!(!ended.text.contains("dbgsrv:"), "the log of the server is not the user's: {}", ended.text);
    let server = pid_in(&pid);
    wait_until("the server ends", LIMIT, || matches!(state(server), None | Some('Z')));
}

#[test]
fn two_pipes_are_as_good_as_a_socket() {
    let mut sleeper = sleeper();
    let transport = format!("exec:@{{sh -c 'cat | {} --stdio | cat'}}", dbgsrv().display());
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("stack");
    let script = format!("r rip; .writemem {} @rsp L?0x100; qd", file.display());
    let ended = run(["-premote", &transport, "-p", &sleeper.pid().to_string(), "-c", &script]);
    assert_debugged(&ended, &mut sleeper);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0x100, "{}", ended.text);
}

#[test]
fn another_namespace_is_entered_by_nsenter() {
    let Some(mut inside) = sleeper_in_its_own_network() else { return };
    let pid = inside.pid();
    let transport = format!("exec:nsenter -t {pid} -n -- {} --stdio", dbgsrv().display());
    let ended = run(["-premote", &transport, "-p", &pid.to_string(), "-c", "r rip; qd"]);
    assert_debugged(&ended, &mut inside);
}

#[test]
fn failing_commands_are_explained_in_their_own_words() {
    let fails = |command: &str, words: &str| {
        let ended = run(["-premote", &format!("exec:{command}"), "-p", "1"]);
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        assert!(ended.text.contains(words), "{command}: {}", ended.text);
    };
    fails("sh -c 'echo no such container: web >&2; exit 1'", "sh ended with status 1: no such container: web");
    fails("sh -c 'exec /no/such/dbgsrv --stdio'", "sh ended with status 127");
    fails("sh -c 'exec /no/such/dbgsrv --stdio'", "/no/such/dbgsrv: not found");
    fails("outpost-no-such-program", "cannot start outpost-no-such-program: No such file");
    // Whoever would ask for a password finds no terminal, rather than wait where nobody sees it.
    fails("sh -c 'read -r password </dev/tty'", "/dev/tty");
    // What prints is no server.
    fails("echo Welcome", "echo ended with status 0");
    let wrong = run(["-premote", "exec:sh -c 'x", "-p", "1"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.text);
}

#[test]
fn ctrl_c_does_not_reach_the_command_and_a_killed_debugger_ends_it() {
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let mut sleeper = sleeper();
    let arguments = ["-premote", &server_with_pid_in(&pid), "-p", &sleeper.pid().to_string(), "-c", "g"];
    let mut debugger = Program::start(&mut cdb(arguments));
    let server = pid_in(&pid);
    wait_until("it is attached", LIMIT, || tracer(sleeper.pid()) != 0);
    let field = |at: usize| {
        let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(at).unwrap().to_owned()
    };
    // Group and session are its own, and it has no terminal: Ctrl+C goes to the group in front of one.
    assert_eq!((field(2), field(3), field(4)), (server.to_string(), server.to_string(), "0".to_owned()));
    debugger.child.kill().unwrap();
    wait_until("the server ends", LIMIT, || matches!(state(server), None | Some('Z')));
    wait_until("the process is let go", LIMIT, || tracer(sleeper.pid()) == 0 && state(sleeper.pid()) == Some('S'));
    assert!(sleeper.is_running());
}

#[test]
fn a_command_that_dies_within_a_session_is_named() {
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let sleeper = sleeper();
    let transport = format!(
        "exec:sh -c 'echo $$ >{}; cat | {} --stdio --grace 0 | cat; echo the container was removed >&2; exit 137'",
        pid.display(),
        dbgsrv().display()
    );
    let debugger = Program::start(&mut cdb(["-premote", &transport, "-p", &sleeper.pid().to_string(), "-c", "g"]));
    let shell = pid_in(&pid);
    debugger.line("Attached to process");
    // Children are in the order in which they were made; the end of the first is that of the server's input.
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let first = children.split_whitespace().next().unwrap();
    assert_eq!(std::fs::read_to_string(format!("/proc/{first}/comm")).unwrap().trim(), "cat");
    signal(first.parse().unwrap(), "KILL");
    let ended = debugger.end();
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    assert!(ended.text.contains("sh ended with status 137: "), "{}", ended.text);
    assert!(ended.text.contains("the container was removed"), "{}", ended.text);
    wait_until("the process is let go", LIMIT, || tracer(sleeper.pid()) == 0);
}

/// The session of a killed debugger waits behind the command that carried its link, for the next such command.
#[test]
fn a_killed_debuggers_session_is_taken_over_by_the_same_command() {
    let mut sleeper = sleeper();
    let transport = format!("exec:{} --stdio", dbgsrv().display());
    let pid = sleeper.pid().to_string();
    let mut first = Program::start(&mut cdb(["-premote", &transport, "-p", &pid, "-c", ".sessions; g"]));
    // Other tests' sessions of this user are listed as well.
    let own = format!("Processes: 0n{pid}");
    first.line(&own);
    let lines = first.lines();
    let number = lines.iter().find_map(|line| line.strip_prefix("* ")?.split(' ').next());
    let number = number.unwrap_or_else(|| panic!("{lines:#?}"));
    wait_until("it runs", LIMIT, || state(sleeper.pid()) == Some('S'));
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let mut text = String::new();
    // The server may notice the death a moment later.
    wait_until("it can be taken over", LIMIT, || {
        let ended = run(["-premote", &transport, "-resume", number, "-c", "r rip; qd"]);
        text = ended.text;
        ended.code == Some(0)
    });
    assert!(text.contains("rip="), "{text}");
    assert_eq!(tracer(sleeper.pid()), 0, "{text}");
    assert!(sleeper.is_running());
    let again = run(["-premote", &transport, "-resume", number, "-c", "q"]);
    assert_eq!(again.code, Some(1), "{}", again.text);
}
