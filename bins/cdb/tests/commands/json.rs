//! What commands give as JSON.

use outpost_commands::{CommandEntry, registry};
use serde_json::Value;

use crate::common::*;

/// Commands after which there is nothing to look at, or that bring in others whose documents come later: each has a session
/// of its own.
const LAST: &[&str] = &["q", ".kill", ".detach", ".abandon", ".restart", ".endpsrv", ".attach", ".create", "g", "gu"];

/// Commands that write text as it comes, which is no result.
const WRITERS: &[&str] = &[".shell"];

/// Documents of a session on [`LISTS`], stopped in its recursion, in which each line is a command of `.json`.
fn documents(lines: &[String]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let script: String = lines.iter().map(|line| format!(".json {line}\n")).collect();
    std::fs::write(folder.path().join("script"), script).unwrap();
    let program = lists();
    let start = "bp down; g; g; $<script";
    let output = run_in(folder.path(), &["-c", start, program.to_str().unwrap()]);
    let documents = output.lines().filter(|line| line.starts_with('{'));
    documents.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_command_has_a_document() {
    let (last, usual): (Vec<&CommandEntry>, Vec<&CommandEntry>) =
        registry::all().partition(|entry| LAST.contains(&entry.names[0]));
    let own = last.into_iter().map(|entry| vec![entry]);
    let mut untyped = Vec::new();
    for entries in own.chain([usual]) {
        let examples: Vec<String> =
            entries.iter().map(|entry| entry.example.trim_start_matches(".json ").to_owned()).collect();
        let documents = documents(&examples);
        for (entry, example) in entries.iter().zip(&examples) {
            // Of several commands in an example, the first has a document of its own.
            let is_it =
                |document: &&Value| document["command"].as_str().is_some_and(|command| example.starts_with(command));
            let document = documents.iter().find(is_it).unwrap_or_else(|| panic!("{example} has no document"));
            let keys = ["result", "results", "error"].iter().filter(|key| document.get(key).is_some()).count();
            assert!(keys >= 1, "{example}: {document}");
            if document.get("text").is_some() && !WRITERS.contains(&entry.names[0]) {
                untyped.push(format!("{example}: {document}"));
            }
        }
    }
    assert!(untyped.is_empty(), "answers that are text only:\n{}", untyped.join("\n"));
}

#[test]
fn values_keep_their_bits_and_errors_their_kind() {
    let lines = ["? -1", "r rax", "?? table[0].in.y[1]", "? nosuch", "nosuch", ".expr /s x", "dq needles L1; ? 2"];
    let documents = documents(&lines.map(str::to_owned));
    assert_eq!(documents[0]["result"]["value"], "0xffffffffffffffff");
    assert_eq!(documents[0]["result"]["signed"], "-1");
    assert_eq!(documents[1]["result"]["rax"].as_str().unwrap().len(), 18);
    assert_eq!(documents[2]["result"]["type"], "int");
    let kinds: Vec<&str> = documents[3..6].iter().map(|one| one["error"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["expression", "unknown_command", "usage"]);
    // "needle a"
    assert_eq!(documents[6]["result"]["values"][0], "0x6120656c6465656e");
    assert_eq!(documents[7]["result"]["signed"], "2");
}

#[test]
fn stops_and_steps_are_documents_and_lines_go_on_behind_them() {
    let documents = documents(&["bc *; p 2; r rip".to_owned(), ".block {r rip; r rsp}".to_owned(), "g".to_owned()]);
    let keys = |document: &Value| document.as_object().unwrap().keys().next().unwrap().clone();
    let all: Vec<String> = documents.iter().map(keys).collect();
    assert_eq!(all, ["command", "command", "step", "stop", "command", "command", "command", "stop"], "{documents:?}");
    let (step, stop) = (&documents[2]["step"], &documents[3]["stop"]);
    assert_eq!(
        step["registers"]["rip"].as_str().map(|rip| rip.trim_start_matches("0x0000")),
        step["pc"].as_str().map(|pc| &pc[2..])
    );
    assert_eq!(stop["reason"]["kind"], "step");
    assert_eq!(documents[4]["command"], "r rip");
    assert_eq!(documents[5]["results"].as_array().unwrap().len(), 2);
    assert_eq!(documents[7]["stop"]["reason"]["status"]["code"], 0);
}
