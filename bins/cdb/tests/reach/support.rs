//! Programs under test, with what they say.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use outpost_testkit::{Running, tracer, wait_until};

/// Certificates that are made here are kept apart from the user's own.
pub(crate) const CONFIG: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/config");

/// No wait takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A program with the lines it has said so far; ends with the test.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status; `None`: by a signal.
    pub(crate) code: Option<i32>,
    /// Both of its outputs.
    pub(crate) text: String,
}

pub(crate) fn dbgsrv() -> PathBuf {
    outpost_testkit::program("dbgsrv")
}

pub(crate) fn cdb<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdb"));
    command.args(arguments).env("HOME", "/nonexistent").env("XDG_CONFIG_HOME", CONFIG);
    command
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Program {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let streams: [Box<dyn std::io::Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        let readers = streams.into_iter().map(|stream| {
            let lines = Arc::clone(&lines);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                    lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                }
            })
        });
        let readers = readers.collect();
        Program { child, lines, readers }
    }

    /// `dbgsrv` with these arguments.
    pub(crate) fn server(arguments: &[&str]) -> Program {
        Program::start(Command::new(dbgsrv()).args(arguments).env("XDG_CONFIG_HOME", CONFIG))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line with these words, once it is there.
    pub(crate) fn line(&self, words: &str) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| line.contains(words)) {
                return line;
            }
            assert!(Instant::now() < end, "no line with '{words}' in {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The connection string that a listening server shows.
    pub(crate) fn connection(&self) -> String {
        let line = self.line("connect with:");
        line.split(' ').skip_while(|word| *word != "-premote").nth(1).unwrap().to_owned()
    }

    pub(crate) fn port(&self) -> u16 {
        number_behind(&self.connection(), "Port=")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub(crate) fn end(mut self) -> Ended {
        let mut status = None;
        wait_until("the program ends", LIMIT, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Ended { code: status.unwrap().code(), text: self.lines().join("\n") }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // In order, so that nothing of a failed test stays behind; then for certain.
            let _ = Command::new("kill").arg(self.pid().to_string()).status();
            let end = Instant::now() + Duration::from_secs(2);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Runs `cdb` to its end.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ended {
    Program::start(&mut cdb(arguments)).end()
}

pub(crate) fn sleeper() -> Running {
    Running::start("sleep", &["1000"])
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {pid}");
}

/// The number that stands behind these words.
pub(crate) fn number_behind(text: &str, words: &str) -> u16 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("no '{words}' in {text}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// The process id in a file, once it is there.
pub(crate) fn pid_in(file: &Path) -> u32 {
    let mut pid = None;
    wait_until("a process id is written", LIMIT, || {
        pid = std::fs::read_to_string(file).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

/// A session that attaches, looks and lets go has done so.
pub(crate) fn assert_debugged(ended: &Ended, running: &mut Running) {
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("Attached to process") && ended.text.contains("rip="), "{}", ended.text);
    assert_eq!(tracer(running.pid()), 0);
    assert!(running.is_running());
}
