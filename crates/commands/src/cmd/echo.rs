//! `.echo`

use crate::arguments::Arguments;
use crate::command::{Command, CommandInfo, Group, Needs};
use crate::context::Context;
use crate::{CommandError, Settings};

/// `.echo text`
pub(crate) struct Echo(String);

impl Command for Echo {
    const INFO: CommandInfo = CommandInfo {
        names: &[".echo"],
        also: None,
        group: Group::Session,
        syntax: &[".echo TEXT", ".echo \"TEXT; WITH SEMICOLONS\""],
        summary: "shows a text",
        details: "Unquoted text ends at `;`. In a shared session everybody sees it.\n",
        needs: Needs::Nothing,
        takes_line: false,
    };
    type Result = String;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Context) -> Result<Echo, CommandError> {
        Ok(Echo(match arguments.quoted() {
            Some(text) => text,
            None => arguments.take_rest().into(),
        }))
    }

    fn run(self, _: &mut Context) -> Result<String, CommandError> {
        Ok(self.0)
    }

    fn render(result: &String, _: &Settings, text: &mut String) {
        text.push_str(result);
        text.push('\n');
    }
}
