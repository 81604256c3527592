//! `.help`

use std::fmt::Write;

use crate::arguments::Arguments;
use crate::command::{Command, CommandInfo, Group, Needs};
use crate::context::Context;
use crate::registry::{self, GROUPS};
use crate::{CommandError, Settings};

/// `.help [name]`
pub(crate) struct Help(Option<String>);

/// One command, or the list.
pub(crate) enum Found {
    One(&'static CommandInfo),
    All,
}

impl Command for Help {
    const INFO: CommandInfo = CommandInfo {
        names: &[".help", "!help"],
        also: None,
        group: Group::Session,
        syntax: &[".help [COMMAND]"],
        summary: "lists the commands, or explains one",
        details: "",
        needs: Needs::Nothing,
        takes_line: false,
    };
    type Result = Found;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Context) -> Result<Help, CommandError> {
        let name = arguments.take_rest();
        Ok(Help((!name.is_empty()).then(|| name.into())))
    }

    fn run(self, _: &mut Context) -> Result<Found, CommandError> {
        let Some(name) = self.0 else { return Ok(Found::All) };
        // Meta-commands are often asked for without their dot.
        let found = [name.clone(), format!(".{name}"), format!("!{name}")].iter().find_map(|name| registry::find(name));
        found.map(|entry| Found::One(entry.info)).ok_or_else(|| super::unknown(&name))
    }

    fn render(result: &Found, _: &Settings, text: &mut String) {
        if let Found::One(info) = result {
            text.push_str(&registry::help(info));
            return;
        }
        for group in GROUPS {
            let _ = writeln!(text, "{}", registry::title(group));
            for info in registry::infos().filter(|info| info.group == group) {
                let _ = writeln!(text, "  {:24} {}", info.names.join(" "), info.summary);
            }
        }
        text.push_str("An empty line repeats the last command; `;` separates commands; Ctrl+C breaks in.\n");
    }
}
