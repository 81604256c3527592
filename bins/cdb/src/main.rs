//! The debugger: live processes of this machine, processes behind a process server, core dumps.

mod exit_codes;
mod links;
mod network;
mod options;
mod servers;
mod startup;
mod targets;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use outpost_console::{ConsoleOptions, Finish, block_interrupts};
use outpost_live::LiveBackend;
use outpost_session::{Ending, Session};
use outpost_transport::hide_passwords;

use options::{Options, Request};
use servers::Listing;

fn main() -> ExitCode {
    // A debugger of local processes is its own server: guardian and worker are this program again.
    if let Some(code) = outpost_server::run_hidden_role(&LiveBackend) {
        return code;
    }
    let options = match options::parse(std::env::args_os()) {
        Ok(Request::Show(text)) => {
            // Whoever closes the pipe has read enough.
            let _ = writeln!(std::io::stdout(), "{text}");
            return exit_codes::ORDERLY.into();
        }
        Ok(Request::Query(host)) => {
            return match servers::of(&host) {
                Ok(Listing { text, remark }) => {
                    let _ = write!(std::io::stdout(), "{text}");
                    remark.iter().for_each(|remark| complain(remark));
                    exit_codes::ORDERLY.into()
                }
                Err(reason) => {
                    complain(&reason);
                    exit_codes::FAILED.into()
                }
            };
        }
        Ok(Request::Debug(options)) => *options,
        Err(error) => {
            complain(&format!("{error}\nTry 'cdb --help'."));
            return exit_codes::USAGE.into();
        }
    };
    if let Err(error) = hide_passwords() {
        complain(&format!("passwords on the command line stay in the process list: {error}"));
    }
    let finish = debug(options);
    outpost_transport::end_links();
    match finish {
        // It was told when it happened.
        Ok(Finish::Ended(Ending::Lost)) => exit_codes::BROKEN.into(),
        Ok(Finish::Ended(_)) => exit_codes::ORDERLY.into(),
        Ok(Finish::Failed(reason)) => {
            complain(&reason);
            exit_codes::FAILED.into()
        }
        Ok(Finish::Gone) => {
            complain("the session broke off");
            exit_codes::BROKEN.into()
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            exit_codes::FAILED.into()
        }
    }
}

fn debug(mut options: Options) -> anyhow::Result<Finish> {
    // While Ctrl+C still ends this program: both may take long.
    match links::make_early(options.premote.as_ref()) {
        Ok(link) => options.link = link,
        Err(reason) => return Ok(Finish::Failed(reason)),
    }
    // Before any thread, so that all of them leave Ctrl+C to the one that reads it.
    let interrupts = block_interrupts()?;
    let first = match startup::first_lines(&options) {
        Ok(first) => first,
        Err(reason) => return Ok(Finish::Failed(reason)),
    };
    let console = ConsoleOptions { history: history_file(), first };
    let (session, client) = Session::start(move |out| startup::debugger(&options, out))?;
    let finish = outpost_console::run(&session, client, Some(interrupts), &console)?;
    session.join();
    Ok(finish)
}

/// `$XDG_STATE_HOME/outpost/history` (XDG Base Directory Specification).
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("outpost/history"))
}

fn complain(text: &str) {
    // There is nowhere else to complain to.
    let _ = writeln!(std::io::stderr(), "cdb: {text}");
}
