//! One debugger at the other end of standard input and output, by two processes.
//!
//! What `ssh`, `docker exec -i` and the like start ends with its link, by a hangup or because they end it. So it only waits
//! with the link (and copies it, if it is no socket), while a guardian in a session of its own serves it. A session whose
//! link is lost goes on there; the process that the next link comes with finds it (`rendezvous`).
//!
//! Between the two is a *leash*: the guardian, or whoever got the link from it, drops its end when the link is not used any
//! more; the other end passes on the wish to end it all.

use std::fmt::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use outpost_transport::{Connection, Peer};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::PipeFlags;

use crate::control::{Control, Received};
use crate::guardian::{Leash, ServeOptions, Source, serve};
use crate::handover::{hex, unhex};
use crate::role::Backend;
use crate::signals::{Arrived, Signals};
use crate::{AllowList, Audit, Grace, JOURNAL_SOCKET, Log, ServerError, StdioLink, local};

/// Bytes of the guardian's log passed on at once.
const LOG_PIECE: usize = 4 << 10;

/// How to serve standard input and output.
#[derive(Debug, Clone, Default)]
pub struct StdioOptions {
    /// A process creation that waits for the client to ask for it; empty: none.
    pub command_line: Vec<String>,
    /// How long the session outlives its link.
    pub grace: Grace,
    /// What the client may do at most.
    pub allowed: AllowList,
    /// Where it is written who did what.
    pub audit: Audit,
}

/// Serves the debugger at the other end; returns when it is gone, also if a session stays behind for it (`grace`).
///
/// Must be called in a process with one thread, but for those of the link; blocks signals in it.
///
/// # Errors
/// Only what keeps the server from working at all.
pub fn serve_stdio(mut link: StdioLink, options: &StdioOptions) -> Result<(), ServerError> {
    let Some(connection) = link.connection() else { return Ok(()) };
    let (leash, its_leash) = Control::pair().map_err(ServerError::io("make a control socket"))?;
    // Standard error ends with this process; whoever waits for its end (sshd) must not wait for a session that is held.
    let (log, its_log) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(ServerError::io("make a pipe"))?;
    let (control, mut command) = local::guardian()?;
    let its_output = its_log.try_clone().map_err(ServerError::io("make a pipe"))?;
    command.stdout(its_output).stderr(its_log);
    command.spawn().map_err(ServerError::io("start a guardian"))?;
    // It keeps the guardian's ends of the pipe.
    drop(command);
    let orders = orders(link.log(), options);
    let stdin = std::io::stdin();
    let mut descriptors = vec![connection.as_fd(), stdin.as_fd(), its_leash.as_fd()];
    descriptors.extend(options.audit.as_file());
    control.send(orders.as_bytes(), &descriptors).map_err(ServerError::io("hand the link to the guardian"))?;
    drop((connection, its_leash, control));
    wait(&Signals::take()?, &leash, &log);
    Ok(())
}

/// Until the link is not used any more.
fn wait(signals: &Signals, leash: &Control, log: &OwnedFd) {
    let mut has_log = true;
    loop {
        while let Some(arrived) = signals.next() {
            match arrived {
                // The terminal is gone, and the link with it.
                Arrived::End("SIGHUP") => return,
                Arrived::End(signal) => drop(leash.send(signal.as_bytes(), &[])),
                Arrived::Child => {}
            }
        }
        let mut fds = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(leash, PollFlags::IN)];
        if has_log {
            fds.push(PollFd::new(log, PollFlags::IN));
        }
        let _ = poll(&mut fds, None);
        let is_over = !fds[1].revents().is_empty() && !matches!(leash.receive(false), Ok(Received::Nothing));
        if fds.get(2).is_some_and(|fd| !fd.revents().is_empty()) {
            has_log = pass_on(log);
        }
        if is_over {
            return;
        }
    }
}

/// Passes on what there is of the log; `false`: there will be no more.
fn pass_on(log: &OwnedFd) -> bool {
    let mut piece = [0; LOG_PIECE];
    match rustix::io::read(log, &mut piece) {
        Ok(0) => false,
        Ok(count) => {
            // A closed standard error is no obstacle.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), &piece[..count]);
            true
        }
        Err(error) => error == rustix::io::Errno::INTR,
    }
}

/// An audit log that is a file comes along as the last descriptor.
fn orders(log: Log, StdioOptions { command_line, grace, allowed, audit }: &StdioOptions) -> String {
    let mut text = format!(
        "attend\nquiet {}\ngrace {}\nmost {}\njournal {}\n",
        u8::from(log == Log::Quiet),
        grace.default.as_secs(),
        grace.most.as_secs(),
        u8::from(audit.is_journal()),
    );
    let words = command_line.iter().map(|word| ("word", word.clone()));
    for (key, value) in words.chain(allowed.iter().map(|allowed| ("allow", allowed.to_string()))) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{key} {}", hex(value.as_bytes()));
    }
    text
}

fn read_orders(text: &str, audit: Option<OwnedFd>) -> Option<ServeOptions> {
    let lines: Vec<(&str, &str)> =
        text.strip_prefix("attend\n")?.lines().filter_map(|line| line.split_once(' ')).collect();
    let find = |key| lines.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    let seconds = |key| find(key)?.parse().ok().map(Duration::from_secs);
    let texts = |key| {
        let found = lines.iter().filter(move |(name, _)| *name == key);
        found.map(|(_, value)| String::from_utf8(unhex(value)?).ok())
    };
    let mut allowed = AllowList::default();
    for text in texts("allow") {
        allowed.push(text?.parse().ok()?);
    }
    let audit = match (audit, find("journal")? == "1") {
        (Some(file), _) => Audit::to_file(file.into()),
        (None, true) => Audit::journal(Path::new(JOURNAL_SOCKET)).ok()?,
        (None, false) => Audit::default(),
    };
    Some(ServeOptions {
        log: if find("quiet")? == "1" { Log::Quiet } else { Log::Stderr },
        command_line: texts("word").collect::<Option<_>>()?,
        grace: Grace { default: seconds("grace")?, most: seconds("most")? },
        // It serves nobody else.
        remote_end: true,
        idle_exit: None,
        roles: Vec::new(),
        allowed,
        audit,
        announce: false,
    })
}

/// Runs this process as the guardian of such a link.
pub(crate) fn run_guardian(
    backend: &dyn Backend,
    orders: &str,
    mut descriptors: Vec<OwnedFd>,
) -> Result<(), ServerError> {
    let missing = |reason| ServerError::Handover { reason };
    let audit = if descriptors.len() > 3 { descriptors.pop() } else { None };
    let options = read_orders(orders, audit).ok_or(missing("the orders are damaged"))?;
    let [link, stdin, leash] =
        <[OwnedFd; 3]>::try_from(descriptors).map_err(|_| missing("wrong number of descriptors"))?;
    rustix::stdio::dup2_stdin(&stdin).map_err(ServerError::io("restore standard input"))?;
    drop(stdin);
    // Away from whatever group and terminal the link hangs on. It fails only for who leads a group: nobody's child does.
    let _ = rustix::process::setsid();
    let source = Source::Attended(Connection::new(link, Peer::Memory), Leash(leash.into()));
    serve(source, backend, options).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_written() {
        let grace = Grace { default: Duration::from_secs(5), most: Duration::from_secs(9) };
        let words = ["./a b".to_owned(), String::new(), "x\ny".to_owned()];
        let mut allowed = AllowList::default();
        allowed.push("operation=attach".parse().unwrap());
        let sent = StdioOptions { command_line: words.to_vec(), grace, allowed, audit: Audit::default() };
        let options = read_orders(&orders(Log::Quiet, &sent), None).unwrap();
        assert_eq!((options.log, options.grace, &options.command_line[..]), (Log::Quiet, grace, &words[..]));
        assert_eq!(options.allowed, sent.allowed);
        assert!(!options.audit.is_journal() && options.audit.as_file().is_none());
        let file = tempfile::tempfile().unwrap();
        assert!(read_orders(&orders(Log::Quiet, &sent), Some(file.into())).unwrap().audit.as_file().is_some());
        assert!(read_orders("serve", None).is_none());
        assert!(read_orders("attend\nquiet 0\ngrace soon\nmost 1\njournal 0\n", None).is_none());
    }
}
