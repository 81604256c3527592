//! What a user sees when the link to a server is lost: little, or a clear end.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost_testkit::link::DelayLink;
use outpost_testkit::{ProcessServer, Running, state, tracer, wait_until};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A debugger that is typed to, and what it said so far.
struct Debugger {
    child: Child,
    input: Option<ChildStdin>,
    said: Arc<Mutex<String>>,
}

impl Debugger {
    fn start(arguments: &[&str]) -> Debugger {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cdb"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for mut stream in streams {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    *said.lock().unwrap() += &String::from_utf8_lossy(&buffer[..count]);
                }
            });
        }
        let input = child.stdin.take();
        Debugger { child, input, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said these words behind `from`; gives where that ends.
    fn expect(&self, words: &str, from: usize) -> usize {
        let find = || self.said().get(from..).and_then(|said| said.find(words)).map(|at| from + at + words.len());
        let begin = std::time::Instant::now();
        loop {
            if let Some(at) = find() {
                return at;
            }
            assert!(begin.elapsed() < LIMIT, "not said: {words}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").and_then(|()| input.flush()).unwrap();
    }

    /// As Ctrl+C does.
    fn interrupt(&self) {
        let status = Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Its exit status.
    fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the debugger ends", LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn link_to(server: &ProcessServer) -> DelayLink {
    let port = server.connection().split(['=', ',']).nth(1).unwrap().parse().unwrap();
    DelayLink::start(port, Duration::ZERO).unwrap()
}

fn through(link: &DelayLink) -> String {
    format!("tcp:server=127.0.0.1,port={}", link.port())
}

#[test]
fn a_cut_link_is_told_and_resumed_at_the_prompt_and_while_the_debuggee_runs() {
    let server = ProcessServer::start();
    let link = link_to(&server);
    let mut debuggee = Running::start("sleep", &["1000"]);
    let mut debugger = Debugger::start(&["-premote", &through(&link), "-p", &debuggee.pid().to_string()]);
    debugger.expect("Attached to process", 0);
    link.cut();
    // Away from a terminal what happens at the prompt is shown with the next command.
    debugger.say(".time");
    debugger.expect("System Uptime", 0);
    let at = debugger.expect("link lost", 0);
    let at = debugger.expect("reconnecting ...", at);
    let at = debugger.expect("link resumed", at);
    debugger.say("g");
    wait_until("it runs", LIMIT, || state(debuggee.pid()) != Some('t'));
    link.cut();
    let at = debugger.expect("link resumed", at);
    // Ctrl+C at a terminal.
    debugger.interrupt();
    debugger.say(".linkstats");
    let at = debugger.expect("links resumed", at);
    debugger.say("qd");
    assert_eq!(debugger.ends(), Some(0), "{}", debugger.said());
    let figures = debugger.said()[at..].lines().next().unwrap_or_default().split_whitespace().last().map(str::to_owned);
    assert_eq!(figures.as_deref(), Some("2"), "{}", debugger.said());
    assert_eq!(tracer(debuggee.pid()), 0);
    assert!(debuggee.is_running());
}

#[test]
fn a_killed_debuggers_session_is_taken_over() {
    let server = ProcessServer::start();
    let debuggee = Running::start("sleep", &["1000"]);
    let pid = debuggee.pid().to_string();
    let mut first = Debugger::start(&["-premote", server.connection(), "-p", &pid]);
    first.expect("Attached to process", 0);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let mut second = None;
    // The server may notice the death a moment later.
    wait_until("it can be taken over", LIMIT, || {
        let mut debugger = Debugger::start(&["-premote", server.connection(), "-resume", "-c", ".sessions; r rip; qd"]);
        let code = debugger.ends();
        second = Some(debugger);
        code == Some(0)
    });
    let second = second.unwrap();
    second.expect("rip=", 0);
    let said = second.said();
    assert!(said.contains(&format!("Processes: 0n{pid}")) && said.contains("State: in use"), "{said}");
    assert_eq!(tracer(debuggee.pid()), 0, "{said}");
    let mut third = Debugger::start(&["-premote", server.connection(), "-resume"]);
    assert_eq!(third.ends(), Some(1));
    assert!(third.said().contains("no session is held here"), "{}", third.said());
}

#[test]
fn ctrl_c_gives_up_a_link_that_does_not_come_back() {
    let server = ProcessServer::start();
    let link = link_to(&server);
    let debuggee = Running::start("sleep", &["1000"]);
    let mut debugger = Debugger::start(&["-premote", &through(&link), "-p", &debuggee.pid().to_string()]);
    debugger.expect("Attached to process", 0);
    drop(link);
    debugger.say(".tlist");
    debugger.expect("reconnecting ...", 0);
    // It may not have come to wait for the link yet; who waits presses again.
    wait_until("it gives up", LIMIT, || {
        debugger.interrupt();
        debugger.said().contains("given up while the link was down")
    });
    debugger.say("q");
    debugger.input = None;
    assert_eq!(debugger.ends(), Some(3), "{}", debugger.said());
}
