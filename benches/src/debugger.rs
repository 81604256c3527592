//! The three debuggers, as a script runner each.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wait4::Wait4 as _;

/// Which debugger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `cdb` and `dbgsrv` of this tree.
    Outpost,
    /// `gdb` and `gdbserver --multi`.
    Gdb,
    /// `lldb` and `lldb-server platform`.
    Lldb,
}

/// All of them, in the table's order.
pub(crate) const ALL: [Kind; 3] = [Kind::Outpost, Kind::Gdb, Kind::Lldb];

/// A started server; ends with the value.
pub(crate) struct Server {
    child: Child,
    /// The port it listens on.
    pub(crate) port: u16,
}

/// A client at its prompt; ends with the value.
pub(crate) struct Client {
    child: Child,
}

/// What a client run took and said.
pub(crate) struct Run {
    /// Wall time.
    pub(crate) elapsed: Duration,
    /// Processor time of the client, user and system.
    pub(crate) cpu: Duration,
    /// Peak resident memory of the client in bytes.
    pub(crate) peak: u64,
    /// Both streams.
    pub(crate) output: String,
}

impl Kind {
    /// Name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Outpost => "Outpost",
            Kind::Gdb => "gdb + gdbserver",
            Kind::Lldb => "lldb + lldb-server",
        }
    }

    /// The server's program.
    pub(crate) fn server_program(self, root: &Path) -> PathBuf {
        match self {
            Kind::Outpost => root.join("dist/dbgsrv"),
            Kind::Gdb => PathBuf::from("/usr/bin/gdbserver"),
            Kind::Lldb => lldb_server(),
        }
    }

    /// Starts a server that can attach to processes.
    pub(crate) fn serve(self, root: &Path) -> anyhow::Result<Server> {
        self.start(root, |command, port| match self {
            Kind::Outpost => command.arg("-t").arg(format!("tcp:port={port}")),
            Kind::Gdb => command.arg("--multi").arg(format!("127.0.0.1:{port}")),
            Kind::Lldb => command.args(["platform", "--server", "--listen"]).arg(format!("127.0.0.1:{port}")),
        })
    }

    /// Starts a server for the debugging of one process. lldb's platform opens a port of its own for each process, past
    /// any link between it and its client; without it, all that the two say to each other goes over one connection.
    pub(crate) fn serve_process(self, root: &Path, pid: u32) -> anyhow::Result<Server> {
        match self {
            Kind::Outpost | Kind::Gdb => self.serve(root),
            Kind::Lldb => self.start(root, |command, port| {
                command.args(["gdbserver", "--attach", &pid.to_string()]).arg(format!("127.0.0.1:{port}"))
            }),
        }
    }

    fn start(self, root: &Path, options: impl Fn(&mut Command, u16) -> &mut Command) -> anyhow::Result<Server> {
        let port = free_port()?;
        let mut command = Command::new(self.server_program(root));
        options(&mut command, port);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("{command:?}"))?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(Server { child, port })
    }

    /// Runs the client on process `pid` through `port` with these commands, detaching at the end.
    pub(crate) fn attach(self, root: &Path, port: u16, pid: u32, commands: &[String]) -> anyhow::Result<Run> {
        let mut command = self.client(root);
        let mut script: Vec<String> = Vec::new();
        match self {
            Kind::Outpost => {
                command.arg("-premote").arg(format!("tcp:server=127.0.0.1,port={port}"));
                command.args(["-lines", "-p", &pid.to_string()]);
            }
            Kind::Gdb => {
                script.push(format!("target extended-remote 127.0.0.1:{port}"));
                script.push(format!("attach {pid}"));
            }
            // Its server has attached already.
            Kind::Lldb => script.push(format!("process connect --plugin gdb-remote connect://127.0.0.1:{port}")),
        }
        script.extend_from_slice(commands);
        script.push(if self == Kind::Outpost { "qd" } else { "detach" }.into());
        self.run(command, &script)
    }

    /// Opens a program's symbols without attaching to anything. `cache` is where an index may be kept.
    pub(crate) fn open(self, root: &Path, program: &Path, commands: &[String], cache: &Path) -> anyhow::Result<Run> {
        let mut command = self.client(root);
        command.env("XDG_CACHE_HOME", cache);
        let mut script = commands.to_vec();
        match self {
            Kind::Outpost => {
                command.arg("-lines");
                script.push("q".into());
            }
            Kind::Gdb | Kind::Lldb => {}
        }
        command.arg(program);
        self.run(command, &script)
    }

    /// A client that attaches to `pid` and then waits at its prompt until it is dropped.
    pub(crate) fn hold(self, root: &Path, port: u16, pid: u32) -> anyhow::Result<Client> {
        let mut command = self.client(root);
        // Without -batch, so that it stays.
        if self == Kind::Gdb {
            command = Command::new("gdb");
            command.args(["-nx", "-q", "-ex", "set debuginfod enabled off"]);
        }
        let script = match self {
            Kind::Outpost => {
                command.arg("-premote").arg(format!("tcp:server=127.0.0.1,port={port}")).args(["-p", &pid.to_string()]);
                String::new()
            }
            Kind::Gdb => format!("target extended-remote 127.0.0.1:{port}\nattach {pid}\n"),
            Kind::Lldb => {
                command = Command::new("lldb");
                command.arg("-x");
                format!(
                    "platform select remote-linux\nplatform connect connect://127.0.0.1:{port}\nprocess attach -p {pid}\n"
                )
            }
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        child.stdin.as_mut().context("stdin is a pipe")?.write_all(script.as_bytes())?;
        let client = Client { child };
        // Attached when the process says who traces it.
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        };
        outpost_testkit::wait_until("the client attaches", Duration::from_secs(60), traced);
        Ok(client)
    }

    fn client(self, root: &Path) -> Command {
        let mut command = Command::new(match self {
            Kind::Outpost => root.join("dist/cdb"),
            Kind::Gdb => PathBuf::from("gdb"),
            Kind::Lldb => PathBuf::from("lldb"),
        });
        match self {
            Kind::Outpost => &mut command,
            Kind::Gdb => command.args(["-nx", "-batch", "-ex", "set confirm off", "-ex", "set pagination off"]).args([
                "-ex",
                "set debuginfod enabled off",
                "-ex",
                "set sysroot /",
            ]),
            Kind::Lldb => command.args(["-x", "-b"]),
        };
        command
    }

    /// Runs a client with a script from a file, which all three read line by line.
    fn run(self, command: Command, script: &[String]) -> anyhow::Result<Run> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(script.join("\n").as_bytes())?;
        file.write_all(b"\n")?;
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        // Options go before the program that is opened, if there is one.
        let mut with_script = Command::new(program);
        with_script.arg(match self {
            Kind::Outpost => "-cf",
            Kind::Gdb => "-x",
            Kind::Lldb => "-s",
        });
        with_script.arg(file.path()).args(arguments);
        command.get_envs().for_each(|(name, value)| match value {
            Some(value) => drop(with_script.env(name, value)),
            None => drop(with_script.env_remove(name)),
        });
        timed(&mut with_script, Duration::from_secs(240))
    }

    /// First line of `--version`.
    pub(crate) fn version(self, root: &Path) -> String {
        let (program, flag) = match self {
            Kind::Outpost => (root.join("dist/cdb"), "-version"),
            Kind::Gdb => (PathBuf::from("gdb"), "--version"),
            Kind::Lldb => (PathBuf::from("lldb"), "--version"),
        };
        let output = Command::new(program).arg(flag).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().find(|line| !line.trim().is_empty()).unwrap_or("not found").trim().to_owned()
    }
}

impl Server {
    /// Process id of the server's first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lldb_server() -> PathBuf {
    let by_version = (11..30).rev().map(|version| PathBuf::from(format!("/usr/lib/llvm-{version}/bin/lldb-server")));
    by_version.into_iter().find(|path| path.exists()).unwrap_or_else(|| PathBuf::from("lldb-server"))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs to the end, with what it used as wait4(2) tells: whoever looked meanwhile would disturb what is measured. A run over
/// `limit` is ended and is an error.
fn timed(command: &mut Command, limit: Duration) -> anyhow::Result<Run> {
    let begin = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("stdout is a pipe")?;
    let mut stderr = child.stderr.take().context("stderr is a pipe")?;
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        drop(stderr.read_to_end(&mut text));
        text
    });
    let output = std::thread::spawn(move || {
        let mut text = Vec::new();
        drop(stdout.read_to_end(&mut text));
        text
    });
    let pid = Pid::from_raw(child.id() as i32);
    let (ended, end) = mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        let is_late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        is_late && kill(pid, Signal::SIGKILL).is_ok()
    });
    let used = child.wait4()?.rusage;
    let elapsed = begin.elapsed();
    drop(ended);
    if guard.join().unwrap_or(false) {
        bail!("longer than {limit:?}");
    }
    let mut text = output.join().unwrap_or_default();
    text.extend(errors.join().unwrap_or_default());
    let output = String::from_utf8_lossy(&text).into_owned();
    Ok(Run { elapsed, cpu: used.utime + used.stime, peak: used.maxrss, output })
}
