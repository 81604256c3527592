//! What is shipped: `dist/dbgsrv` as `./x build` leaves it, and what it costs the machine that it is copied to.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outpost_remote::{Options, RemoteTarget};
use outpost_testkit::{skip, state, wait_until};
use outpost_transport::ClientTransport;

/// 3 MiB, for the file and for what is resident while nobody is there; the first in bytes, the second in KiB.
const FILE_LIMIT: u64 = 3 << 20;
const IDLE_LIMIT: u64 = 3 << 10;
/// KiB more for a session that does nothing.
const SESSION_LIMIT: u64 = 1 << 10;

/// `./x test` says where it is.
fn shipped() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("OUTPOST_DIST")?).join("dbgsrv"))
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts it and gives what a client names, from the line that it prints.
fn start(program: &PathBuf, transport: &str, configuration: &std::path::Path) -> (Server, ClientTransport) {
    let mut command = Command::new(program);
    command.args(["-t", transport]).env("XDG_CONFIG_HOME", configuration).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = log.by_ref().map(Result::unwrap).find(|line| line.contains("-premote ")).unwrap();
    std::thread::spawn(move || log.for_each(drop));
    let text = line.split_once("-premote ").unwrap().1.split(' ').next().unwrap();
    (Server(child), text.parse().unwrap())
}

/// A line of `smaps_rollup` (proc_pid_smaps(5)), in KiB, of a process and its descendants.
fn of_tree(pid: u32, field: &str) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own = rollup.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok());
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    own.unwrap_or(0) + children.split_whitespace().map(|child| of_tree(child.parse().unwrap(), field)).sum::<u64>()
}

/// Whether the process that it starts at first executes its own program, and has come to wait: what is to become of it has the
/// server's memory once more.
fn is_idle(pid: u32) -> bool {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let waits = |child: &str| {
        let command = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        command.contains("--outpost-spawner") && state(child.parse().unwrap()) == Some('S')
    };
    children.split_whitespace().count() == 1 && children.split_whitespace().all(waits)
}

#[test]
fn it_is_one_small_static_file() {
    let Some(program) = shipped() else { return skip("there is no dist/: ./x test builds it and says where") };
    let bytes = std::fs::read(&program).unwrap();
    // Text of glibc's own, in every static program with name resolution in it.
    if bytes.windows(9).any(|window| window == b"GLIBC_PRI") {
        return skip("Rust's musl target cannot be had here, so dist/dbgsrv is larger than what is shipped");
    }
    assert!(bytes.len() as u64 <= FILE_LIMIT, "{} bytes", bytes.len());
    let read =
        |at: usize, len: usize| bytes[at..at + len].iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    // Program headers: e_phoff, e_phentsize and e_phnum (elf(5)). A static file asks for no interpreter (PT_INTERP, 3).
    let (start, size, count) = (read(0x20, 8), read(0x36, 2), read(0x38, 2));
    assert!(count > 0 && (0..count).all(|number| read(start + number * size, 4) != 3));
}

#[test]
fn it_takes_little_memory() {
    let Some(program) = shipped() else { return skip("there is no dist/: ./x test builds it and says where") };
    let folder = tempfile::tempdir().unwrap();
    for transport in ["tcp:port=0", "ssl:port=0,bind=localhost"] {
        let (server, client) = start(&program, transport, folder.path());
        let pid = server.0.id();
        wait_until("it idles", Duration::from_secs(20), || is_idle(pid));
        // What its processes share is resident once.
        let idle = of_tree(pid, "Pss:");
        assert!(idle <= IDLE_LIMIT, "{transport}: {idle} KiB");
        let sessions: Vec<_> = (0..4).map(|_| RemoteTarget::connect(&client, Options::default()).unwrap()).collect();
        let each = of_tree(pid, "Pss:").saturating_sub(idle) / sessions.len() as u64;
        eprintln!("{transport}: {idle} KiB idle, {each} KiB for each session");
        assert!(each <= SESSION_LIMIT, "{transport}: {each} KiB");
    }
}
