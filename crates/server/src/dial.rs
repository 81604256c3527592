//! A reverse connection as its server sees it: it dials its one client, patiently until the client is there, and never
//! again once there was a session.

use std::time::{Duration, Instant};

use outpost_transport::{Connection, ReverseDial, TransportError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;

use crate::guardian::{Outcome, ServeOptions, Source, serve};
use crate::role::Backend;
use crate::signals::{Arrived, Signals};
use crate::{Log, ServerError};

/// Pause after the first attempt that fails; it doubles with each ...
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Dials until the client is there, and serves it. A signal ends that as it ends [`serve`].
///
/// A connection that the other end closes without a word is no client: somebody else's port, or a client that waits for
/// another server. It is dialled again.
///
/// Must be called in a process with one thread; blocks signals in it.
///
/// # Errors
/// Only what keeps the server from working at all.
pub fn serve_reverse(dial: &ReverseDial, backend: &dyn Backend, options: ServeOptions) -> Result<Outcome, ServerError> {
    let signals = Signals::take()?;
    let log = options.log;
    let (mut pause, mut told) = (FIRST_PAUSE, String::new());
    loop {
        let failure = match attempt(dial, &signals)? {
            Attempt::Interrupted(signal) => {
                log.line(format_args!("ended: {signal}"));
                return Ok(Outcome::Ended);
            }
            Attempt::Failed(error) => error.to_string(),
            Attempt::Connected(connection) => {
                log.line(format_args!("connected to {}", connection.peer()));
                let source = Source::Dialled(connection, dial.password().cloned());
                match serve(source, backend, options.clone())? {
                    Outcome::NoSession(None) => "the other end closes the connection without a word".to_owned(),
                    outcome => return Ok(outcome),
                }
            }
        };
        tell(log, &mut told, failure);
        if let Some(signal) = wait(&signals, None, Some(Instant::now() + pause)) {
            log.line(format_args!("ended: {signal}"));
            return Ok(Outcome::Ended);
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The same failure is told once.
fn tell(log: Log, told: &mut String, failure: String) {
    if *told != failure {
        log.line(format_args!("{failure}; trying again until the debugger is there (SIGTERM or Ctrl+C ends it)"));
        *told = failure;
    }
}

enum Attempt {
    Connected(Connection),
    Failed(TransportError),
    Interrupted(&'static str),
}

/// Dials in a thread of its own, since neither looking up a name nor connecting hears signals.
fn attempt(dial: &ReverseDial, signals: &Signals) -> Result<Attempt, ServerError> {
    let (over, open) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(ServerError::io("make a pipe"))?;
    let dial = dial.clone();
    let thread = std::thread::Builder::new().name("dial".into()).spawn(move || {
        let result = dial.dial();
        drop(open);
        result
    });
    let thread = thread.map_err(ServerError::io("start a thread"))?;
    if let Some(signal) = wait(signals, Some(&over), None) {
        // The thread is left to the end of the process.
        return Ok(Attempt::Interrupted(signal));
    }
    match thread.join() {
        Ok(Ok(connection)) => Ok(Attempt::Connected(connection)),
        Ok(Err(error)) => Ok(Attempt::Failed(error)),
        Err(_) => Err(ServerError::io("dial")(std::io::Error::other("the thread that dials failed"))),
    }
}

/// Waits for a signal that ends the server, at most until the pipe's other end is closed or until the deadline.
fn wait(signals: &Signals, pipe: Option<&std::os::fd::OwnedFd>, deadline: Option<Instant>) -> Option<&'static str> {
    loop {
        while let Some(arrived) = signals.next() {
            if let Arrived::End(signal) = arrived {
                return Some(signal);
            }
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
        let timeout = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        fds.extend(pipe.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let _ = poll(&mut fds, timeout.as_ref());
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            return None;
        }
    }
}
