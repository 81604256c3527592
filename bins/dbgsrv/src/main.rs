//! The process server: gives debuggers elsewhere the processes of this machine.
//!
//! It knows no symbols, no commands and no expressions; all of that is at the other end. See `dbgsrv --help`.

mod created;
mod daemon;
mod exit_codes;
mod options;

use std::process::ExitCode;

use outpost_live::LiveBackend;
use outpost_server::{Log, Outcome, ServeOptions, Source, StdioLink, serve, serve_reverse};
use outpost_transport::{Listener, ReverseDial, ServerTransport};

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
        Request::Show(text) => show(&text).map(|()| exit_codes::SUCCESS),
        Request::Stdio(command_line) => serve_stdio(command_line),
        Request::Serve(options) if options.daemon => match daemon::start() {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Request::Serve(options) => run(options),
    };
    outpost_transport::end_serial_lines();
    match result {
        Ok(code) => ExitCode::from(code),
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

fn run(options: Options) -> anyhow::Result<u8> {
    // Before anything else: signals are not blocked yet, and there is one thread.
    if let Some(program) = &options.program {
        let process = created::create(program)?;
        let how = if program.suspended { ", suspended" } else { "" };
        Log::Stderr.line(format_args!("created process {process}{how}: {}", program.words.join(" ")));
    }
    let serve_options = ServeOptions { log: Log::Stderr, command_line: options.implicit_command };
    if let ServerTransport::TcpReverse(dial) = &options.transport {
        if options.is_daemon {
            daemon::is_ready();
        }
        return serve_dialled(dial, serve_options);
    }
    let listener = Listener::bind(&options.transport)?;
    announce(&listener);
    if options.is_daemon {
        daemon::is_ready();
    }
    serve(Source::Listener(listener), &LiveBackend, serve_options)?;
    Ok(exit_codes::SUCCESS)
}

/// One debugger, at the other end of standard input and output.
fn serve_stdio(command_line: Vec<String>) -> anyhow::Result<u8> {
    let mut link = StdioLink::take()?;
    let options = ServeOptions { log: link.log(), command_line };
    if let Some(connection) = link.connection() {
        serve(Source::Connection(connection), &LiveBackend, options)?;
    }
    Ok(exit_codes::SUCCESS)
}

/// One debugger, which waits for this server.
fn serve_dialled(dial: &ReverseDial, options: ServeOptions) -> anyhow::Result<u8> {
    let ReverseDial { host, port, .. } = dial;
    Log::Stderr.line(format_args!("dialling {host} port {port}"));
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let password = if dial.password.is_some() { ",password=..." } else { "" };
    Log::Stderr.line(format_args!("there: cdb -premote tcp:port={port},clicon={own}{password} -p PID"));
    if dial.password.is_none() && !outpost_transport::is_this_machine(host) {
        Log::Stderr.line(format_args!("without password= whoever answers there has this machine's processes"));
    }
    let again = "no other debugger can come: start this server again for the next one";
    match serve_reverse(dial, &LiveBackend, options)? {
        Outcome::Ended => Ok(exit_codes::SUCCESS),
        Outcome::LinkLost => {
            Log::Stderr.line(format_args!("the link broke; {again}"));
            Ok(exit_codes::LINK_LOST)
        }
        Outcome::NoSession(_) => {
            Log::Stderr.line(format_args!("there was no session; {again}"));
            Ok(exit_codes::LINK_LOST)
        }
    }
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
