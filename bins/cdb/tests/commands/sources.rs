//! Files of sources.

use std::process::{Command, Stdio};

use crate::common::*;

#[test]
fn a_source_file_is_read_anew_once_it_was_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.c");
    std::fs::write(&path, "before\n").unwrap();
    let (file, name) = (path.display(), path.file_name().unwrap().to_str().unwrap());
    let lines = [
        format!("lsf {file}; .echo [first]; ls 1"),
        format!(".shell sed -i s/before/after/ {file}"),
        format!(".echo [kept]; ls 1; lsf- {file}; .echo [anew]; lsf {file}; ls 1; .echo [end]; lsf- {name}"),
    ];
    let options = lines.iter().flat_map(|line| ["-c", line.as_str()]);
    let program = lists();
    let output = run(&options.chain([program.to_str().unwrap()]).collect::<Vec<_>>());
    assert!(part(&output, "first").contains("before") && part(&output, "kept").contains("before"), "{output}");
    assert!(part(&output, "anew").contains("after"), "{output}");
    assert!(output.contains("list.c: it is not loaded"), "{output}");
}

#[test]
fn the_editor_is_given_the_line_and_the_file() {
    let program = lists();
    let output = Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(["-c", "g down; lse; q", program.to_str().unwrap()])
        .env("EDITOR", "echo edits -x")
        .env_remove("VISUAL")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let line = 1 + LISTS.lines().position(|line| line.contains("if (depth == 0)")).unwrap();
    let call = output.lines().find(|line| line.starts_with("edits ")).unwrap_or_else(|| panic!("{output}"));
    assert!(call.starts_with(&format!("edits -x +{line} /")) && call.ends_with(".c"), "{call}");
}
