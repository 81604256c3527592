//! From the command line to the first prompt.

use std::path::Path;

use outpost_base::ProcessId;
use outpost_commands::{Debugger, Output, OutputKind};
use outpost_dump::{DumpError, ElfCore};
use outpost_engine::{BreakStatus, Engine, EngineError, SystemOrdinal};
use outpost_remote::Options as RemoteOptions;
use outpost_target::{AttachMode, CreateSpec, NameMatch, ProcessQuery, StdioSpec};

use crate::host::{self, HostError};
use crate::options::{Hold, Options, Subject};

/// Why there is nothing to debug.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Dump(#[from] DumpError),
    #[error("no process is called '{name}'")]
    NoneNamed { name: String },
    #[error("several processes are called '{name}': {ids}; choose one by -p")]
    SeveralNamed { name: String, ids: String },
    #[error("the server holds no command line pending (dbgsrv -pc COMMAND)")]
    NothingPending,
}

/// Makes the debugger, with everything acquired that the command line names; `None` if that cannot be, after saying why.
pub(crate) fn start(options: &Options, output: &mut dyn Output) -> Option<Debugger> {
    let mut engine = Engine::new();
    apply(options, &mut engine);
    if let Err(error) = acquire(options, &mut engine, output) {
        output.write(OutputKind::Error, &format!("{error}\n"));
        return None;
    }
    let expects_event = options.subject != Subject::None;
    let mut debugger = Debugger::new(engine);
    debugger.settings.lines = options.lines;
    debugger.settings.noisy = options.noisy;
    debugger.set_connector(Box::new(host::connector));
    debugger.set_command_line(host::command_line());
    if expects_event {
        debugger.expect_event();
    }
    Some(debugger)
}

fn apply(options: &Options, engine: &mut Engine) {
    if let Some(path) = &options.symbol_path {
        engine.set_symbol_path(path);
    }
    if let Some(path) = &options.source_path {
        engine.set_source_path(path);
    }
    let ignored = [("ibp", options.skip_initial_break), ("epr", options.skip_final_break)];
    for (code, _) in ignored.iter().filter(|(_, skip)| *skip) {
        if let Some(filter) = engine.filters_mut().get_mut(code) {
            filter.status = BreakStatus::Ignore;
        }
    }
}

fn acquire(options: &Options, engine: &mut Engine, output: &mut dyn Output) -> Result<(), StartError> {
    if let Subject::Dumps(files) = &options.subject {
        for file in files {
            let core = ElfCore::open(Path::new(file))?;
            core.problems().for_each(|problem| output.write(OutputKind::Warning, &format!("{file}: {problem}\n")));
            engine.add_system(Box::new(core))?;
        }
        return Ok(());
    }
    let first_query = match &options.subject {
        Subject::Named(name) => Some(by_name(name)),
        _ => None,
    };
    let take_command_line = options.subject == Subject::Pending;
    let remote = RemoteOptions { first_query, take_command_line, ..RemoteOptions::default() };
    let (system, pending) = host::add(engine, options.remote.as_deref(), remote)?;
    if options.detach_on_exit {
        let set = engine.with_target(system, |target| target.as_live().map(|live| live.set_detach_on_exit(true)))?;
        set.transpose().map_err(EngineError::from)?;
    }
    match &options.subject {
        Subject::Process(id) => attach(options, engine, system, ProcessId(*id)),
        Subject::Named(name) => {
            let id = find(engine, system, name)?;
            attach(options, engine, system, id)
        }
        Subject::Program(words) => create(options, engine, system, words),
        Subject::Pending if pending.is_empty() => Err(StartError::NothingPending),
        Subject::Pending => create(options, engine, system, &pending),
        Subject::None | Subject::Dumps(_) => Ok(()),
    }
}

fn attach(options: &Options, engine: &mut Engine, system: SystemOrdinal, id: ProcessId) -> Result<(), StartError> {
    let mode = match options.hold {
        Hold::Invasive => AttachMode::Invasive { break_in: true },
        Hold::NoBreak => AttachMode::Invasive { break_in: false },
        Hold::Noninvasive => AttachMode::Noninvasive { suspend: true },
        Hold::Running => AttachMode::Noninvasive { suspend: false },
        Hold::Existing => AttachMode::Existing,
    };
    engine.attach(system, id, mode)?;
    Ok(())
}

fn create(options: &Options, engine: &mut Engine, system: SystemOrdinal, words: &[String]) -> Result<(), StartError> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    // On this machine the program shares our terminal; elsewhere its output comes here.
    let stdio = if options.remote.is_some() { StdioSpec::Client } else { StdioSpec::Server };
    let spec = CreateSpec {
        program: program.clone(),
        arguments: arguments.to_vec(),
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio,
        randomize: true,
        break_in: true,
    };
    engine.create(system, &spec)?;
    Ok(())
}

fn by_name(name: &str) -> ProcessQuery {
    let how = if name.contains('/') { NameMatch::FullPath } else { NameMatch::FileName };
    ProcessQuery::Name { name: name.into(), how }
}

/// The one process of that name.
fn find(engine: &mut Engine, system: SystemOrdinal, name: &str) -> Result<ProcessId, StartError> {
    let found = engine.list_os_processes(system, &by_name(name), true)?;
    match found.as_slice() {
        [one] => Ok(one.id),
        [] => Err(StartError::NoneNamed { name: name.into() }),
        several => {
            let ids: Vec<String> = several.iter().map(|process| process.id.to_string()).collect();
            Err(StartError::SeveralNamed { name: name.into(), ids: ids.join(", ") })
        }
    }
}
