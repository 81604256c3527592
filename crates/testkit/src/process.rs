//! Running debuggees.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

/// A program that ends with the value, whatever the test did.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a program; its standard output can be read by line.
    pub fn start(program: impl AsRef<Path>, arguments: &[&str]) -> Running {
        Running::command(Command::new(program.as_ref()).args(arguments))
    }

    /// Starts a prepared command.
    pub fn command(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        Running { child, stdout }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output, without the end of line.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("standard output can be read");
        line.trim_end().into()
    }

    /// Passes over what it has printed by now: the next line is a new one.
    pub fn pass_by(&mut self) {
        loop {
            let mut poll = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
            let is_there = !self.stdout.buffer().is_empty()
                || (rustix::event::poll(&mut poll, Some(&Timespec::default())).is_ok()
                    && poll[0].revents().contains(PollFlags::IN));
            if !is_there {
                return;
            }
            self.line();
        }
    }

    /// Writes to its standard input, which the command made a pipe.
    pub fn say(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("standard input is a pipe");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("it reads its standard input");
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Its end, within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        wait_until("the program ends", limit, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("it ended")
    }

    /// Sends it a signal by number.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {signal}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until `done`, at most `limit`; panics with `what` after that.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// State letter of a process (proc_pid_stat(5)); `None` once it is gone, and not even a zombie.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Tracer of a process (proc_pid_status(5)); 0 if it has none, or is gone.
pub fn tracer(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    line.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Addresses at which a process's executable file mappings differ from their files; none after a clean detach.
///
/// Panics if the process is gone, since then nothing was compared.
pub fn text_differences(pid: u32) -> Vec<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process lives");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("its memory can be opened");
    let mut differences = Vec::new();
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [range, permissions, offset, _, _, path] = fields[..] else { continue };
        if !permissions.contains('x') || !path.starts_with('/') {
            continue;
        }
        let hex = |text: &str| u64::from_str_radix(text, 16).expect("maps has hexadecimal numbers");
        let (start, end) = range.split_once('-').map(|(start, end)| (hex(start), hex(end))).expect("a range");
        // As the process sees it: in a container its path may lead elsewhere.
        let Ok(file) = fs::File::open(format!("/proc/{pid}/root{path}")) else { continue };
        let mut running = vec![0; (end - start) as usize];
        let mut stored = running.clone();
        memory.read_exact_at(&mut running, start).expect("mapped text is readable");
        let mut filled = 0;
        while let Ok(count @ 1..) = file.read_at(&mut stored[filled..], hex(offset) + filled as u64) {
            filled += count;
        }
        let differs = (0..filled).filter(|&at| running[at] != stored[at]);
        differences.extend(differs.map(|at| start + at as u64));
    }
    differences
}
