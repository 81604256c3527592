//! Whether a process can be attached to, found out without trying, and said in words with a remedy.
//!
//! The kernel's rules are those of `ptrace(2)`, "Ptrace access mode checking", and of Yama. Part of them is asked of the
//! kernel itself: it lets `/proc/PID/ns/user` be read exactly where it grants `PTRACE_MODE_READ`, for the same users,
//! capabilities, namespaces and security modules as attaching. What is left are the rules for attaching alone; what
//! was refused is explained from what anybody may read.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use outpost_base::ProcessId;
use outpost_target::{Attachability, TargetError};

use super::proc_files::ProcRoot;
use super::users::Users;

/// Bit of `CAP_SYS_PTRACE` (include/uapi/linux/capability.h).
const CAP_SYS_PTRACE: u64 = 1 << 19;
/// `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;
/// Longest chain of parents that is followed.
const MAX_ANCESTORS: usize = 4096;

/// What is known of a process that somebody wants to attach to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Candidate {
    process: u32,
    is_self: bool,
    state: char,
    is_kernel_thread: bool,
    parent: u32,
    parent_name: String,
    tracer: u32,
    tracer_name: String,
    uids: [u32; 4],
    gids: [u32; 4],
    user: String,
    permitted: u64,
    /// Owner of its files in `/proc`: root where the process is not dumpable (proc(5)). Not of the folder: that is always
    /// its user's (fs/proc/base.c, `task_dump_owner`).
    files_owner: u32,
    /// Whether the kernel grants `PTRACE_MODE_READ`.
    readable: bool,
    is_descendant: bool,
    /// It executes a program that is no 64-bit one.
    is_32_bit: bool,
}

/// What is known of this server and its machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Server {
    uid: u32,
    gid: u32,
    user: String,
    effective: u64,
    /// A system call filter refuses ptrace.
    ptrace_filtered: bool,
    /// `kernel.yama.ptrace_scope`, 0 without Yama.
    yama_scope: u32,
}

/// Finds out, for many processes in a row.
#[derive(Debug)]
pub(crate) struct Preflight {
    server: Server,
}

impl Preflight {
    /// Looks at this server and its machine.
    pub(crate) fn new(proc: &ProcRoot, users: &mut Users) -> Preflight {
        let own = proc.status(std::process::id()).unwrap_or_default();
        let server = Server {
            uid: own.uids[0],
            gid: own.gids[0],
            user: users.name(own.uids[0]),
            effective: own.effective,
            ptrace_filtered: ptrace_is_filtered(),
            yama_scope: proc.number("sys/kernel/yama/ptrace_scope").unwrap_or(0),
        };
        Preflight { server }
    }

    /// Whether this server could attach to `process`; a process that is gone is not attachable either.
    pub(crate) fn check(&self, process: u32, proc: &ProcRoot, users: &mut Users) -> Attachability {
        match look_at(process, proc, users) {
            Some(candidate) => judge(&candidate, &self.server),
            None => no("it has ended", "there is nothing left to attach to"),
        }
    }
}

/// The error for an attempt that the kernel refused with `errno`: who traces the process already, what right is missing
/// and how to get it, or that there is no such process.
pub fn explain_refusal(process: ProcessId, errno: i32) -> TargetError {
    let (proc, mut users) = (ProcRoot::default(), Users::default());
    let Some(candidate) = look_at(process.0, &proc, &mut users) else { return TargetError::NoProcess { process } };
    if candidate.tracer != 0 {
        return TargetError::AlreadyTraced {
            process,
            tracer: ProcessId(candidate.tracer),
            tracer_name: candidate.tracer_name,
        };
    }
    let what = format!("process {process} ({}, user {})", proc.name(process.0).unwrap_or_default(), candidate.user);
    match judge(&candidate, &Preflight::new(&proc, &mut users).server) {
        Attachability::No { reason, remedy } => TargetError::Permission { what, remedy: format!("{reason}; {remedy}") },
        Attachability::Yes => TargetError::Permission {
            what,
            remedy: format!("the kernel refused (errno {errno}); see the system's audit log for a security module"),
        },
    }
}

fn look_at(process: u32, proc: &ProcRoot, users: &mut Users) -> Option<Candidate> {
    let (stat, status) = (proc.stat(process)?, proc.status(process)?);
    let own = std::process::id();
    let name = |process: u32| proc.name(process).unwrap_or_default();
    let is_descendant = std::iter::successors(Some(stat.parent), |&process| Some(proc.stat(process)?.parent))
        .take(MAX_ANCESTORS)
        .take_while(|&process| process > 1)
        .any(|process| process == own);
    Some(Candidate {
        process,
        is_self: process == own,
        state: stat.state,
        is_kernel_thread: stat.flags & KERNEL_THREAD != 0,
        parent: stat.parent,
        parent_name: name(stat.parent),
        tracer: status.tracer,
        tracer_name: if status.tracer == 0 { String::new() } else { name(status.tracer) },
        uids: status.uids,
        gids: status.gids,
        user: users.name(status.uids[1]),
        permitted: status.permitted,
        files_owner: fs::metadata(proc.of(process, "stat")).map_or(0, |metadata| metadata.uid()),
        readable: proc.user_namespace(process).is_some(),
        is_descendant,
        is_32_bit: is_32_bit(&proc.of(process, "exe")),
    })
}

/// Whether a file is a program for 32-bit processors (System V gABI, ch. 4, `EI_CLASS`), as far as it can be read.
pub(crate) fn is_32_bit(program: &Path) -> bool {
    let mut start = [0; 5];
    let read = fs::File::open(program).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == [0x7f, b'E', b'L', b'F', 1]
}

/// The refusal of a 32-bit program, `what`: nothing of it would be understood.
pub(crate) fn refuse_32_bit(what: &str) -> TargetError {
    TargetError::Unsupported {
        operation: "debugging a 32-bit program",
        reason: format!("{what} is one; use gdb for it"),
    }
}

/// Whether a filter such as a container's default profile answers ptrace with an error of its own: detaching from
/// ourselves, whom nobody of ours traces, is `ESRCH` without one.
fn ptrace_is_filtered() -> bool {
    let own = nix::unistd::Pid::this();
    matches!(nix::sys::ptrace::detach(own, None), Err(nix::errno::Errno::EPERM | nix::errno::Errno::ENOSYS))
}

fn judge(candidate: &Candidate, server: &Server) -> Attachability {
    let capable = server.effective & CAP_SYS_PTRACE != 0;
    if candidate.is_self {
        return no("it is this debugger itself", "use another server to debug this one");
    }
    if matches!(candidate.state, 'Z' | 'X' | 'x') {
        let parent = format!("process {} ({})", candidate.parent, candidate.parent_name);
        return no(format!("it has ended and waits for {parent} to collect it"), "there is nothing left to attach to");
    }
    if candidate.is_kernel_thread {
        return no("it is a thread of the kernel", "debug the kernel instead, through a KD connection server");
    }
    if candidate.tracer != 0 {
        let tracer = format!("process {} ({})", candidate.tracer, candidate.tracer_name);
        return no(format!("it is already traced by {tracer}"), "have that one detach or end it");
    }
    if server.ptrace_filtered {
        return no(
            "a system call filter (seccomp) forbids this server to trace",
            "start the server outside the sandbox, or allow ptrace in its profile (docker: --cap-add=SYS_PTRACE)",
        );
    }
    if server.yama_scope >= 3 {
        return no(
            "attaching is switched off on this machine (kernel.yama.ptrace_scope = 3)",
            "the setting can only be changed at boot; until then have the debugger start the program",
        );
    }
    if !candidate.readable {
        return refused(candidate, server, capable);
    }
    if candidate.is_32_bit {
        return no("it executes a 32-bit program, which is not supported", "use gdb for it");
    }
    if server.yama_scope == 2 && !capable {
        return no("attaching needs CAP_SYS_PTRACE on this machine (kernel.yama.ptrace_scope = 2)", GET_CAPABILITY);
    }
    if server.yama_scope == 1 && !capable && !candidate.is_descendant {
        return no(
            "only descendants of the debugger can be attached to on this machine (kernel.yama.ptrace_scope = 1)",
            "sysctl kernel.yama.ptrace_scope=0, or start the server by sudo, or have the debugger start the program",
        );
    }
    Attachability::Yes
}

const GET_CAPABILITY: &str = "start the server by sudo, or give it the right: setcap cap_sys_ptrace+ep dbgsrv";

/// Why the kernel does not even let the process be looked at.
fn refused(candidate: &Candidate, server: &Server, capable: bool) -> Attachability {
    if capable {
        return no(
            "it belongs to a user namespace outside this server's, or a security module protects it",
            "start the server outside its container, or see the system's audit log",
        );
    }
    if candidate.uids[..3] != [server.uid; 3] {
        return no(
            format!("it belongs to user {}, this server runs as {}", candidate.user, server.user),
            format!("start the server as {} or by sudo: setcap cap_sys_ptrace+ep dbgsrv does, too", candidate.user),
        );
    }
    if candidate.gids[..3] != [server.gid; 3] {
        return no("it runs with another group than this server", GET_CAPABILITY);
    }
    if candidate.files_owner != candidate.uids[1] {
        return no(
            "it is not dumpable: it changed its privileges, its file is not readable, or it asked for that by prctl",
            GET_CAPABILITY,
        );
    }
    if candidate.permitted & !server.effective != 0 {
        return no("it has capabilities that this server lacks", GET_CAPABILITY);
    }
    no("a security module (SELinux, AppArmor, Landlock) or a user namespace forbids it", "see the system's audit log")
}

fn no(reason: impl Into<String>, remedy: impl Into<String>) -> Attachability {
    Attachability::No { reason: reason.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use outpost_testkit::Running;

    use super::*;

    fn ordinary() -> (Candidate, Server) {
        let candidate = Candidate {
            process: 40,
            state: 'S',
            parent: 7,
            parent_name: "sh".into(),
            uids: [1000; 4],
            gids: [1000; 4],
            user: "anna".into(),
            files_owner: 1000,
            readable: true,
            ..Candidate::default()
        };
        let server = Server { uid: 1000, gid: 1000, user: "anna".into(), ..Server::default() };
        (candidate, server)
    }

    /// The judgement after a change; the expected words are looked for in reason and remedy.
    fn check(change: impl FnOnce(&mut Candidate, &mut Server), expected: &[&str]) {
        let (mut candidate, mut server) = ordinary();
        change(&mut candidate, &mut server);
        match judge(&candidate, &server) {
            Attachability::Yes => assert!(expected.is_empty(), "attachable, not {expected:?}"),
            Attachability::No { reason, remedy } => {
                assert!(!expected.is_empty(), "{reason}");
                let text = format!("{reason}; {remedy}");
                assert!(expected.iter().all(|words| text.contains(words)), "{text} lacks one of {expected:?}");
            }
        }
    }

    #[test]
    fn each_obstacle_is_named_with_its_remedy() {
        check(|_, _| {}, &[]);
        check(|candidate, _| candidate.is_self = true, &["debugger itself"]);
        check(|candidate, _| candidate.state = 'Z', &["has ended", "process 7 (sh)"]);
        check(|candidate, _| candidate.is_kernel_thread = true, &["kernel"]);
        check(
            |candidate, _| (candidate.tracer, candidate.tracer_name) = (55, "gdb".into()),
            &["traced by process 55 (gdb)", "detach"],
        );
        check(|_, server| server.ptrace_filtered = true, &["seccomp", "SYS_PTRACE"]);
        check(|process, _| process.is_32_bit = true, &["32-bit", "gdb"]);
        let hidden = |candidate: &mut Candidate| candidate.readable = false;
        check(
            |candidate, _| {
                hidden(candidate);
                (candidate.uids, candidate.user) = ([0; 4], "root".into());
            },
            &["user root", "runs as anna", "sudo"],
        );
        check(
            |candidate, _| {
                hidden(candidate);
                candidate.uids[2] = 0;
            },
            &["user"],
        );
        check(
            |candidate, _| {
                hidden(candidate);
                candidate.gids[1] = 4;
            },
            &["group"],
        );
        check(
            |candidate, _| {
                hidden(candidate);
                candidate.files_owner = 0;
            },
            &["not dumpable", "cap_sys_ptrace"],
        );
        check(
            |candidate, _| {
                hidden(candidate);
                candidate.permitted = 4;
            },
            &["capabilities that this server lacks"],
        );
        check(|candidate, _| hidden(candidate), &["security module"]);
        check(
            |candidate, server| {
                hidden(candidate);
                server.effective = u64::MAX;
            },
            &["user namespace"],
        );
    }

    #[test]
    fn yama_has_four_scopes() {
        let scope = |scope: u32, capable: bool, descendant: bool, expected: &[&str]| {
            check(
                |candidate, server| {
                    candidate.is_descendant = descendant;
                    server.yama_scope = scope;
                    server.effective = if capable { CAP_SYS_PTRACE } else { 0 };
                },
                expected,
            );
        };
        scope(0, false, false, &[]);
        scope(1, false, false, &["ptrace_scope = 1", "sysctl kernel.yama.ptrace_scope=0"]);
        scope(1, false, true, &[]);
        scope(1, true, false, &[]);
        scope(2, false, true, &["ptrace_scope = 2", "CAP_SYS_PTRACE"]);
        scope(2, true, false, &[]);
        scope(3, true, true, &["ptrace_scope = 3", "boot"]);
    }

    /// A recorded machine with this Yama setting (`None`: without Yama): this server and another process, both of user
    /// 1000; the server's capabilities.
    fn recorded(yama: Option<u32>, effective: u64, parent: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: String, text: String| {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        for (process, name, parent, effective) in [(std::process::id(), "dbgsrv", 1, effective), (40, "svc", parent, 0)]
        {
            let stat = format!("{process} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 5 6 0 0 20 0 2 0 100 1 1");
            write(format!("{process}/stat"), stat);
            let ids = "1000\t1000\t1000\t1000";
            let status =
                format!("TracerPid:\t0\nUid:\t{ids}\nGid:\t{ids}\nCapPrm:\t{effective:x}\nCapEff:\t{effective:x}\n");
            write(format!("{process}/status"), status);
            write(format!("{process}/comm"), format!("{name}\n"));
            fs::create_dir_all(folder.path().join(format!("{process}/ns"))).unwrap();
            std::os::unix::fs::symlink("user:[4026531837]", folder.path().join(format!("{process}/ns/user"))).unwrap();
        }
        if let Some(scope) = yama {
            write("sys/kernel/yama/ptrace_scope".into(), format!("{scope}\n"));
        }
        folder
    }

    #[test]
    fn recorded_machines_with_yama_are_judged() {
        let judged = |yama, effective, parent| {
            let folder = recorded(yama, effective, parent);
            let (proc, mut users) = (ProcRoot::at(folder.path()), Users::default());
            match Preflight::new(&proc, &mut users).check(40, &proc, &mut users) {
                Attachability::Yes => String::new(),
                Attachability::No { reason, remedy } => format!("{reason}; {remedy}"),
            }
        };
        let own = std::process::id();
        for (yama, effective, parent) in [
            (None, 0, 1),
            (Some(0), 0, 1),
            (Some(1), 0, own),
            (Some(1), CAP_SYS_PTRACE, 1),
            (Some(2), CAP_SYS_PTRACE, 1),
        ] {
            assert_eq!(judged(yama, effective, parent), "", "{yama:?} {effective:x} {parent}");
        }
        assert_eq!(
            judged(Some(1), 0, 1),
            "only descendants of the debugger can be attached to on this machine (kernel.yama.ptrace_scope = 1); \
             sysctl kernel.yama.ptrace_scope=0, or start the server by sudo, or have the debugger start the program"
        );
        assert_eq!(
            judged(Some(2), 0, own),
            "attaching needs CAP_SYS_PTRACE on this machine (kernel.yama.ptrace_scope = 2); start the server by sudo, \
             or give it the right: setcap cap_sys_ptrace+ep dbgsrv"
        );
        assert_eq!(
            judged(Some(3), CAP_SYS_PTRACE, own),
            "attaching is switched off on this machine (kernel.yama.ptrace_scope = 3); the setting can only be changed \
             at boot; until then have the debugger start the program"
        );
    }

    #[test]
    fn real_processes_are_judged() {
        let (proc, mut users) = (ProcRoot::default(), Users::default());
        let preflight = Preflight::new(&proc, &mut users);
        let child = Running::start("/bin/sleep", &["100"]);
        assert_eq!(preflight.check(child.pid(), &proc, &mut users), Attachability::Yes);
        let own = preflight.check(std::process::id(), &proc, &mut users);
        assert!(matches!(own, Attachability::No { reason, .. } if reason.contains("itself")));
        let gone = preflight.check(u32::MAX >> 1, &proc, &mut users);
        assert!(matches!(gone, Attachability::No { reason, .. } if reason.contains("ended")));
        assert!(look_at(child.pid(), &proc, &mut users).unwrap().is_descendant);
        let missing = ProcessId(u32::MAX >> 1);
        assert_eq!(explain_refusal(missing, libc::ESRCH), TargetError::NoProcess { process: missing });
    }
}
