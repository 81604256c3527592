//! A `dbgsrv` that ends with the test, and clients of it.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost_remote::{Options, RemoteError, RemoteTarget};
use outpost_testkit::{state, wait_until};
use outpost_transport::ClientTransport;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The program under test: the one just built, or the file that `OUTPOST_DBGSRV` names, such as the shipped one.
/// The certificates that it makes are kept apart from the user's own.
pub(crate) fn dbgsrv() -> Command {
    let program = std::env::var("OUTPOST_DBGSRV").unwrap_or_else(|_| env!("CARGO_BIN_EXE_dbgsrv").into());
    let mut command = Command::new(program);
    command.env("XDG_CONFIG_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/config"));
    command
}

/// A running server, with the lines of its log.
pub(crate) struct Server {
    pub(crate) child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts `dbgsrv` and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Server {
        let server = Server::spawn(dbgsrv().args(arguments));
        server.wait_for_line("connect with:");
        server
    }

    /// Starts a prepared command, whatever comes of it.
    pub(crate) fn spawn(command: &mut Command) -> Server {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Server { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The first line with these words, once it is there.
    pub(crate) fn wait_for_line(&self, words: &str) -> String {
        let find = || self.log().into_iter().find(|line| line.contains(words));
        let end = std::time::Instant::now() + LIMIT;
        loop {
            if let Some(line) = find() {
                return line;
            }
            assert!(std::time::Instant::now() < end, "no line with '{words}' in {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the server says to type at the other end.
    pub(crate) fn client_string(&self) -> String {
        let line = self.wait_for_line("connect with:");
        line.split(' ').skip_while(|word| *word != "-premote").nth(1).unwrap().to_owned()
    }

    pub(crate) fn port(&self) -> u16 {
        let text = self.client_string();
        let port = text.split(['=', ',']).nth(1).unwrap();
        port.parse().unwrap()
    }

    pub(crate) fn transport(&self) -> ClientTransport {
        self.client_string().parse().unwrap()
    }

    pub(crate) fn try_connect(&self, password: &str) -> Result<RemoteTarget, RemoteError> {
        let connection = self.transport_without_password().connect()?;
        let options = Options { password: password.into(), ..Options::default() };
        RemoteTarget::open(connection, options).map(|(target, _)| target)
    }

    /// As the server says, with the password that it has made, if it has.
    pub(crate) fn connect(&self) -> RemoteTarget {
        RemoteTarget::connect(&self.transport(), Options::default()).unwrap().0
    }

    pub(crate) fn transport_without_password(&self) -> ClientTransport {
        let text = self.client_string();
        text.split(",Password=").next().unwrap().parse().unwrap()
    }

    /// Process ids of its workers, which its spawner has started.
    pub(crate) fn workers(&self) -> Vec<u32> {
        children(self.pid()).into_iter().flat_map(children).collect()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server ends", LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // In order, so that nothing of a failed test stays behind; then for certain.
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        for _ in 0..400 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {pid}");
}

/// Children of a process that have not ended.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).filter(|&pid| state(pid) != Some('Z')).collect()
}
