//! The process server: gives debuggers elsewhere the processes of this machine.
//!
//! It knows no symbols, no commands and no expressions; all of that is at the other end. See `dbgsrv --help`.

mod created;
mod daemon;
mod exit_codes;
mod options;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use outpost_live::LiveBackend;
use outpost_server::{
    Audit, Grace, Grant, Log, Outcome, ServeOptions, Source, StdioLink, StdioOptions, serve, serve_reverse, serve_stdio,
};
use outpost_transport::{Credential, Listener, Password, ReverseDial, ServerTransport, hide_passwords};

use options::{AuditTo, Options, Request, Stdio};

fn main() -> ExitCode {
    // A worker is this same program, started again by its guardian.
    if let Some(code) = outpost_server::run_hidden_role(&LiveBackend) {
        return code;
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let request = match options::parse(arguments.clone()) {
        Ok(request) => request,
        Err(error) => {
            Log::Stderr.line(format_args!("{error}; see dbgsrv --help"));
            return ExitCode::from(exit_codes::USAGE);
        }
    };
    if let Err(error) = hide_passwords() {
        Log::Stderr.line(format_args!("passwords on the command line stay in the process list: {error}"));
    }
    let result = match request {
        Request::Show(text) => show(&text).map(|()| exit_codes::SUCCESS),
        Request::Stdio(options) => serve_link(options),
        Request::Serve(options) if options.daemon => match daemon::start(&arguments[1..]) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Request::Serve(options) => run(options),
    };
    outpost_transport::end_links();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            Log::Stderr.line(format_args!("{}", in_words(&error)));
            ExitCode::from(exit_codes::FAILURE)
        }
    }
}

/// What went wrong and why; many errors say their cause themselves, which is not said again.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if !words.ends_with(&cause) {
            let between = if words.is_empty() { "" } else { ": " };
            words = format!("{words}{between}{cause}");
        }
    }
    words
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
    keep_secrets().context("cannot keep others out of this process's memory")?;
    let mut transport = options.transport;
    // A reverse connection is made once: nobody could come back over another.
    let grace = if matches!(transport, ServerTransport::Reverse(_)) { Grace::NONE } else { options.grace };
    let serve_options = ServeOptions {
        log: Log::Stderr,
        command_line: options.implicit_command,
        grace,
        remote_end: options.remote_end,
        idle_exit: options.idle_exit,
        announce: options.announce,
        roles: options.roles,
        allowed: options.allowed,
        audit: options.audit.as_ref().map_or(Ok(Audit::default()), AuditTo::open)?,
    };
    if let ServerTransport::Reverse(dial) = &transport {
        dial.check()?;
        announce_dial(dial)?;
        if options.is_daemon {
            daemon::is_ready();
        }
        return serve_dialled(dial, serve_options);
    }
    let is_password = |grant: &Grant| matches!(grant.credential, Credential::Password(_));
    let has_roles = serve_options.roles.iter().any(is_password);
    let one_time =
        (transport.is_encrypted() && transport.lacks_secret() && !has_roles).then(Password::random).transpose();
    let one_time = one_time.context("cannot make a password")?;
    if let Some(password) = &one_time {
        transport.set_password(password.clone());
    }
    // A role's password is a secret as good as the transport's.
    let listener = if has_roles { Listener::bind_relay(&transport) } else { Listener::bind(&transport) }?;
    announce(&listener, one_time.as_ref(), has_roles)?;
    if options.is_daemon {
        daemon::is_ready();
    }
    serve(Source::Listener(listener), &LiveBackend, serve_options)?;
    Ok(exit_codes::SUCCESS)
}

/// One debugger, at the other end of standard input and output.
fn serve_link(Stdio { command_line, grace, allowed, audit }: Stdio) -> anyhow::Result<u8> {
    let link = StdioLink::take()?;
    let audit = audit.as_ref().map_or(Ok(Audit::default()), AuditTo::open)?;
    serve_stdio(link, &StdioOptions { command_line, grace, allowed, audit })?;
    Ok(exit_codes::SUCCESS)
}

/// Nobody may read the passwords and the key out of this process's memory, nor out of a core of it: no debugger of the
/// same user either (`PR_SET_DUMPABLE`, prctl(2)). Workers have none of them, and are started as usual.
fn keep_secrets() -> std::io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

/// One debugger, which waits for this server.
fn serve_dialled(dial: &ReverseDial, options: ServeOptions) -> anyhow::Result<u8> {
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

/// Says whom it dials, and what to type there.
fn announce_dial(dial: &ReverseDial) -> anyhow::Result<()> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let awaited = dial.counterpart(&host)?;
    let password = if dial.password().is_some() { ",Password=*" } else { "" };
    Log::Stderr.line(format_args!("dialling {dial}"));
    Log::Stderr.line(format_args!("there: cdb -premote {} -p PID", quoted(format!("{awaited}{password}"))));
    if dial.password().is_none() && !dial.proves_the_client() {
        Log::Stderr.line(format_args!("without password= whoever answers there has this machine's processes"));
    }
    Ok(())
}

/// Says where it listens, and what to type at the other end. A password is said only if nobody knows it otherwise.
fn announce(listener: &Listener, one_time: Option<&Password>, has_roles: bool) -> anyhow::Result<()> {
    let transport = listener.transport();
    Log::Stderr.line(format_args!("listening on {transport}"));
    let password = match (one_time, transport.password()) {
        (Some(password), _) => format!(",Password={}", password.reveal()?),
        (None, Some(_)) => ",Password=*".to_owned(),
        (None, None) if has_roles => ",Password=*".to_owned(),
        (None, None) => String::new(),
    };
    let own = if transport.asks_for_certificate() { ",ClientCert=NAME" } else { "" };
    for client in listener.client_transports() {
        let line = quoted(format!("{client}{own}{password}"));
        Log::Stderr.line(format_args!("connect with: cdb -premote {line} -p PID"));
    }
    if transport.is_beyond_this_machine() && !transport.is_encrypted() {
        Log::Stderr
            .line(format_args!("what crosses plain tcp can be read on the network; the password never crosses it"));
    }
    if matches!(transport, ServerTransport::Tcp(tcp) if tcp.open_firewall) {
        Log::Stderr.line(format_args!("IcfEnable: this release leaves the firewall alone; open the port yourself"));
    }
    Ok(())
}

/// As a shell takes it for one word.
fn quoted(text: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":=,._-*%@[]/".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{text}'") }
}
