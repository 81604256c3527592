//! Files of sources.

use std::path::Path;
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

/// A project of three files in `ci/proj`, compiled there, and then moved to `home/renamed`, but its library.
fn moved(compiler: &str, extra: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let proj = folder.path().join("ci/proj");
    std::fs::create_dir_all(proj.join("src/part")).unwrap();
    std::fs::create_dir_all(proj.join("tools")).unwrap();
    std::fs::create_dir_all(folder.path().join("bin")).unwrap();
    for (name, text) in [
        ("src/main.c", "#include \"part/part.h\"\nint main(int argc, char **argv) { return part(argc); }\n"),
        ("src/part/part.h", "static inline int deep(int a) { return a - 1; }\nint part(int a);\n"),
        ("src/part/part.c", "#include \"part.h\"\nint part(int a) { return deep(a); }\n"),
        ("tools/main.c", "int of_another_program;\n\n"),
    ] {
        std::fs::write(proj.join(name), text).unwrap();
    }
    let mut words = compiler.split(' ').chain(extra.split_whitespace());
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["-g", "-O0", "-I"]).arg(proj.join("src"));
    command
        .arg(proj.join("src/main.c"))
        .arg(proj.join("src/part/part.c"))
        .arg("-o")
        .arg(folder.path().join("bin/prog"));
    assert!(command.status().unwrap().success());
    std::fs::create_dir(folder.path().join("home")).unwrap();
    std::fs::rename(proj, folder.path().join("home/renamed")).unwrap();
    folder
}

#[test]
fn a_tree_that_has_moved_is_found_by_the_company_of_its_files() {
    let folder = moved("gcc", "");
    let (place, program) = (folder.path().canonicalize().unwrap(), folder.path().join("bin/prog"));
    let home = place.join("home/renamed").display().to_string();
    let script = "g main; .echo [stop]; lsa main; .echo [other]; lsf part.c; .echo [maps]; !sourcemaps; \
                  !removesourcemaps; .echo [refused]; lsf part.h; .echo [end]";
    // From a directory of it which has a file of the same name.
    let output = run_in(&place.join("home/renamed/tools"), &["-c", script, program.to_str().unwrap()]);
    let reason = "around the current directory; 2 of 2 other files of its tree are there, too";
    let lines = "     1: #include \"part/part.h\"\n>    2: int main(int argc, char **argv) { return part(argc); }\n";
    assert_eq!(part(&output, "stop"), format!("{home}/src/main.c ({reason})\n{lines}"), "{output}");
    let learnt = "around the current directory, as other files of its tree";
    assert_eq!(part(&output, "other"), format!("Current: {home}/src/part/part.c ({learnt})\n"));
    assert_eq!(part(&output, "maps"), format!("{}/ci/proj => {home} ({reason})\nNo source maps\n", place.display()));
    // What was taken back is not used again.
    assert!(part(&output, "refused").contains("part.h not found"), "{output}");
    // From one that it is in, and by a directory of it in the source path.
    let script = "g main; .echo [file]; lsf part.h; .echo [end]";
    let output = run_in(&place.join("home"), &["-c", script, program.to_str().unwrap()]);
    assert_eq!(part(&output, "file"), format!("Current: {home}/src/part/part.h ({reason})\n"));
    let options =
        ["-srcpath", &format!("{home}/src/part"), "-c", "g main; lsf part.c; .echo [file]; lsf main.c; .echo [end]"];
    let output = run_in(&place.join("bin"), &[&options[..], &[program.to_str().unwrap()]].concat());
    let expected = format!("Current: {home}/src/main.c (by the source path, as other files of its tree)\n");
    assert_eq!(part(&output, "file"), expected);
}

/// As builds have them that are to give the same result everywhere.
#[test]
fn relative_paths_are_those_of_the_tree_that_has_the_other_files() {
    let folder = moved("gcc", "");
    let place = folder.path().canonicalize().unwrap();
    let tree = place.join("home/renamed");
    let mut gcc = Command::new("gcc");
    gcc.args(["-g", "-O0", "-I", "src", "src/main.c", "src/part/part.c", "-o"]).arg(place.join("bin/relative"));
    assert!(gcc.arg(format!("-ffile-prefix-map={}=.", tree.display())).current_dir(&tree).status().unwrap().success());
    let other = place.join("other");
    std::fs::create_dir_all(other.join("src")).unwrap();
    std::fs::write(other.join("src/main.c"), "int main(void) {\n}\n").unwrap();
    let script = "g main; .echo [file]; lsf main.c; .echo [maps]; !sourcemaps; .echo [end]";
    let look = |from: &Path| run_in(from, &["-c", script, place.join("bin/relative").to_str().unwrap()]);
    let (right, wrong) = (look(&tree), look(&other));
    let reason = "around the current directory; 2 of 2 other files of its tree are there, too";
    assert_eq!(part(&right, "file"), format!("Current: {}/src/main.c ({reason})\n", tree.display()), "{right}");
    assert_eq!(part(&right, "maps"), format!(". => {} ({reason})\n", tree.display()));
    assert!(part(&wrong, "file").contains("other/src/main.c (of another tree)"), "{wrong}");
}

#[test]
fn a_file_of_another_tree_is_not_taken_for_its_name() {
    let folder = moved("gcc", "");
    let other = folder.path().join("other/src");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("main.c"), "int main(void) {\n}\n").unwrap();
    let script = "g main; .echo [file]; lsf main.c; .echo [end]";
    let program = folder.path().join("bin/prog");
    let output = run_in(&other, &["-c", script, program.to_str().unwrap()]);
    let other = other.canonicalize().unwrap();
    assert!(part(&output, "file").contains("main.c not found (looked for "), "{output}");
    assert!(part(&output, "file").contains(&format!("{}/main.c (of another tree)", other.display())), "{output}");
}

/// Two programs were built in one directory, one after the other.
#[test]
fn what_was_learnt_of_one_program_is_not_believed_of_another() {
    let folder = moved("gcc", "");
    let place = folder.path().canonicalize().unwrap();
    // Of the second, files of other names; only one is called as one of the first.
    let proj = place.join("ci/proj");
    std::fs::create_dir_all(proj.join("src")).unwrap();
    let second = "int one(void); int two(void);\nint main(void) { return one() + two(); }\n";
    for (name, text) in
        [("main.c", second), ("one.c", "int one(void) { return 1; }\n"), ("two.c", "int two(void) { return 2; }\n")]
    {
        std::fs::write(proj.join("src").join(name), text).unwrap();
    }
    let mut gcc = Command::new("gcc");
    gcc.args(["-g", "-O0"]).args(["main.c", "one.c", "two.c"].map(|name| proj.join("src").join(name)));
    assert!(gcc.arg("-o").arg(place.join("bin/second")).status().unwrap().success());
    std::fs::remove_dir_all(place.join("ci")).unwrap();
    let create = format!(".create {}", place.join("bin/second").display());
    let lines = ["g main; lsf src/main.c", &create, "g main; .echo [second]; lsf src/main.c; .echo [end]"];
    let program = place.join("bin/prog");
    let options = lines.iter().flat_map(|line| ["-c", line]);
    let output = run_in(&place.join("home/renamed"), &options.chain([program.to_str().unwrap()]).collect::<Vec<_>>());
    assert!(output.contains("Current: ") && output.contains("2 of 2 other files of its tree"), "{output}");
    assert!(part(&output, "second").contains("main.c not found"), "{output}");
}

#[test]
fn a_checksum_proves_a_file_that_has_moved_alone() {
    let folder = moved("clang", "-gdwarf-5");
    let (away, program) = (folder.path().join("away"), folder.path().join("bin/prog"));
    std::fs::create_dir(&away).unwrap();
    std::fs::rename(folder.path().join("home/renamed/src/main.c"), away.join("main.c")).unwrap();
    let script = "g main; .echo [file]; lsf main.c; .echo [end]";
    let output = run_in(&away, &["-c", script, program.to_str().unwrap()]);
    let file = away.canonicalize().unwrap().join("main.c").display().to_string();
    let proof = "around the current directory; its checksum is that of the program's source";
    assert_eq!(part(&output, "file"), format!("Current: {file} ({proof})\n"));
    // Changed there, it is not shown for the source.
    std::fs::write(away.join("main.c"), "int changed;\n\n").unwrap();
    let output = run_in(&away, &["-c", script, program.to_str().unwrap()]);
    assert!(part(&output, "file").contains(&format!("{file} (its checksum is another)")), "{output}");
    // Changed within its tree, it is, and told.
    let src = folder.path().join("home/renamed/src");
    std::fs::rename(away.join("main.c"), src.join("main.c")).unwrap();
    let output = run_in(&src, &["-c", script, program.to_str().unwrap()]);
    let file = src.canonicalize().unwrap().join("main.c").display().to_string();
    let told = format!("WARNING: {file} differs from the file the program was built of: its checksum is another\n");
    assert!(part(&output, "file").starts_with(&format!("Current: {file} (around the current directory")), "{output}");
    assert!(part(&output, "file").ends_with(&told), "{output}");
}

#[test]
fn crates_are_found_in_the_registry_of_the_user() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().canonicalize().unwrap();
    let built = place.join("ci/registry/src/index-1/some-crate-1.2.3/src");
    std::fs::create_dir_all(&built).unwrap();
    std::fs::write(built.join("part.rs"), "pub fn part() -> u8 {\n    4\n}\n").unwrap();
    std::fs::write(
        place.join("ci/main.rs"),
        format!(
            "#[path = \"{}/part.rs\"]\nmod part;\nfn main() {{ std::process::exit(part::part().into()) }}\n",
            built.display()
        ),
    )
    .unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["-g", "-o"]).arg(place.join("prog")).arg(place.join("ci/main.rs"));
    assert!(rustc.status().unwrap().success());
    let kept = place.join("cargo/registry/src/index-2");
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::rename(place.join("ci/registry/src/index-1/some-crate-1.2.3"), kept.join("some-crate-1.2.3")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(["-c", "g main; .echo [file]; lsf part.rs; .echo [maps]; !sourcemaps; .echo [end]"])
        .arg(place.join("prog"))
        .env("CARGO_HOME", place.join("cargo"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let (file, kept) = (kept.join("some-crate-1.2.3/src/part.rs"), kept.display());
    assert_eq!(part(&output, "file"), format!("Current: {} (in cargo's registry)\n", file.display()), "{output}");
    let why = "in cargo's registry; it has the version that the program was built of";
    assert_eq!(part(&output, "maps"), format!("{}/ci/registry/src/index-1 => {kept} ({why})\n", place.display()));
}
