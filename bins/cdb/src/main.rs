//! `cdb`: the debugger at the desk. Puts the parts together and reads the command line; everything else is in them.

mod exit_codes;
mod host;
mod options;
mod start;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use outpost_live::LiveBackend;
use outpost_session::Session;

use options::{Append, Options, Request};

fn main() -> ExitCode {
    if let Some(code) = outpost_server::run_hidden_role(&LiveBackend) {
        return code;
    }
    match options::parse(std::env::args().skip(1)) {
        Ok(Request::Debug(options)) => debug(*options),
        Ok(Request::Help) => show(std::io::stdout(), options::HELP, ExitCode::SUCCESS),
        Ok(Request::Version) => {
            show(std::io::stdout(), concat!("Outpost cdb ", env!("CARGO_PKG_VERSION"), "\n"), ExitCode::SUCCESS)
        }
        Err(mistake) => {
            show(std::io::stderr(), &format!("cdb: {mistake} (cdb -? lists the options)\n"), exit_codes::USAGE.into())
        }
    }
}

fn show(mut stream: impl Write, text: &str, code: ExitCode) -> ExitCode {
    // Nobody is left to be told that nobody reads.
    drop(stream.write_all(text.as_bytes()));
    code
}

fn debug(options: Options) -> ExitCode {
    let console = match first_lines(&options) {
        Ok(first) => outpost_console::Options { history: state_file("history"), first, no_input: false },
        Err(mistake) => return show(std::io::stderr(), &format!("cdb: {mistake}\n"), exit_codes::USAGE.into()),
    };
    let session = Session::start(move |output| start::start(&options, output));
    match outpost_console::run(&session, &console) {
        Ok(Some(_)) => ExitCode::SUCCESS,
        Ok(None) => exit_codes::NOTHING_TO_DEBUG.into(),
        Err(error) => {
            show(std::io::stderr(), &format!("cdb: terminal: {error}\n"), exit_codes::NOTHING_TO_DEBUG.into())
        }
    }
}

/// Lines before the user's: log, startup file, `-c`, `-cf`.
fn first_lines(options: &Options) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    if let Some((path, append)) = &options.log {
        let command = if *append == Append::Yes { ".logappend" } else { ".logopen" };
        lines.push(format!("{command} {}", path.display()));
    }
    // Like every program's own settings: absent is no error.
    let startup = config_file("startup.dbg").and_then(|path| std::fs::read_to_string(path).ok());
    lines.extend(startup.iter().flat_map(|text| text.lines()).map(String::from));
    lines.extend(options.commands.iter().cloned());
    if let Some(path) = &options.command_file {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        lines.extend(text.lines().map(String::from));
    }
    // An empty line would repeat the one before it.
    lines.retain(|line| !line.trim().is_empty());
    Ok(lines)
}

/// A file of ours below `$XDG_CONFIG_HOME`.
fn config_file(name: &str) -> Option<PathBuf> {
    folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join(name))
}

/// A file of ours below `$XDG_STATE_HOME`, whose folder exists.
fn state_file(name: &str) -> Option<PathBuf> {
    let folder = folder("XDG_STATE_HOME", ".local/state")?;
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join(name))
}

/// XDG Base Directory Specification 0.8: an absolute path in the variable, else the default below the home folder.
fn folder(variable: &str, default: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(default)))?;
    Some(base.join("outpost"))
}
