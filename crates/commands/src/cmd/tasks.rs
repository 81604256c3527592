//! `!tasks`: tasks of tokio.

use outpost_engine::triage::Task;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!tasks"],
    syntax: "!tasks",
    summary: "Show the tasks of tokio with what each awaits",
    details: "Id, state, and the address of each task's header, then its future and what that awaits in turn, with the line \
              that awaits it; the last is what the task waits for in the end. What join!, select! and other combinators await stands \
              side by side. From memory alone: tasks are found among the \
              chunks of the C library's heap (see !heap), so that those of all runtimes show, and need the debug info of the \
              program with tokio in it. What block_on polls is no task.",
    example: "!tasks",
    group: Group::State,
    eats_line: false,
    run: carry_out::<Tasks>,
}];

/// Shows tasks.
#[derive(Debug, Clone, Copy)]
pub struct Tasks;

impl Command for Tasks {
    type Data = Vec<Task>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Tasks, CommandError> {
        Ok(Tasks)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<Task>, CommandError> {
        Ok(debugger.engine.tasks()?)
    }

    fn render(data: &Vec<Task>, text: &mut String) {
        for task in data {
            let id = task.id.map_or_else(|| "?".to_owned(), |id| format!("0n{id}"));
            line!(text, "Task {id} at {}: {}", task.at, task.state);
            for frame in &task.frames {
                let place = frame.place.as_ref().map(|(file, line)| format!(" [{file} @ {line}]"));
                let state = if frame.state.is_empty() { String::new() } else { format!(" ({})", frame.state) };
                let joined = frame.joins.and_then(|at| data.iter().find(|task| task.at == at)?.id);
                let joined = joined.map(|id| format!(" of task 0n{id}")).unwrap_or_default();
                let awaits = if frame.depth == 0 { "" } else { "awaits " };
                let indent = 2 * (frame.depth + 1);
                line!(text, "{:indent$}{awaits}{}{joined}{state}{}", "", frame.function, place.unwrap_or_default());
            }
        }
        line!(text, "0n{} tasks", data.len());
    }
}
