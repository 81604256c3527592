//! From options to a debugger with its first debuggee.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use outpost_base::ProcessId;
use outpost_commands::{CommandError, Debugger, Output, OutputKind};
use outpost_engine::{BreakStatus, Engine, SystemOrdinal};
use outpost_target::{AttachMode, NameMatch, OsProcess, ProcessQuery, StdioSpec, Target};
use outpost_transport::Connection;

use crate::options::{Attaching, Debuggee, LogMode, Options};
use crate::{servers, targets};

/// Commands in the current directory, as the reference has them.
const LOCAL_SCRIPT: &str = "ntsd.ini";

/// Makes the debugger, opens the log, connects, and attaches, creates or opens what is to be debugged.
///
/// # Errors
/// A sentence for the user: nothing is debugged then.
pub(crate) fn debugger(options: &Options, out: &mut dyn Output) -> Result<Debugger, String> {
    let mut debugger = Debugger::new(Engine::new());
    debugger.set_connector(Box::new(targets::connect));
    debugger.set_server_list(Box::new(servers::of_this_machine));
    debugger.set_command_line(targets::command_line());
    configure(&mut debugger, options, out)?;
    match &options.debuggee {
        // What .attach, .create and .tlist mean is that machine, not this one.
        Debuggee::Nothing if options.premote.is_some() => drop(connect(&mut debugger, options, None)?),
        Debuggee::Nothing => {}
        Debuggee::Session(_) => {
            connect(&mut debugger, options, None)?;
            // A session may be held that has no process (any more).
            if !debugger.engine.processes().is_empty() {
                debugger.expect_event();
            }
        }
        Debuggee::Cores(paths) => paths.iter().try_for_each(|path| open_core(&mut debugger, path, options, out))?,
        Debuggee::Pid(pid) => {
            let (system, _) = connect(&mut debugger, options, Some(ProcessQuery::Id(ProcessId(*pid))))?;
            attach(&mut debugger, system, ProcessId(*pid), options)?;
        }
        Debuggee::Name(name) => {
            let query = ProcessQuery::Name {
                name: name.clone(),
                how: if name.contains('/') { NameMatch::FullPath } else { NameMatch::FileName },
            };
            let (system, _) = connect(&mut debugger, options, Some(query.clone()))?;
            let found = debugger.engine.list_os_processes(system, &query, false);
            let found = found.map_err(|error| format!("cannot look for {name}: {error}"))?;
            let process = only(name, &found)?;
            attach(&mut debugger, system, process, options)?;
        }
        Debuggee::Program(words) => {
            let (system, _) = connect(&mut debugger, options, None)?;
            create(&mut debugger, system, words)?;
        }
        Debuggee::Implicit => {
            let (system, words) = connect(&mut debugger, options, None)?;
            if words.is_empty() {
                return Err("the server holds no command line pending".into());
            }
            create(&mut debugger, system, &words)?;
        }
    }
    Ok(debugger)
}

fn configure(debugger: &mut Debugger, options: &Options, out: &mut dyn Output) -> Result<(), String> {
    debugger.settings.noisy = options.noisy;
    debugger.settings.detach_on_quit = options.detach_on_exit;
    // At a terminal, created processes have one, too, wherever they are: what is typed while they run is for them.
    if let Some((columns, rows)) = outpost_console::terminal_size() {
        debugger.settings.stdio = StdioSpec::Pty { columns, rows };
    }
    // The names of the reference are honoured, so that scripts carry over.
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let symbols = options.symbols.clone().or_else(|| variable("_NT_SYMBOL_PATH"));
    let all: Vec<String> =
        [variable("_NT_ALT_SYMBOL_PATH"), symbols, options.images.clone()].into_iter().flatten().collect();
    if !all.is_empty() {
        debugger.engine.set_symbol_path(&all.join(";"));
    }
    if let Some(sources) = options.sources.clone().or_else(|| variable("_NT_SOURCE_PATH")) {
        debugger.engine.set_source_path(&sources);
    }
    for (wanted, code) in [(options.go_at_start, "ibp"), (options.go_at_exit, "epr")] {
        if let Some(filter) = debugger.engine.filters_mut().get_mut(code).filter(|_| wanted) {
            filter.status = BreakStatus::Ignore;
        }
    }
    for command in &options.filters {
        let wrong = |error: CommandError| format!("-x{}: {}", command.trim_start_matches("sx"), error.message());
        debugger.set_up(command, out).map_err(wrong)?;
    }
    debugger.engine.filters_mut().follow_forks = options.debug_children;
    if let Some((path, mode)) = &options.log {
        let command = if *mode == LogMode::Append { ".logappend" } else { ".logopen" };
        debugger.execute(&format!("{command} {}", path.display()), out);
    }
    if options.verbose {
        out.write(OutputKind::Verbose, &format!("{}\n", outpost_server::version_text("cdb")));
    }
    Ok(())
}

fn connect(
    debugger: &mut Debugger,
    options: &Options,
    first_query: Option<ProcessQuery>,
) -> Result<(SystemOrdinal, Vec<String>), String> {
    let wish = targets::Wish {
        first_query: first_query.clone(),
        take_command_line: options.debuggee == Debuggee::Implicit,
        on_lost: options.on_lost,
        take_over: match options.debuggee {
            Debuggee::Session(number) => Some(number),
            _ => None,
        },
    };
    let (target, words): (Box<dyn Target>, _) = match &options.premote {
        Some(transport) => {
            let link = options.link.as_ref().map(Connection::try_clone).transpose();
            let link = link.map_err(|error| format!("cannot use the connection: {error}"))?;
            targets::remote(transport, link, wish)?
        }
        None => (targets::local(first_query)?, Vec::new()),
    };
    let system = debugger.engine.add_system(target).map_err(|error| error.to_string())?;
    Ok((system, words))
}

fn open_core(debugger: &mut Debugger, path: &Path, options: &Options, out: &mut dyn Output) -> Result<(), String> {
    let core = targets::core(path)?;
    for problem in core.problems() {
        out.write(OutputKind::Warning, &format!("{}: {problem}\n", path.display()));
    }
    if options.verbose {
        out.write(OutputKind::Verbose, &format!("Loading dump file {}\n", path.display()));
    }
    debugger.engine.add_system(Box::new(core)).map_err(|error| error.to_string())?;
    debugger.expect_event();
    Ok(())
}

/// The one process of a name.
fn only(name: &str, found: &[OsProcess]) -> Result<ProcessId, String> {
    match found {
        [process] => Ok(process.id),
        [] => Err(format!("no process is called {name}")),
        several => {
            let ids: Vec<String> = several.iter().map(|process| process.id.to_string()).collect();
            Err(format!("{} processes are called {name}: {}; name one of them by -p", several.len(), ids.join(", ")))
        }
    }
}

fn attach(debugger: &mut Debugger, system: SystemOrdinal, process: ProcessId, options: &Options) -> Result<(), String> {
    let mode = match options.attaching {
        Attaching::Invasive => AttachMode::Invasive { break_in: !options.no_break },
        Attaching::Noninvasive => AttachMode::Noninvasive { suspend: !options.no_break },
        Attaching::NoninvasiveRunning => AttachMode::Noninvasive { suspend: false },
        Attaching::Existing => AttachMode::Existing,
    };
    let attached = debugger.engine.attach(system, process, mode);
    attached.map_err(|error| format!("cannot attach to process {process}: {error}"))?;
    // A process that is not stopped makes no event by being attached to.
    let runs_on = [AttachMode::Invasive { break_in: false }, AttachMode::Noninvasive { suspend: false }];
    if !runs_on.contains(&mode) {
        debugger.expect_event();
    }
    Ok(())
}

fn create(debugger: &mut Debugger, system: SystemOrdinal, words: &[String]) -> Result<(), String> {
    let [program, arguments @ ..] = words else { return Err("the program is missing".into()) };
    debugger.create(system, program, arguments).map_err(|error| format!("cannot start {program}: {error}"))?;
    Ok(())
}

/// Lines to begin with: the user's own startup file, `-cf` or the current directory's, then `-c`.
///
/// # Errors
/// A sentence for the user: the file of `-cf` cannot be read.
pub(crate) fn first_lines(options: &Options) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    if let Some(own) = own_script() {
        lines.extend(read_optional(&own));
    }
    match &options.command_file {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| format!("-cf {}: {error}", path.display()))?;
            lines.extend(text.lines().map(str::to_owned));
        }
        // A file that somebody else put into a shared directory is none of ours.
        None if is_own(Path::new(LOCAL_SCRIPT)) => lines.extend(read_optional(Path::new(LOCAL_SCRIPT))),
        None => {}
    }
    lines.extend(options.commands.iter().cloned());
    // An empty line would repeat the one before it.
    lines.retain(|line| !line.trim().is_empty());
    Ok(lines)
}

/// `$XDG_CONFIG_HOME/outpost/cdb.ini`.
fn own_script() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(config.join("outpost/cdb.ini"))
}

fn read_optional(path: &Path) -> Vec<String> {
    fs::read_to_string(path).map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
}

/// Whether a file belongs to the user who runs this, and nobody else may write it.
fn is_own(path: &Path) -> bool {
    let own = fs::metadata("/proc/self").map(|own| own.uid());
    match (fs::metadata(path), own) {
        (Ok(file), Ok(own)) => file.is_file() && file.uid() == own && file.mode() & 0o022 == 0,
        _ => false,
    }
}
