//! Open files of a process.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;

use outpost_base::ProcessId;
use outpost_target::{HandleInfo, TargetError};

use super::proc_files::ProcRoot;
use crate::error::os_error;

/// Lists a process's open files by number. Source: `proc_pid_fd(5)`, `proc_pid_fdinfo(5)`.
pub(crate) fn list(proc: &ProcRoot, process: ProcessId) -> Result<Vec<HandleInfo>, TargetError> {
    let folder = proc.of(process.0, "fd");
    let entries = fs::read_dir(&folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TargetError::NoProcess { process },
        io::ErrorKind::PermissionDenied => TargetError::Permission {
            what: format!("the open files of process {process}"),
            remedy: "run the server as the process's user or with CAP_SYS_PTRACE".into(),
        },
        _ => os_error(format!("read {}", folder.display()), error),
    })?;
    let mut handles: Vec<HandleInfo> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            let kind = kind(&target, || fs::metadata(entry.path()).ok().map(|metadata| metadata.file_type()));
            let info = fs::read_to_string(proc.of(process.0, &format!("fdinfo/{number}"))).unwrap_or_default();
            let field = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
            Some(HandleInfo {
                number,
                kind: kind.to_owned(),
                flags: field("flags:").and_then(|text| u32::from_str_radix(text, 8).ok()).unwrap_or(0),
                position: field("pos:").and_then(|text| text.parse().ok()).unwrap_or(0),
                target,
            })
        })
        .collect();
    handles.sort_by_key(|handle| handle.number);
    Ok(handles)
}

/// What a link of `/proc/PID/fd` leads to, by its text where that is no path.
fn kind(target: &str, file_type: impl FnOnce() -> Option<fs::FileType>) -> &'static str {
    const ANONYMOUS: [(&str, &str); 9] = [
        ("anon_inode:[eventfd]", "EventFd"),
        ("anon_inode:[eventpoll]", "Epoll"),
        ("anon_inode:[timerfd]", "TimerFd"),
        ("anon_inode:[signalfd]", "SignalFd"),
        ("anon_inode:[pidfd]", "PidFd"),
        ("anon_inode:inotify", "Inotify"),
        ("anon_inode:[io_uring]", "IoUring"),
        ("anon_inode:[perf_event]", "PerfEvent"),
        ("anon_inode:bpf", "Bpf"),
    ];
    if let Some((_, kind)) = ANONYMOUS.iter().find(|(start, _)| target.starts_with(start)) {
        return kind;
    }
    match target.split(':').next() {
        Some("socket") => return "Socket",
        Some("pipe") => return "Pipe",
        Some("anon_inode") => return "Anonymous",
        _ if target.starts_with("/memfd:") => return "MemFd",
        _ => {}
    }
    match file_type() {
        Some(kind) if kind.is_dir() => "Directory",
        Some(kind) if kind.is_fifo() => "Pipe",
        Some(kind) if kind.is_char_device() => "CharDevice",
        Some(kind) if kind.is_block_device() => "BlockDevice",
        Some(kind) if kind.is_socket() => "Socket",
        _ => "File",
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsRawFd, OwnedFd};

    use super::*;

    #[test]
    fn own_files_are_listed_with_kind_and_position() {
        let mut file = File::open("/proc/self/exe").unwrap();
        file.read_exact(&mut [0; 100]).unwrap();
        let folder = File::open("/").unwrap();
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let event: OwnedFd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let handles = list(&ProcRoot::default(), ProcessId(std::process::id())).unwrap();
        let find = |number: i32| handles.iter().find(|handle| handle.number == number as u32).unwrap();
        let executable = find(file.as_raw_fd());
        assert_eq!((executable.kind.as_str(), executable.position), ("File", 100));
        assert_eq!(executable.target, std::env::current_exe().unwrap().to_str().unwrap());
        assert_eq!(executable.flags & libc::O_ACCMODE as u32, libc::O_RDONLY as u32);
        assert_eq!(
            (find(folder.as_raw_fd()).kind.as_str(), find(folder.as_raw_fd()).target.as_str()),
            ("Directory", "/")
        );
        assert_eq!(find(socket.as_raw_fd()).kind, "Socket");
        assert_eq!(find(event.as_raw_fd()).kind, "EventFd");
        assert!(handles.is_sorted_by_key(|handle| handle.number));
    }

    #[test]
    fn a_process_that_is_not_there_is_said_so() {
        let missing = ProcessId(u32::MAX >> 1);
        assert_eq!(list(&ProcRoot::default(), missing), Err(TargetError::NoProcess { process: missing }));
    }
}
