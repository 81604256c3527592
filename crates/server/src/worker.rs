//! The worker process: one session, from its handover to its end.

use std::os::fd::{AsFd, BorrowedFd};

use outpost_target::TargetError;
use outpost_wire::{FrameQueue, Header, RefusalCode, encode_refusal};

use crate::control::{Control, Received};
use crate::handover::Handover;
use crate::role::{Backend, Doorbell, WorkerSetup};
use crate::session::{SessionEnd, SessionSetup, Superior, serve_session};
use crate::{Log, ServerError, signals};

/// Runs this process as a worker.
pub(crate) fn run(backend: &dyn Backend) -> Result<(), ServerError> {
    signals::unblock_all()?;
    let control = Control::from_stdin().map_err(ServerError::io("open the control socket"))?;
    let Handover { session, token, open, command_line, log, link, journal, stdin } = Handover::receive(&control)?;
    // From here on the control socket has one handle, closed by exec, and created processes find the server's terminal.
    rustix::stdio::dup2_stdin(&stdin).map_err(ServerError::io("restore standard input"))?;
    drop(stdin);

    let doorbell = Doorbell::new(control.try_clone().map_err(ServerError::io("share the control socket"))?);
    let mut target = match backend.target(WorkerSetup { journal, doorbell }) {
        Ok(target) => target,
        Err(error) => {
            refuse(&link, &error);
            let _ = control.send(b"done", &[]);
            return Ok(());
        }
    };
    let setup = SessionSetup { session, token, request: open.request, agreed: open.agreed, command_line };
    let mut guardian = Guardian { control, session, log };
    let end = serve_session(link, target.as_mut(), setup, &mut guardian);
    drop(target);
    guardian.log(format_args!("{end}"));
    // A guardian that is gone needs no report.
    let how: &[u8] = if matches!(end, SessionEnd::LinkLost(_)) { b"lost" } else { b"done" };
    let _ = guardian.control.send(how, &[]);
    Ok(())
}

fn refuse(mut link: &outpost_transport::Connection, error: &TargetError) {
    let text = format!("the session could not be opened: {error}");
    let mut queue = FrameQueue::new();
    if queue.push(Header::default(), encode_refusal(RefusalCode::Session, &text)).is_ok() {
        let _ = queue.write_to(&mut link);
    }
}

/// The guardian as the worker's session sees it.
struct Guardian {
    control: Control,
    session: u64,
    log: Log,
}

impl Superior for Guardian {
    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.control.as_fd())
    }

    fn order_to_end(&mut self) -> Option<String> {
        match self.control.receive(false) {
            Ok(Received::Nothing) => None,
            Ok(Received::Message(message, _)) => {
                let text = String::from_utf8_lossy(&message).into_owned();
                text.strip_prefix("end ").map(str::to_owned)
            }
            Ok(Received::Closed) | Err(_) => Some("the server's guardian is gone".into()),
        }
    }

    fn end_server(&mut self) -> Result<(), TargetError> {
        self.control.send(b"end server", &[]).map_err(|error| TargetError::Os {
            operation: "reach the guardian".into(),
            errno: error.raw_os_error().unwrap_or(0),
            reason: error.to_string(),
        })
    }

    fn log(&mut self, text: std::fmt::Arguments<'_>) {
        self.log.line(format_args!("session {}: {text}", self.session));
    }
}
