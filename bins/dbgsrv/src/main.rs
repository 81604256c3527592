//! The process server: gives debuggers elsewhere the processes of this machine.
//!
//! It knows no symbols, no commands and no expressions; all of that is at the other end. See `dbgsrv --help`.

mod created;
mod daemon;
mod exit_codes;
mod options;

use std::process::ExitCode;

use outpost_live::LiveBackend;
use outpost_server::{Log, ServeOptions, Source, serve};
use outpost_transport::{Listener, ServerTransport};

use options::{Options, Request};

fn main() -> ExitCode {
    // A worker is this same program, started again by its guardian.
    if let Some(code) = outpost_server::run_hidden_role(&LiveBackend) {
        return code;
    }
    let request = match options::parse(std::env::args_os()) {
        Ok(request) => request,
        Err(error) => {
            Log::Stderr.line(format_args!("{error}; see dbgsrv --help"));
            return ExitCode::from(exit_codes::USAGE);
        }
    };
    let result = match request {
        Request::Show(text) => show(&text),
        Request::Serve(options) if options.daemon => match daemon::start() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Request::Serve(options) => run(options),
    };
    match result {
        Ok(()) => ExitCode::from(exit_codes::SUCCESS),
        Err(error) => {
            Log::Stderr.line(format_args!("{error:#}"));
            ExitCode::from(exit_codes::FAILURE)
        }
    }
}

fn show(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn run(options: Options) -> anyhow::Result<()> {
    // Before anything else: signals are not blocked yet, and there is one thread.
    if let Some(program) = &options.program {
        let process = created::create(program)?;
        let how = if program.suspended { ", suspended" } else { "" };
        Log::Stderr.line(format_args!("created process {process}{how}: {}", program.words.join(" ")));
    }
    let listener = Listener::bind(&options.transport)?;
    announce(&listener);
    if options.is_daemon {
        daemon::is_ready();
    }
    let serve_options = ServeOptions { log: Log::Stderr, command_line: options.implicit_command };
    Ok(serve(Source::Listener(listener), &LiveBackend, serve_options)?)
}

/// Says where it listens, and what to type at the other end.
fn announce(listener: &Listener) {
    let transport = listener.transport();
    Log::Stderr.line(format_args!("listening on {transport}"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut client = listener.client_transport(&host).to_string();
    if transport.password().is_some() {
        client += ",Password=*";
    }
    Log::Stderr.line(format_args!("connect with: cdb -premote {client} -p PID"));
    if transport.is_beyond_this_machine() {
        Log::Stderr
            .line(format_args!("what crosses plain tcp can be read on the network; the password never crosses it"));
    }
    if matches!(transport, ServerTransport::Tcp(tcp) if tcp.open_firewall) {
        Log::Stderr.line(format_args!("IcfEnable: this release leaves the firewall alone; open the port yourself"));
    }
}
