//! `.shell`, `.noshell`: commands of the debugger's own machine.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::command::{CommandEntry, Group, give};
use crate::language::{Arguments, split_quoted};
use crate::text::line;
use crate::{CommandError, Debugger, Output, OutputKind};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".shell"],
        syntax: ".shell [-i File] [-o File] [-e File] [-ci \"Commands\"] [-x] ShellCommand",
        summary: "Run a shell command on the debugger's machine",
        details: "Takes the rest of the line. What it writes is shown; it finds no input unless -i names a file or -ci has \
                  commands whose output it reads. -o and -e write to files, -x starts it and does not wait. Ctrl+C ends it.",
        example: ".shell -ci \"lm\" grep libc",
        group: Group::Scripts,
        eats_line: true,
        run: run_shell,
    },
    CommandEntry {
        names: &[".noshell"],
        syntax: ".noshell",
        summary: "Refuse .shell from now on",
        details: "Until the debugger ends.",
        example: ".noshell",
        group: Group::Scripts,
        eats_line: false,
        run: forbid,
    },
];

/// How often a running command is looked after.
const ROUND: Duration = Duration::from_millis(50);

fn forbid(arguments: &mut Arguments<'_>, debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    arguments.finish()?;
    debugger.settings.shell_allowed = false;
    give(&(), |(), text| line!(text, "Shell commands disabled"), out);
    Ok(())
}

fn run_shell(arguments: &mut Arguments<'_>, debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    if !debugger.settings.shell_allowed {
        return Err(CommandError::invalid("shell commands are disabled (.noshell)"));
    }
    let mut command = Command::new("sh");
    let (mut input, mut detached) = (None, false);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    loop {
        if arguments.take_word("-i") {
            command.stdin(File::open(path(arguments)?.as_str()).map_err(failed("-i"))?);
        } else if arguments.take_word("-o") {
            command.stdout(File::create(path(arguments)?.as_str()).map_err(failed("-o"))?);
        } else if arguments.take_word("-e") {
            command.stderr(File::create(path(arguments)?.as_str()).map_err(failed("-e"))?);
        } else if arguments.take_word("-ci") {
            let commands = arguments.quoted().ok_or_else(|| arguments.usage("the commands in quotes are missing"))?;
            input = Some(debugger.capture_all(&commands, "commands whose output is piped cannot resume")?);
            command.stdin(Stdio::piped());
        } else if arguments.take_word("-x") {
            detached = true;
        } else {
            break;
        }
    }
    let line = arguments.take_rest();
    if line.is_empty() {
        return Err(arguments.usage("the shell command is missing; for a shell of its own use another terminal"));
    }
    command.arg("-c").arg(line);
    if detached {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    let mut child = command.spawn().map_err(failed("sh"))?;
    let feeding = input.zip(child.stdin.take()).map(|(text, mut pipe)| {
        // One that does not read all of it is nothing to complain of.
        std::thread::spawn(move || drop(pipe.write_all(text.as_bytes())))
    });
    if detached {
        // It is waited for by nobody but a thread, so that it leaves no zombie.
        std::thread::spawn(move || drop(child.wait()));
        return Ok(());
    }
    let status = follow(&mut child, debugger, out)?;
    drop(feeding);
    if !status.success() {
        out.write(OutputKind::Warning, &format!(".shell: {status}\n"));
    }
    Ok(())
}

/// Shows what a command writes until it has ended, or ends it by Ctrl+C.
fn follow(
    child: &mut Child,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<std::process::ExitStatus, CommandError> {
    let (sender, pieces) = mpsc::channel::<Vec<u8>>();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    for mut stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut shown = Vec::new();
    loop {
        match pieces.recv_timeout(ROUND) {
            Ok(piece) => {
                shown.extend(piece);
                // Whole lines, so that no character is cut in two.
                if let Some(end) = shown.iter().rposition(|byte| *byte == b'\n') {
                    let rest = shown.split_off(end + 1);
                    out.write(OutputKind::Normal, &String::from_utf8_lossy(&shown));
                    shown = rest;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Err(cancelled) = debugger.engine.check_interrupt() {
            // Whoever ended by itself meanwhile need not be ended.
            let _ = child.kill();
            let _ = child.wait();
            return Err(cancelled.into());
        }
    }
    if !shown.is_empty() {
        out.write(OutputKind::Normal, &format!("{}\n", String::from_utf8_lossy(&shown)));
    }
    child.wait().map_err(failed("sh"))
}

fn path(arguments: &mut Arguments<'_>) -> Result<String, CommandError> {
    let path = arguments.quoted().or_else(|| arguments.word().map(str::to_owned));
    let path = path.and_then(|path| split_quoted(&path).into_iter().next());
    path.ok_or_else(|| arguments.usage("the file is missing"))
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> CommandError {
    move |error| CommandError::File { path: what.to_owned(), reason: error.to_string() }
}
