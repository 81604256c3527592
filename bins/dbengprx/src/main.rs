//! The repeater: passes the bytes of clients to a server where they cannot reach it themselves, and back.
//!
//! It reads no message, so whatever a server and its clients speak passes, encrypted or not. See `dbengprx --help`.

mod dial;
mod exit_codes;
mod options;
mod relay;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use outpost_transport::{Listener, ServerTransport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use options::{Options, Request};
use relay::Relays;

/// Clients at once, each two threads and two descriptors; further ones wait in the kernel's queue.
const MAX_CLIENTS: usize = 4096;
/// How long clients may take to close what their server has closed.
const END_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let result = match options::parse(std::env::args_os()) {
        Ok(Request::Show(text)) => writeln!(std::io::stdout(), "{text}").map_err(Into::into),
        Ok(Request::Relay(options)) => run(options),
        Err(error) => {
            log(format_args!("{error}; see dbengprx --help"));
            return ExitCode::from(exit_codes::USAGE);
        }
    };
    outpost_transport::end_links();
    match result {
        Ok(()) => ExitCode::from(exit_codes::SUCCESS),
        Err(error) => {
            log(format_args!("{error:#}"));
            ExitCode::from(exit_codes::FAILURE)
        }
    }
}

/// One line on standard error, written at once. A closed standard error is no obstacle.
fn log(text: fmt::Arguments<'_>) {
    let line = format!("dbengprx: {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn run(options: Options) -> anyhow::Result<()> {
    // Before any thread, so that all of them leave the signals to this one.
    let mut signals = SigSet::empty();
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block().context("cannot block signals")?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    allow_descriptors();

    let relays = Relays::new(options.server.clone())?;
    let mut listener = None;
    if let ServerTransport::Reverse(dial) = &options.clients {
        log(format_args!("dialling {dial}, for {}", options.server));
        dial::start(dial.clone(), options.persistent, &relays)?;
    } else {
        let bound = Listener::bind_relay(&options.clients)?;
        announce(&bound, &options);
        listener = Some(bound);
    }
    let mut ending: Option<Instant> = None;
    loop {
        let watched = listener.as_ref().filter(|_| relays.count() < MAX_CLIENTS);
        let mut fds = vec![PollFd::new(&signals, PollFlags::IN), PollFd::new(&*relays, PollFlags::IN)];
        fds.extend(watched.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let left = ending.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Rounded up, so that the deadline has passed when the wait ends.
        let timeout = left.map(|left| Timespec { tv_sec: left.as_secs() as i64 + 1, tv_nsec: 0 });
        let _ = poll(&mut fds, timeout.as_ref());
        let has_client = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);

        relays.clear();
        if let Ok(Some(signal)) = signals.read_signal() {
            let name = Signal::try_from(signal.ssi_signo as i32).map_or("a signal", Signal::as_str);
            log(format_args!("ended: {name}"));
            return shut_down(&relays);
        }
        if let Some(listener) = listener.as_ref().filter(|_| has_client) {
            match listener.accept() {
                Ok(Some(client)) => relays.admit(client),
                Ok(None) => {}
                Err(error) => {
                    // Out of descriptors, most likely: give the connections that end time to return some.
                    log(format_args!("{error}"));
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        let is_over = relays.has_lost_its_server() || relays.is_dialling_over();
        if !options.persistent && ending.is_none() && is_over {
            let who = if relays.has_lost_its_server() { "server" } else { "client" };
            log(format_args!("ending: the {who} closed (-p stays)"));
            listener = None;
            ending = Some(Instant::now() + END_TIMEOUT);
        }
        if ending.is_some_and(|deadline| relays.count() == 0 || deadline <= Instant::now()) {
            return shut_down(&relays);
        }
    }
}

/// Ends every connection, and waits a little for those who carry them.
fn shut_down(relays: &Relays) -> anyhow::Result<()> {
    relays.shut_down();
    let deadline = Instant::now() + END_TIMEOUT;
    while relays.count() > 0 && Instant::now() < deadline {
        let _ = poll(&mut [PollFd::new(relays, PollFlags::IN)], Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
        relays.clear();
    }
    Ok(())
}

/// Two descriptors for each client: the usual limit of 1,024 is a soft one (getrlimit(2)).
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // With fewer, fewer clients come at once.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Says where it listens, and what to type at the other end.
fn announce(listener: &Listener, options: &Options) {
    log(format_args!("listening on {}, for {}", listener.transport(), options.server));
    for client in listener.client_transports() {
        log(format_args!("connect with: cdb -premote {client} -p PID"));
    }
    if listener.transport().is_beyond_this_machine() {
        log(format_args!("other machines can reach it: what keeps them out is the server's own password"));
    }
}
