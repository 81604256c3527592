//! A real `dbgsrv`, for tests of programs that connect to one.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process server that listens until the value ends.
#[derive(Debug)]
pub struct ProcessServer {
    child: Child,
    connection: String,
}

impl ProcessServer {
    /// Starts one on a free port of loopback, and waits until it listens.
    pub fn start() -> ProcessServer {
        ProcessServer::start_on("tcp:port=0")
    }

    /// Starts one where a connection string says, and waits until it listens.
    pub fn start_on(transport: &str) -> ProcessServer {
        ProcessServer::start_with(&["-t", transport])
    }

    /// Starts one with these arguments; certificates that it makes are kept beside the test.
    pub fn start_with(arguments: &[&str]) -> ProcessServer {
        let program = program("dbgsrv");
        let mut child = Command::new(&program)
            .args(arguments)
            .env("XDG_CONFIG_HOME", folder().join("test-config"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut log = BufReader::new(child.stderr.take().expect("standard error is a pipe")).lines();
        let mut said = Vec::new();
        let connection = loop {
            let Some(Ok(line)) = log.next() else { panic!("no server: {said:?}") };
            if let Some((_, rest)) = line.split_once("-premote ") {
                break rest.split(' ').next().unwrap_or(rest).to_owned();
            }
            said.push(line);
        };
        // The server logs on; a full pipe would stop it.
        std::thread::spawn(move || log.for_each(drop));
        ProcessServer { child, connection }
    }

    /// What to give to `-premote`.
    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ProcessServer {
    fn drop(&mut self) {
        // By a signal that it obeys in order, so that its sessions let go of what they hold; then for certain.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One of our programs: the file that a variable such as `OUTPOST_DBGSRV` names, such as the shipped one, or what cargo
/// built beside the running test.
///
/// Cargo builds a package's own programs for its tests, not those of others: alone, a package's tests bring them.
pub fn program(name: &str) -> PathBuf {
    if let Some(named) = std::env::var_os(format!("OUTPOST_{}", name.to_uppercase())) {
        return named.into();
    }
    let folder = folder();
    let program = folder.join(name);
    if !program.exists() {
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let built = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["build", "--quiet", "--package", name, "--profile", profile])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|status| status.success()), "{name} could not be built");
    }
    program
}

/// Where cargo puts what it builds.
fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("tests are in target/PROFILE/deps");
    folder.to_owned()
}
