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
        format!(
            ".echo [kept]; ls 1; lsf- {file}; .echo [anew]; lsf {file}; ls 1; .echo [end]; lsf- {name}; lsf- {name}"
        ),
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

const TWO_LINES: &str = "int twice(int a) { return a + a; }\nint main(int argc, char **argv) { return twice(argc); }\n";

/// A program of `twice.c` in a folder of its own, compiled there as `command` says, by the whole path.
fn compiled(command: &str, source: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twice.c");
    std::fs::write(&path, source).unwrap();
    let mut words = command.split(' ');
    let mut compiler = Command::new(words.next().unwrap());
    assert!(compiler.args(words).arg(&path).arg("-o").arg(folder.path().join("twice")).status().unwrap().success());
    folder
}

#[test]
fn a_source_that_was_changed_is_told_from_the_right_one_by_its_checksum() {
    let folder = compiled("clang -gdwarf-5 -O0", TWO_LINES);
    let (place, changed) = (folder.path().display(), TWO_LINES.replace("a + a", "a * 2"));
    std::fs::create_dir(folder.path().join("kept")).unwrap();
    std::fs::write(folder.path().join("kept/twice.c"), TWO_LINES).unwrap();
    std::fs::write(folder.path().join("twice.c"), &changed).unwrap();
    let lines = [
        "l+s; g twice".to_owned(),
        format!(
            ".echo [stop]; p; .echo [again]; p; .echo [list]; lsa twice; .echo [chosen]; lsf {place}/twice.c; .echo [end]"
        ),
        ".echo [edited]; lse; .echo [end]".to_owned(),
        format!(".srcpath {place}/kept"),
        format!(".echo [kept]; lsf {place}/twice.c; .echo [right]; lsa twice; .echo [end]"),
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(lines.iter().flat_map(|line| ["-c", line.as_str()]))
        .arg(folder.path().join("twice"))
        .env("EDITOR", "true")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let warning =
        format!("WARNING: {place}/twice.c differs from the file the program was built of: its checksum is another\n");
    // Stops say it once.
    let (before, _) = output.split_once("[stop]").unwrap();
    assert!(before.contains(&format!("{warning}>    1: int twice(int a) {{ return a * 2; }}")), "{output}");
    assert!(!part(&output, "stop").contains("WARNING") && !part(&output, "again").contains("WARNING"), "{output}");
    assert!(part(&output, "list").starts_with(&warning), "{output}");
    assert_eq!(part(&output, "chosen"), format!("Current: {place}/twice.c (at the recorded path)\n{warning}"));
    assert_eq!(part(&output, "edited"), warning);
    let kept =
        format!("Current: {place}/kept/twice.c (by the source path; its checksum is that of the program's source)\n");
    assert_eq!(part(&output, "kept"), kept);
    assert!(part(&output, "right").contains("return a + a"), "{output}");
    assert!(!part(&output, "right").contains("WARNING"), "{output}");
}

#[test]
fn a_source_that_matches_is_preferred_to_those_that_are_found_first() {
    let folder = compiled("clang -gdwarf-5 -O0", TWO_LINES);
    let place = folder.path().display();
    for (name, text) in [("first", "wrong"), ("second", TWO_LINES), ("third", "wrong as well")] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("twice.c"), text).unwrap();
    }
    let path = format!("{place}/first;{place}/second;{place}/third");
    let program = folder.path().join("twice");
    let script = "g twice; .echo [file]; lsf twice.c; .echo [end]";
    let output = run(&["-srcpath", &path, "-c", script, program.to_str().unwrap()]);
    let expected =
        format!("{place}/second/twice.c (by the source path; its checksum is that of the program's source)\n");
    assert_eq!(part(&output, "file"), format!("Current: {expected}"));
}

#[test]
fn a_source_that_is_too_short_is_another() {
    let folder = compiled("gcc -g -O0", TWO_LINES);
    std::fs::write(folder.path().join("twice.c"), "int twice;\n").unwrap();
    let output = cdb(folder.path().join("twice"), "g main; .echo [list]; lsf twice.c; ls; .echo [end]");
    let said = "differs from the file the program was built of: it has 1 lines, code is of line 2\n";
    assert_eq!(part(&output, "list").matches(said).count(), 2, "{output}");
    assert!(part(&output, "list").ends_with("     1: int twice;\n"), "{output}");
}
