//! A session at a terminal, as a user has it: the line editor's at the prompt, the debuggee's while it runs.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::process::{Command, Stdio};
use std::time::Duration;

use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect, Regex, Session};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

struct Terminal {
    session: OsSession,
    _state: tempfile::TempDir,
}

impl Terminal {
    fn cdb(arguments: &[&str]) -> Terminal {
        let state = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // The terminal has its size before the debugger asks for it.
        command.args(["-c", "stty columns 120 rows 50 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_cdb")]);
        command.args(arguments).env("XDG_STATE_HOME", state.path()).env("TERM", "xterm");
        let mut session = Session::spawn(command).unwrap();
        session.set_expect_timeout(Some(LIMIT));
        Terminal { session, _state: state }
    }

    fn expect(&mut self, pattern: &str) {
        if let Err(error) = self.session.expect(Regex(pattern)) {
            panic!("{pattern}: {error}");
        }
    }

    fn line(&mut self, text: &str) {
        // As the Enter key has it.
        self.session.send(format!("{text}\r")).unwrap();
    }

    /// Resumes, and waits until what is typed is no longer the line editor's.
    fn go(&mut self) {
        self.line("g");
        self.expect("g[^\\n]*\n");
    }

    fn ends(mut self) {
        self.session.expect(Eof).unwrap();
        let status = self.session.get_process().wait().unwrap();
        assert!(format!("{status:?}").starts_with("Exited(") && format!("{status:?}").ends_with(", 0)"), "{status:?}");
    }
}

#[test]
fn a_debuggee_is_typed_to_while_it_runs_and_ctrl_c_breaks_in() {
    let mut terminal = Terminal::cdb(&["sqlite3", "-interactive", ":memory:"]);
    terminal.expect("0:000> ");
    terminal.line("g");
    terminal.expect("sqlite> ");
    terminal.line("select 6 * 7;");
    terminal.expect("[\r\n]42\r");
    terminal.session.send(ControlCode::EndOfText).unwrap();
    terminal.expect("Break-in");
    terminal.expect("0:000> ");
    terminal.line("? 6*7");
    terminal.expect("= 00000000`0000002a");
    terminal.expect("0:000> ");
    terminal.go();
    terminal.line("select 7 * 7;");
    terminal.expect("[\r\n]49\r");
    terminal.line(".quit");
    terminal.expect("Exit process, code 0");
    terminal.expect("NoTarget> ");
    terminal.line("q");
    terminal.ends();
}

#[test]
fn tab_completes_commands_and_lists_symbols() {
    let mut terminal = Terminal::cdb(&["sqlite3", ":memory:"]);
    terminal.expect("0:000> ");
    terminal.session.send(".linkst\t").unwrap();
    terminal.expect("\\.linkstats");
    terminal.line("");
    terminal.expect("round trips");
    terminal.expect("0:000> ");
    terminal.session.send("x ld_linux*!_dl_al\t\t").unwrap();
    terminal.expect("_dl_allocate_tls");
    terminal.session.send(ControlCode::EndOfText).unwrap();
    terminal.expect("q quits");
    terminal.expect("0:000> ");
    // Answers are typed at a prompt of their own.
    terminal.line("r rbx =");
    terminal.expect("Input> ");
    terminal.line("4d2");
    terminal.expect("0:000> ");
    terminal.line("r rbx");
    terminal.expect("rbx=00000000000004d2");
    terminal.expect("0:000> ");
    terminal.line("q");
    terminal.ends();
}

#[test]
fn the_end_of_input_is_typed_too() {
    let mut terminal = Terminal::cdb(&["-G", "cat"]);
    terminal.expect("0:000> ");
    terminal.go();
    terminal.line("both ways");
    terminal.expect("both ways\r+\nboth ways");
    terminal.session.send(ControlCode::EndOfTransmission).unwrap();
    terminal.expect("NoTarget> ");
    terminal.line("q");
    terminal.ends();
}

#[test]
fn without_a_terminal_a_debuggee_finds_the_end_of_its_input() {
    let output = Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(["-c", "g; q", "sh", "-c", "echo before; cat; echo after"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("before") && text.contains("after") && text.contains("Exit process, code 0"), "{text}");
    assert_eq!(output.status.code(), Some(0));
}

/// The debuggee is told of the window's size while it runs.
#[test]
fn the_window_is_the_debuggees_as_well() {
    let mut terminal =
        Terminal::cdb(&["-G", "sh", "-c", "until [ \"$(stty size)\" = '40 100' ]; do :; done; echo resi''zed"]);
    terminal.expect("0:000> ");
    terminal.go();
    terminal.session.get_process_mut().set_window_size(100, 40).unwrap();
    terminal.expect("resized");
    terminal.expect("NoTarget> ");
    terminal.line("q");
    terminal.ends();
}
