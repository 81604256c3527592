//! `.servers`: which servers there are on this machine.

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".servers"],
    syntax: ".servers",
    summary: "List the servers of the debugger's machine",
    details: "Those that this user may see; hidden ones, and those that dial their debugger, are not listed. cdb -QR HOST \
              lists another machine's.",
    example: ".servers",
    group: Group::Session,
    eats_line: false,
    run: carry_out::<Servers>,
}];

/// Lists servers.
#[derive(Debug, Clone, Copy)]
pub struct Servers;

impl Command for Servers {
    type Data = String;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Servers, CommandError> {
        Ok(Servers)
    }

    fn run(self, debugger: &mut Debugger) -> Result<String, CommandError> {
        let list = debugger.server_list.as_ref();
        let list = list.ok_or_else(|| CommandError::unsupported("listing servers", "this session knows of none"))?;
        Ok(list())
    }

    fn render(data: &String, text: &mut String) {
        text.push_str(data);
    }
}
