//! `!proc` and `!tcb`: what a process was started with, what the C library keeps of a thread.

use outpost_engine::ThreadOrdinal;
use outpost_engine::triage::{ProcessBlock, ThreadBlock};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!proc", "!peb"],
        syntax: "!proc",
        summary: "Show what the process was started with: arguments, environment, auxiliary vector, modules",
        details: "The environment is what environ leads to now, read from memory.",
        example: "!proc",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<ShowProcess>,
    },
    CommandEntry {
        names: &["!tcb", "!teb"],
        syntax: "[~Thread] !tcb",
        summary: "Show the C library's block of the thread: stack, errno, start function",
        details: "Of the current thread; ~*e !tcb shows all. The start function and the library's thread id need a glibc \
                  process.",
        example: "!tcb; ~*e !tcb",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<ShowThread>,
    },
];

/// Shows a process's block.
#[derive(Debug, Clone)]
pub struct ShowProcess;

/// A process's block with its modules: base and path.
#[derive(Debug, Clone)]
pub struct ShownProcess {
    /// The block.
    pub block: ProcessBlock,
    /// Where each image begins, and its path.
    pub modules: Vec<(outpost_base::Va, String)>,
}

fields!(ShownProcess { block, modules });

impl Command for ShowProcess {
    type Data = ShownProcess;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ShowProcess, CommandError> {
        Ok(ShowProcess)
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownProcess, CommandError> {
        let block = debugger.engine.process_block()?;
        let process = debugger.engine.current_process()?;
        let modules = debugger.engine.modules(process)?;
        let modules = modules.into_iter().map(|module| (module.range.start, module.path)).collect();
        Ok(ShownProcess { block, modules })
    }

    fn render(data: &ShownProcess, text: &mut String) {
        let block = &data.block;
        line!(text, "Process {:x}, parent {:x}", block.id.0, block.parent.0);
        line!(text, "Executable: {}", block.executable);
        let quoted: Vec<String> = block.arguments.iter().map(|argument| quoted(argument)).collect();
        line!(text, "Command line: {}", quoted.join(" "));
        line!(text, "Modules:");
        for (base, path) in &data.modules {
            line!(text, "  {base} {path}");
        }
        line!(text, "Auxiliary vector:");
        for (name, value) in &block.auxv {
            line!(text, "  {name:<20} {}", crate::text::hex64(*value));
        }
        match &block.environment {
            Some(strings) => {
                line!(text, "Environment:");
                for string in strings {
                    line!(text, "  {string}");
                }
            }
            None => line!(text, "Environment: not found; the C library's environ is not known"),
        }
    }
}

/// As a shell would take it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-+./=:,@%".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

/// Shows a thread's block.
#[derive(Debug, Clone)]
pub struct ShowThread {
    thread: ThreadOrdinal,
}

impl Command for ShowThread {
    type Data = ThreadBlock;

    fn parse(_: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ShowThread, CommandError> {
        Ok(ShowThread { thread: debugger.engine.current_thread()? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ThreadBlock, CommandError> {
        Ok(debugger.engine.thread_block(self.thread)?)
    }

    fn render(data: &ThreadBlock, text: &mut String) {
        let name = if data.name.is_empty() { String::new() } else { format!(" \"{}\"", data.name) };
        line!(text, "TCB at {} of thread {} (id {:x}){name}", data.at, data.thread, data.id.0);
        let mut row = |title: &str, value: Option<String>| {
            if let Some(value) = value {
                line!(text, "  {title:<16} {value}");
            }
        };
        let wrong = |of: &str| format!("(not {of}: the block is damaged, or this is no glibc thread)");
        row(
            "Self:",
            data.own_address.map(|own| match own == data.at {
                true => own.to_string(),
                false => format!("{own} {}", wrong("its address")),
            }),
        );
        row(
            "Library's id:",
            data.library_id.map(|id| match id == data.id.0 {
                true => format!("{id:x}"),
                // What is found where it says that it is, is one.
                false if data.own_address == Some(data.at) => {
                    format!("{id:x} (in its own pid namespace, unless the block is damaged)")
                }
                false => format!("{id:x} {}", wrong("the kernel's")),
            }),
        );
        row(
            "Start function:",
            data.start_routine.as_ref().map(|(at, name)| format!("{at} {name}").trim_end().to_owned()),
        );
        row(
            "Stack:",
            data.stack
                .map(|stack| format!("{} to {}, {:#x} bytes in use", stack.start, stack.end, stack.end - data.sp)),
        );
        row("errno:", data.errno.map(|errno| format!("0n{errno}{}", errno_words(errno))));
        row("DTV:", data.dtv.map(|dtv| dtv.to_string()));
        row("Stack guard:", data.stack_guard.map(crate::text::hex64));
        row("Pointer guard:", data.pointer_guard.map(crate::text::hex64));
    }
}

/// ` (No such file or directory)`.
fn errno_words(errno: i32) -> String {
    if errno == 0 {
        return String::new();
    }
    format!(" ({})", super::last_error::meaning(errno))
}
