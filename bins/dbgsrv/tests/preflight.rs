//! Whatever refuses an attach is named, with what would help: each made for real, and met both ways, in a list of processes
//! before anybody tries and by somebody who tries. What a machine of this kind does not have (Yama) is tested on recorded
//! `/proc` trees, in `crates/ptrace/src/os/attachability.rs`.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{LIMIT, Server, children};
use outpost_base::ProcessId;
use outpost_remote::RemoteTarget;
use outpost_target::{AttachMode, Attachability, BundleRequest, Live, Os, ProcessQuery};
use outpost_testkit::{Build, Compiler, Running, skip, state, tracer, wait_until};

/// Number of the user nobody.
const NOBODY: &str = "65534";
const AS_NOBODY: [&str; 6] = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];

/// A folder that everybody may read, with the server in it.
fn public() -> Option<(tempfile::TempDir, PathBuf)> {
    if !rustix::process::getuid().is_root() {
        skip("only root can become somebody else");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("dbgsrv");
    std::fs::copy(common::dbgsrv().get_program(), &copy).unwrap();
    Some((folder, copy))
}

/// `words` as a command, whose last words are the program and its arguments.
fn command<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(Stdio::null());
    command
}

/// A sleeper, once it sleeps: what a launcher sets up before it is done by then.
fn asleep(launcher: &[&str], program: &str) -> Running {
    let running = Running::command(&mut command(launcher.iter().copied().chain([program, "1000"])));
    let name = program.rsplit('/').next().unwrap();
    let is_asleep = || {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", running.pid())).unwrap_or_default();
        comm.trim() == name && state(running.pid()) == Some('S')
    };
    wait_until("it sleeps", LIMIT, is_asleep);
    running
}

/// A session with a server that was started by `launcher`.
fn connect(launcher: &[&str], server: &str) -> (Server, RemoteTarget) {
    let words = launcher.iter().copied().chain([server, "-t", "tcp:port=0"]);
    let server = Server::spawn(command(words).env("XDG_CONFIG_HOME", "/nonexistent"));
    server.wait_for_line("connect with:");
    let remote = server.connect();
    (server, remote)
}

/// The list says of the process what is in the way and what would help; an attempt fails with the same words, and does
/// nothing.
fn refused(remote: &mut RemoteTarget, process: u32, reason: &str, remedy: &str) {
    let listed = remote.list_processes(&ProcessQuery::Id(ProcessId(process)), true).unwrap();
    let expected = Attachability::No { reason: reason.to_owned(), remedy: remedy.to_owned() };
    assert_eq!(listed[0].attachability, Some(expected));
    let mode = AttachMode::Invasive { break_in: true };
    let error = remote.attach(ProcessId(process), mode, &BundleRequest::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("{reason}; {remedy}")), "{error}");
    assert_eq!(tracer(process), 0);
    assert!(remote.clock().is_ok(), "the session goes on");
}

const GET_CAPABILITY: &str = "start the server by sudo, or give it the right: setcap cap_sys_ptrace+ep dbgsrv";

#[test]
fn other_users_groups_and_capabilities() {
    let Some((_folder, server)) = public() else { return };
    let (_server, mut remote) = connect(&AS_NOBODY, server.to_str().unwrap());
    let of_root = asleep(&["env"], "sleep");
    refused(
        &mut remote,
        of_root.pid(),
        "it belongs to user root, this server runs as nobody",
        "start the server as root or by sudo: setcap cap_sys_ptrace+ep dbgsrv does, too",
    );
    let other_group = asleep(&["setpriv", "--reuid", NOBODY, "--regid", "4", "--clear-groups"], "sleep");
    refused(&mut remote, other_group.pid(), "it runs with another group than this server", GET_CAPABILITY);
    let more: Vec<&str> =
        AS_NOBODY.into_iter().chain(["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"]).collect();
    let capable = asleep(&more, "sleep");
    refused(&mut remote, capable.pid(), "it has capabilities that this server lacks", GET_CAPABILITY);
    // Nothing is in the way of one that is the same user's.
    let own = asleep(&AS_NOBODY, "sleep");
    let listed = remote.list_processes(&ProcessQuery::Id(ProcessId(own.pid())), true).unwrap();
    assert_eq!(listed[0].attachability, Some(Attachability::Yes));
    remote.attach(ProcessId(own.pid()), AttachMode::Invasive { break_in: true }, &BundleRequest::default()).unwrap();
}

#[test]
fn programs_that_are_not_dumpable() {
    let Some((folder, server)) = public() else { return };
    let (_server, mut remote) = connect(&AS_NOBODY, server.to_str().unwrap());
    let reason =
        "it is not dumpable: it changed its privileges, its file is not readable, or it asked for that by prctl";
    // By prctl, and by a file that may be executed and not read.
    let source = "#include <sys/prctl.h>\n#include <unistd.h>\n\
                  int main(void) { prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); pause(); }";
    let asked = folder.path().join("asked");
    std::fs::copy(Build::source(Compiler::Gcc, "asked", source).path(), &asked).unwrap();
    let asked = asleep(&AS_NOBODY, asked.to_str().unwrap());
    let owner =
        || std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{}/stat", asked.pid())).unwrap());
    wait_until("it has asked", LIMIT, || owner() == 0);
    refused(&mut remote, asked.pid(), reason, GET_CAPABILITY);
    let unreadable = folder.path().join("unreadable");
    std::fs::copy(Command::new("which").arg("sleep").output().map(trimmed).unwrap(), &unreadable).unwrap();
    std::fs::set_permissions(&unreadable, std::fs::Permissions::from_mode(0o711)).unwrap();
    // It is executed by somebody who has none of root's rights any more.
    let by_nobody: Vec<&str> = AS_NOBODY.into_iter().chain(["env"]).collect();
    let unreadable = asleep(&by_nobody, unreadable.to_str().unwrap());
    refused(&mut remote, unreadable.pid(), reason, GET_CAPABILITY);
}

fn trimmed(output: std::process::Output) -> String {
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_server_in_a_sandbox_or_in_a_user_namespace_of_its_own() {
    let Some((folder, server)) = public() else { return };
    let server = server.to_str().unwrap();
    let sleeper = asleep(&["env"], "sleep");
    // As docker's default profile once did: ptrace(2) is answered by EPERM.
    let source = "#include <errno.h>\n#include <linux/filter.h>\n#include <linux/seccomp.h>\n#include <stddef.h>\n\
                  #include <sys/prctl.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
                  int main(int argc, char **argv) {\n\
                  struct sock_filter code[] = {\n\
                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),\n\
                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),\n\
                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),\n\
                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };\n\
                  struct sock_fprog filter = { sizeof code / sizeof *code, code };\n\
                  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) return 1;\n\
                  execv(argv[1], argv + 1);\n\
                  return 1; }";
    let sandbox = folder.path().join("sandbox");
    std::fs::copy(Build::source(Compiler::Gcc, "sandbox", source).path(), &sandbox).unwrap();
    let (_sandboxed, mut remote) = connect(&[sandbox.to_str().unwrap()], server);
    refused(
        &mut remote,
        sleeper.pid(),
        "a system call filter (seccomp) forbids this server to trace",
        "start the server outside the sandbox, or allow ptrace in its profile (docker: --cap-add=SYS_PTRACE)",
    );
    if !Command::new("unshare").args(["-U", "-r", "true"]).status().is_ok_and(|status| status.success()) {
        return skip("unshare -U is not allowed here");
    }
    // It has every right in there, and none out here.
    let (_inside, mut remote) = connect(&["unshare", "-U", "-r"], server);
    refused(
        &mut remote,
        sleeper.pid(),
        "it belongs to a user namespace outside this server's, or a security module protects it",
        "start the server outside its container, or see the system's audit log",
    );
}

#[test]
fn what_has_ended_and_what_the_kernel_runs() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut remote = server.connect();
    // The shell's child ends, and the program that the shell becomes collects nothing.
    let parent = asleep(&["sh", "-c", "true & exec \"$@\"", "sh"], "sleep");
    let pid = parent.pid();
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let zombie: u32 = children().trim().parse().unwrap();
    wait_until("it has ended", LIMIT, || state(zombie) == Some('Z'));
    refused(
        &mut remote,
        zombie,
        &format!("it has ended and waits for process {pid} (sleep) to collect it"),
        "there is nothing left to attach to",
    );
    let name = std::fs::read_to_string("/proc/2/comm").unwrap_or_default();
    if name.trim() != "kthreadd" {
        return skip("no thread of the kernel is seen here");
    }
    let remedy = "debug the kernel instead, through a KD connection server";
    refused(&mut remote, 2, "it is a thread of the kernel", remedy);
}

/// A tracer is named before anybody tries, and by who tries.
#[test]
fn programs_that_gdb_has() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut remote = server.connect();
    let mut sleeper = asleep(&["env"], "sleep");
    let pid = sleeper.pid();
    let mut gdb = Command::new("gdb")
        .args(["-nx", "-q", "-p", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("gdb has it", LIMIT, || tracer(pid) == gdb.id());
    let listed = remote.list_processes(&ProcessQuery::Id(ProcessId(pid)), true).unwrap();
    let reason = format!("it is already traced by process {} (gdb)", gdb.id());
    let remedy = "have that one detach or end it".to_owned();
    assert_eq!(listed[0].attachability, Some(Attachability::No { reason, remedy }));
    let mode = AttachMode::Invasive { break_in: true };
    let error = remote.attach(ProcessId(pid), mode, &BundleRequest::default()).unwrap_err().to_string();
    assert_eq!(error, format!("process {pid} is already traced by process {} (gdb)", gdb.id()));
    assert_eq!(tracer(pid), gdb.id(), "and still is");
    // gdb lets go of it at the end of its input.
    drop(gdb.stdin.take());
    gdb.wait().unwrap();
    assert!(sleeper.is_running() && children(server.pid()).len() == 1);
    remote.attach(ProcessId(pid), mode, &BundleRequest::default()).unwrap();
}
