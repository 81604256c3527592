//! `.pcmd`, `.idle_cmd`, `.prompt_allow`, `.echotimestamps`: what is shown and done at stops.

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger, Settings};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".pcmd"],
        syntax: ".pcmd\n.pcmd -s \"Commands\"\n.pcmd -c",
        summary: "Show, set (-s) or clear (-c) commands that are carried out at each stop",
        details: "Before the prompt, and before the commands of a breakpoint. They cannot resume.",
        example: ".pcmd -s \"r rax; k 3\"",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<StopCommands>,
    },
    CommandEntry {
        names: &[".idle_cmd"],
        syntax: ".idle_cmd\n.idle_cmd /s \"Commands\"\n.idle_cmd /d",
        summary: "Show, set (/s) or remove (/d) commands that are carried out when the debugger becomes idle",
        details: "Each time nothing is left to do and it waits for a line: after stops, and after what was typed. They cannot resume.",
        example: ".idle_cmd",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<IdleCommands>,
    },
    CommandEntry {
        names: &[".prompt_allow"],
        syntax: ".prompt_allow [+|-reg|dis|ea|sym|src ...]",
        summary: "Show or set what stops show",
        details: "reg: the registers, dis: the instruction, ea: what its operands are, sym: symbol and line of the place, src: the \
                  source line (as l+s). +dis shows it, -dis does not. The suffix r of steps switches reg, too.",
        example: ".prompt_allow -reg +dis",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<PromptParts>,
    },
    CommandEntry {
        names: &[".echotimestamps"],
        syntax: ".echotimestamps [0|1]",
        summary: "Tell events with the time, or without",
        details: "The time of the debugger's machine, in UTC, before stops and notices. Without a number: switches.",
        example: ".echotimestamps 1",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Timestamps>,
    },
];

/// Shows, sets or clears commands.
#[derive(Debug, Clone)]
pub struct StopCommands {
    commands: Option<String>,
}

impl Command for StopCommands {
    type Data = Option<String>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<StopCommands, CommandError> {
        if arguments.take_word("-c") {
            return Ok(StopCommands { commands: Some(String::new()) });
        }
        if !arguments.take_word("-s") {
            return Ok(StopCommands { commands: None });
        }
        let commands = arguments.quoted().ok_or_else(|| arguments.usage("the commands in quotes are missing"))?;
        Ok(StopCommands { commands: Some(commands) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Option<String>, CommandError> {
        if let Some(commands) = self.commands {
            debugger.settings.stop_commands = commands;
        }
        Ok(Some(debugger.settings.stop_commands.clone()).filter(|commands| !commands.is_empty()))
    }

    fn render(data: &Option<String>, text: &mut String) {
        match data {
            Some(commands) => line!(text, "Per-prompt command is '{commands}'"),
            None => line!(text, "No per-prompt command"),
        }
    }
}

/// Shows, sets or removes commands for idle times.
#[derive(Debug, Clone)]
pub struct IdleCommands {
    commands: Option<String>,
}

impl Command for IdleCommands {
    type Data = Option<String>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<IdleCommands, CommandError> {
        let commands = match arguments.take_switch() {
            None => None,
            Some('d') => Some(String::new()),
            Some('s') => {
                let commands = arguments.quoted();
                Some(commands.ok_or_else(|| arguments.usage("the commands in quotes are missing"))?)
            }
            Some(other) => return Err(arguments.usage(format!("unknown option /{other}"))),
        };
        Ok(IdleCommands { commands })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Option<String>, CommandError> {
        if let Some(commands) = self.commands {
            debugger.settings.idle_commands = commands;
        }
        Ok(Some(debugger.settings.idle_commands.clone()).filter(|commands| !commands.is_empty()))
    }

    fn render(data: &Option<String>, text: &mut String) {
        match data {
            Some(commands) => line!(text, "Idle command is '{commands}'"),
            None => line!(text, "No idle command"),
        }
    }
}

/// Shows or sets what stops show.
#[derive(Debug, Clone)]
pub struct PromptParts {
    changes: Vec<(String, bool)>,
}

/// A part of what stops show.
#[derive(Debug, Clone)]
pub struct PromptPart {
    /// `reg`, `dis`, `ea`, `sym`, `src`.
    pub name: &'static str,
    /// Whether it is shown.
    pub shown: bool,
}

fields!(PromptPart { name, shown });

const PARTS: [&str; 5] = ["reg", "dis", "ea", "sym", "src"];

fn part<'a>(settings: &'a mut Settings, name: &str) -> &'a mut bool {
    match name {
        "reg" => &mut settings.show_registers,
        "dis" => &mut settings.show_instruction,
        "ea" => &mut settings.show_operands,
        "sym" => &mut settings.show_symbol,
        _ => &mut settings.show_source,
    }
}

impl Command for PromptParts {
    type Data = Vec<PromptPart>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<PromptParts, CommandError> {
        let mut changes = Vec::new();
        while let Some(word) = arguments.word() {
            let (name, shown) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
                (Some(name), _) => (name, true),
                (_, Some(name)) => (name, false),
                _ => return Err(arguments.usage(format!("'{word}' begins with no + or -"))),
            };
            if !PARTS.contains(&name) {
                return Err(arguments.usage(format!("there is no part '{name}'")));
            }
            changes.push((name.to_owned(), shown));
        }
        Ok(PromptParts { changes })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<PromptPart>, CommandError> {
        let settings = &mut debugger.settings;
        self.changes.iter().for_each(|(name, shown)| *part(settings, name) = *shown);
        Ok(PARTS.iter().map(|&name| PromptPart { name, shown: *part(settings, name) }).collect())
    }

    fn render(data: &Vec<PromptPart>, text: &mut String) {
        let names = |shown| data.iter().filter(move |part| part.shown == shown).map(|part| format!(" {}", part.name));
        line!(text, "Shown at stops:{}", names(true).collect::<String>());
        line!(text, "Not shown:{}", names(false).collect::<String>());
    }
}

/// Switches times of events.
#[derive(Debug, Clone)]
pub struct Timestamps {
    on: Option<bool>,
}

impl Command for Timestamps {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Timestamps, CommandError> {
        Ok(Timestamps { on: arguments.optional_number(debugger)?.map(|number| number != 0) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        debugger.settings.timestamps = self.on.unwrap_or(!debugger.settings.timestamps);
        Ok(debugger.settings.timestamps)
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "Event timestamps are {}", if *data { "enabled" } else { "disabled" });
    }
}
