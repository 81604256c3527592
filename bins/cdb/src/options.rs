//! The command line.
//!
//! Read by hand because of WinDbg's grammar, which no library has: words with a single dash (`-premote`), case that
//! matters (`-g` and `-G`), and a program's own arguments that start with the first word that is no option.

use std::path::PathBuf;

/// What to debug.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Nothing yet.
    #[default]
    None,
    /// A running process.
    Process(u32),
    /// A running process by name.
    Named(String),
    /// A program to start, with its arguments.
    Program(Vec<String>),
    /// What the server holds pending (`dbgsrv -pc`).
    Pending,
    /// Dump files.
    Dumps(Vec<String>),
}

/// How to take hold of a running process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Become its debugger and stop it.
    #[default]
    Invasive,
    /// Become its debugger without stopping it (`-pb`).
    NoBreak,
    /// Look at it while it is held (`-pv`).
    Noninvasive,
    /// Look at it while it runs (`-pvr`).
    Running,
    /// It was abandoned by another debugger (`-pe`).
    Existing,
}

/// Everything the command line said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) remote: Option<String>,
    pub(crate) subject: Subject,
    pub(crate) hold: Hold,
    pub(crate) detach_on_exit: bool,
    pub(crate) follow_children: bool,
    pub(crate) skip_initial_break: bool,
    pub(crate) skip_final_break: bool,
    pub(crate) commands: Vec<String>,
    pub(crate) command_file: Option<PathBuf>,
    pub(crate) symbol_path: Option<String>,
    pub(crate) image_path: Option<String>,
    pub(crate) source_path: Option<String>,
    pub(crate) lines: bool,
    pub(crate) log: Option<(PathBuf, Append)>,
    pub(crate) noisy: bool,
    pub(crate) verbose: bool,
}

/// Whether a log is begun anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Append {
    /// Its old content is dropped.
    No,
    /// It is continued.
    Yes,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Debug(Box<Options>),
    Help,
    Version,
}

/// The text of `-?`.
pub(crate) const HELP: &str = "\
usage: cdb [OPTIONS] -p PID | -pn NAME | -z CORE | PROGRAM [ARGUMENTS]
       cdb -premote TRANSPORT [OPTIONS] -p PID | -pn NAME | -cimp | PROGRAM [ARGUMENTS]

What to debug
  -p PID            attach to a process (decimal, or 0x...)
  -pn NAME          attach to the process of that name; there must be one
  -z CORE           open an ELF core; may be repeated
  PROGRAM ARGS      start a program; everything after its name is its own
  -premote T        on the machine of a process server: tcp:server=HOST,port=N[,password=P] or npipe:server=.,pipe=NAME.
                    Programs and process ids are then that machine's, all files of symbols and sources this one's
  -cimp             start what the server holds pending

How
  -pv / -pvr        look only, holding the process / letting it run
  -pb               do not stop the process when attaching
  -pe               take over a process that another debugger abandoned
  -pd               let every process go at the end, also those that were started
  -o                debug child processes, too
  -g / -G           go on from the initial stop / from the final one
  -c \"COMMANDS\"     carry these out first; may be repeated
  -cf FILE          carry out the lines of a file first
  -y PATH           symbol path        -i PATH  where executables of dumps are        -srcpath PATH  source path
  -lines            show source lines
  -logo / -loga F   log to a file, from its beginning / at its end
  -n                tell where symbols are looked for
  -v                tell more
  -version, -?      version, this text

Long spellings with two dashes work, too. Lines are read from standard input where that is no terminal. At the
prompt .help lists the commands, and Ctrl+C breaks in.

exit codes: 0 the session was ended by its user; 1 the command line is wrong; 2 there is nothing to debug (not found,
refused, no connection)
";

/// Reads the arguments after the program's name.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let mut arguments = arguments.into_iter();
    let mut options = Options::default();
    let mut dumps = Vec::new();
    while let Some(argument) = arguments.next() {
        let Some(word) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            let program = std::iter::once(argument).chain(arguments.by_ref()).collect();
            subject(&mut options, Subject::Program(program))?;
            break;
        };
        let (word, attached) = match word.split_once('=') {
            Some((word, value)) if argument.starts_with("--") => (word, Some(value.to_owned())),
            _ => (word, None),
        };
        let mut value = || attached.clone().or_else(|| arguments.next()).ok_or(format!("{argument} needs a value"));
        match word {
            "premote" => options.remote = Some(value()?),
            "p" => subject(&mut options, Subject::Process(process_id(&value()?)?))?,
            "pn" => subject(&mut options, Subject::Named(value()?))?,
            "cimp" => subject(&mut options, Subject::Pending)?,
            "z" => dumps.push(value()?),
            "pv" => options.hold = Hold::Noninvasive,
            "pvr" => options.hold = Hold::Running,
            "pb" => options.hold = Hold::NoBreak,
            "pe" => options.hold = Hold::Existing,
            "pd" => options.detach_on_exit = true,
            "o" => options.follow_children = true,
            "g" => options.skip_initial_break = true,
            "G" => options.skip_final_break = true,
            "c" => options.commands.push(value()?),
            "cf" => options.command_file = Some(value()?.into()),
            "y" => options.symbol_path = Some(value()?),
            "i" => options.image_path = Some(value()?),
            "srcpath" => options.source_path = Some(value()?),
            "lines" => options.lines = true,
            "logo" => options.log = Some((value()?.into(), Append::No)),
            "loga" => options.log = Some((value()?.into(), Append::Yes)),
            "n" => options.noisy = true,
            "v" => options.verbose = true,
            "version" => return Ok(Request::Version),
            "?" | "help" | "h" => return Ok(Request::Help),
            "server" | "remote" => {
                return Err(format!("{argument} is not in this release: sessions are not shared yet"));
            }
            _ => return Err(format!("unknown option {argument}")),
        }
    }
    if !dumps.is_empty() {
        subject(&mut options, Subject::Dumps(dumps))?;
    }
    if matches!(options.subject, Subject::Dumps(_)) && options.remote.is_some() {
        return Err("-z opens a file of this machine; it does not go with -premote".into());
    }
    Ok(Request::Debug(Box::new(options)))
}

fn subject(options: &mut Options, subject: Subject) -> Result<(), String> {
    if options.subject != Subject::None {
        return Err("more than one thing to debug was given".into());
    }
    options.subject = subject;
    Ok(())
}

fn process_id(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.strip_prefix("0n").unwrap_or(text).parse(),
    };
    parsed.map_err(|_| format!("'{text}' is no process id (decimal, or 0x...)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        match parse(line.split_whitespace().map(String::from)) {
            Ok(Request::Debug(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        parse(line.split_whitespace().map(String::from)).unwrap_err()
    }

    #[test]
    fn a_program_keeps_its_own_options() {
        let read = options("-premote tcp:server=alder,port=1 -g ./svc -p 5 --version");
        assert_eq!(read.subject, Subject::Program(["./svc", "-p", "5", "--version"].map(String::from).into()));
        assert!(read.skip_initial_break && read.remote.is_some());
    }

    #[test]
    fn words_with_one_dash_or_two_and_case_that_matters() {
        assert_eq!(options("--p=0x10"), options("-p 16"));
        assert!(options("-G -p 1").skip_final_break && !options("-G -p 1").skip_initial_break);
        assert_eq!(options("-pv -p 7").hold, Hold::Noninvasive);
        assert_eq!(options("-z a -z b").subject, Subject::Dumps(vec!["a".into(), "b".into()]));
        assert_eq!(parse(["-?".to_owned()]), Ok(Request::Help));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(refused("-p").contains("-p needs a value"));
        assert!(refused("-p x").contains("'x' is no process id"));
        assert!(refused("-p 1 -pn x").contains("more than one"));
        assert!(refused("-nonsense").contains("unknown option -nonsense"));
        assert!(refused("-premote tcp:server=a,port=1 -z core").contains("-premote"));
        assert!(refused("-server tcp:port=1").contains("not in this release"));
    }
}
