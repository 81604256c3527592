//! `!analyze` on programs that crash: `fixtures/triage/` has each with the verdict that an expert would give. A verdict
//! has a line for each set of compiler flags, then the class, the function to blame, and what has to be said.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::Path;
use std::process::{Command, Stdio};

use outpost_testkit::{Build, ProcessServer, fixture, skip};

/// What `cdb` says with these arguments.
fn cdb(arguments: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.arg("50").arg(env!("CARGO_BIN_EXE_cdb")).args(arguments).stdin(Stdio::null());
    let output = command.stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const SCRIPT: &str = "g; .echo verdict follows; !analyze -v; q";

/// What was said by `!analyze`.
fn verdict(text: &str) -> &str {
    text.rsplit("verdict follows").next().unwrap()
}

/// What is wrong with a verdict; empty if nothing.
fn problems(expected: &str, said: &str) -> Vec<String> {
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let mut problems = Vec::new();
    for line in expected.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let fits = match word {
            "flags" => true,
            "class" => field("FAULT:") == rest,
            "blame" => {
                let site = field("BLAMED:").split(['+', ' ']).next().unwrap();
                site.rsplit_once('!').is_some_and(|(_, name)| name == rest || name.ends_with(&format!("::{rest}")))
            }
            "says" => said.contains(rest),
            other => panic!("a verdict has no line '{other}'"),
        };
        if !fits {
            problems.push(line.to_owned());
        }
    }
    problems
}

fn program(name: &str, flags: &str) -> std::path::PathBuf {
    Build::fixture(&format!("triage/{name}")).flags(flags).path()
}

#[test]
fn verdicts_of_the_corpus() {
    let mut names: Vec<String> = std::fs::read_dir(fixture("triage"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".verdict"))
        .collect();
    names.sort();
    let (mut right, mut failures, mut cases) = (0, Vec::new(), 0);
    for name in &names {
        let stem = name.rsplit_once('.').unwrap().0;
        let expected = std::fs::read_to_string(fixture(&format!("triage/{stem}.verdict"))).unwrap();
        for flags in expected.lines().filter_map(|line| line.strip_prefix("flags ")) {
            let text = cdb(&["-c", SCRIPT, program(name, flags).to_str().unwrap()]);
            let problems = problems(&expected, verdict(&text));
            cases += 1;
            match problems.is_empty() {
                true => right += 1,
                false => failures.push(format!("{name} ({flags}): {problems:?}\n{}", verdict(&text))),
            }
        }
    }
    println!("triage: {right} of {cases} verdicts right, {} programs", names.len());
    assert!(failures.is_empty(), "{right} of {cases} right\n{}", failures.join("\n"));
    assert!(cases >= 18, "the corpus is there");
}

/// The verdict through a process server, and on a core, is that of the process itself; the bucket, too.
#[test]
fn verdicts_are_the_same_at_a_distance_and_of_a_core() {
    let program = program("null_string.c", "-g -O0");
    let path = program.to_str().unwrap();
    let expected = std::fs::read_to_string(fixture("triage/null_string.verdict")).unwrap();
    let here = cdb(&["-c", SCRIPT, path]);
    let bucket =
        |text: &str| verdict(text).lines().find(|line| line.starts_with("BUCKET:")).unwrap_or_default().to_owned();
    assert!(bucket(&here).contains("NULL_POINTER_READ"), "{here}");
    let server = ProcessServer::start();
    let there = cdb(&["-premote", server.connection(), "-c", SCRIPT, path]);
    assert_eq!(problems(&expected, verdict(&there)), Vec::<String>::new(), "{there}");
    assert_eq!(bucket(&there), bucket(&here));
    let folder = tempfile::tempdir().unwrap();
    let Some(core) = core_of(&program, folder.path()) else { return skip("gdb writes no core here") };
    let dead = cdb(&["-z", &core, "-c", ".echo verdict follows; !analyze -v; q"]);
    assert_eq!(problems(&expected, verdict(&dead)), Vec::<String>::new(), "{dead}");
    assert_eq!(bucket(&dead), bucket(&here));
}

fn core_of(program: &Path, folder: &Path) -> Option<String> {
    let core = folder.join("core").to_str().unwrap().to_owned();
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "run", "-ex"]);
    gdb.arg(format!("generate-core-file {core}")).arg(program).stdin(Stdio::null()).output().ok()?;
    Path::new(&core).exists().then_some(core)
}
