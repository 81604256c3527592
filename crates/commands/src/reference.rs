//! The command reference, generated from the registry.

use crate::command::{CommandEntry, Group};
use crate::registry;
use crate::text::line;

const GROUPS: [(Group, &str); 8] = [
    (Group::Execution, "Running and stepping"),
    (Group::Breakpoints, "Breakpoints"),
    (Group::State, "Stack, registers, scope, events"),
    (Group::Memory, "Memory"),
    (Group::Symbols, "Code, symbols, types, sources, expressions"),
    (Group::Processes, "Systems, processes, threads"),
    (Group::Scripts, "Scripts, control flow, aliases"),
    (Group::Session, "The session"),
];

/// The text of `docs/commands.md`.
pub fn markdown() -> String {
    let mut text = String::new();
    line!(text, "# Commands");
    line!(text);
    line!(
        text,
        "Generated from the command registry by `cargo run -p outpost-commands --example reference`; a test fails"
    );
    line!(text, "when it is stale. The debugger itself shows the same with `.help` and `.help COMMAND`.");
    line!(text);
    line!(
        text,
        "Several commands on a line are separated by `;`: after one that resumes the debuggee, the rest waits for"
    );
    line!(text, "the next stop. An empty line repeats the last command. Plain numbers are hexadecimal until `n 10`;");
    line!(text, "ordinals of processes, threads and breakpoints are decimal.");
    for (group, title) in GROUPS {
        line!(text, "\n## {title}\n");
        for entry in registry::all().filter(|entry| entry.group == group) {
            describe(entry, &mut text);
        }
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
    text
}

fn describe(entry: &CommandEntry, text: &mut String) {
    let names: Vec<String> = entry.names.iter().map(|name| format!("`{name}`")).collect();
    line!(text, "### {}\n", names.join(", "));
    line!(text, "{}.\n", entry.summary);
    line!(text, "```text");
    line!(text, "{}", entry.syntax);
    line!(text, "```\n");
    line!(text, "{}\n", entry.details);
    line!(text, "Example: `{}`\n", entry.example);
}
