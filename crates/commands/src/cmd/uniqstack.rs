//! `!uniqstack`: stacks of all threads, equal ones once.

use outpost_engine::{StackFrame, ThreadOrdinal};

use super::stack::{Parameters, ShownStack, render_one, with_parameters};
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::Arguments;
use crate::text::frames::FrameColumns;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!uniqstack"],
    syntax: "!uniqstack [-b|-v|-p] [-n]",
    summary: "Show the stacks of all threads, equal ones once",
    details: "Threads are together whose frames have the same addresses, as deep as .kframes says; the largest group comes \
              first. -b shows argument registers, -v how each frame was found, -p parameters with types and values, these of \
              the first thread of a group; -n (frame numbers) is accepted.",
    example: "!uniqstack -p",
    group: Group::State,
    eats_line: false,
    run: carry_out::<UniqueStacks>,
}];

/// Shows stacks, equal ones once.
#[derive(Debug, Clone)]
pub struct UniqueStacks {
    columns: FrameColumns,
    parameters: Parameters,
}

/// Groups of threads.
#[derive(Debug, Clone)]
pub struct ShownGroups {
    /// Threads of each group with the stack of the first.
    pub groups: Vec<(Vec<ThreadOrdinal>, ShownStack)>,
    columns: FrameColumns,
    parameters: Parameters,
}

impl Json for ShownGroups {
    fn json(&self) -> Value {
        let groups = self.groups.iter();
        groups.map(|(threads, stack)| json!({ "threads": threads.json(), "stack": stack.json() })).collect()
    }
}

impl Command for UniqueStacks {
    type Data = ShownGroups;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<UniqueStacks, CommandError> {
        let mut columns = FrameColumns { hide_lines: !debugger.settings.lines, ..FrameColumns::default() };
        let mut parameters = Parameters::None;
        while let Some(option) = arguments.take_option() {
            match option {
                "b" => columns.arguments = true,
                "v" => columns.unwind = true,
                "p" => parameters = Parameters::SameLine,
                "n" => {}
                other => return Err(arguments.usage(format!("unknown option -{other}"))),
            }
        }
        Ok(UniqueStacks { columns, parameters })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownGroups, CommandError> {
        let process = debugger.engine.current_process()?;
        let threads: Vec<ThreadOrdinal> =
            debugger.engine.threads(process)?.iter().map(|thread| thread.ordinal).collect();
        let limit = debugger.settings.frames;
        // One frame more, whose address the last shown one returns to.
        let mut groups = debugger.engine.unique_stacks(&threads, limit + 1)?;
        groups.sort_by_key(|group| std::cmp::Reverse(group.threads.len()));
        let mut members = Vec::new();
        let mut stacks = Vec::new();
        for mut group in groups {
            if group.stack.frames.len() > limit {
                group.stack.frames.truncate(limit);
                group.stack.problem.clear();
            }
            members.push(group.threads);
            stacks.push(group.stack);
        }
        let shown = with_parameters(stacks, self.columns, self.parameters, debugger)?;
        let groups = members.into_iter().zip(shown).collect();
        Ok(ShownGroups { groups, columns: self.columns, parameters: self.parameters })
    }

    fn render(data: &ShownGroups, text: &mut String) {
        for (threads, shown) in &data.groups {
            let innermost = shown.stack.frames.iter().find(|frame| frame.is_physical());
            line!(text, "\n{}", group_line(threads, innermost));
            line!(text, "{}", shown.thread);
            render_one(shown, data.columns, data.parameters, text);
        }
        let total: usize = data.groups.iter().map(|(threads, _)| threads.len()).sum();
        line!(text, "\nTotal threads: {total}");
        line!(text, "Unique stacks: {}", data.groups.len());
        line!(text, "Duplicate stacks: {}", total - data.groups.len());
    }
}

/// `3 threads in svc!wait_for_work: 1, 2, 7`.
fn group_line(threads: &[ThreadOrdinal], innermost: Option<&StackFrame>) -> String {
    let count = match threads.len() {
        1 => "1 thread".to_owned(),
        more => format!("{more} threads"),
    };
    let place = innermost.filter(|frame| !frame.function.is_empty());
    let place = place.map(|frame| format!(" in {}!{}", frame.module, frame.function)).unwrap_or_default();
    format!("{count}{place}: {}", ranges(threads))
}

/// `0, 2-7, 9`: ordinals, runs of three and more shortened.
pub(super) fn ranges(threads: &[ThreadOrdinal]) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut rest = threads;
    while let [first, ..] = rest {
        let run = rest.iter().zip(first.0..).take_while(|(thread, expected)| thread.0 == *expected).count();
        match run {
            1 | 2 => words.extend(rest[..run].iter().map(ToString::to_string)),
            more => words.push(format!("{first}-{}", rest[more - 1])),
        }
        rest = &rest[run..];
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_ordinals_are_short() {
        let check = |numbers: &[u32], expected: &str| {
            let threads: Vec<ThreadOrdinal> = numbers.iter().map(|number| ThreadOrdinal(*number)).collect();
            assert_eq!(ranges(&threads), expected);
        };
        check(&[], "");
        check(&[3], "3");
        check(&[0, 1, 5], "0, 1, 5");
        check(&[0, 2, 3, 4, 7, 8, 9, 10], "0, 2-4, 7-10");
    }
}
