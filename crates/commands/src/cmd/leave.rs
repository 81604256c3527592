//! `q` and `qd`

use outpost_engine::Leave;

use crate::arguments::Arguments;
use crate::command::{Command, CommandInfo, Flow, Group, Needs};
use crate::context::Context;
use crate::{CommandError, Settings};

/// `q`
pub(crate) struct Quit;

/// `qd`
pub(crate) struct QuitAndDetach;

impl Command for Quit {
    const INFO: CommandInfo = CommandInfo {
        names: &["q", "qq"],
        also: None,
        group: Group::Session,
        syntax: &["q"],
        summary: "ends the session",
        details: "What the session created is ended, what it attached to is let go; with `-pd` all is let go.\n",
        needs: Needs::Nothing,
        takes_line: false,
    };
    type Result = ();

    fn parse(_: &mut Arguments<'_>, _: &mut Context) -> Result<Quit, CommandError> {
        Ok(Quit)
    }

    fn run(self, context: &mut Context) -> Result<(), CommandError> {
        Ok(context.engine.end_session()?)
    }

    fn render((): &(), _: &Settings, _: &mut String) {}

    fn flow((): &()) -> Flow {
        Flow::Quit
    }
}

impl Command for QuitAndDetach {
    const INFO: CommandInfo = CommandInfo {
        names: &["qd"],
        syntax: &["qd"],
        summary: "lets every process go and ends the session",
        details: "",
        ..Quit::INFO
    };
    type Result = ();

    fn parse(_: &mut Arguments<'_>, _: &mut Context) -> Result<QuitAndDetach, CommandError> {
        Ok(QuitAndDetach)
    }

    fn run(self, context: &mut Context) -> Result<(), CommandError> {
        context.engine.leave_all(Leave::Detach { deliver: true })?;
        Ok(context.engine.end_session()?)
    }

    fn render((): &(), _: &Settings, _: &mut String) {}

    fn flow((): &()) -> Flow {
        Flow::Quit
    }
}
