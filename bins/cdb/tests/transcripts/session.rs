//! Sessions as transcripts have them: how they begin, what is typed, what is answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outpost_testkit::{Build, Running};

use crate::rules::Rules;

/// Longer than any session takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// One session of a transcript.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The lines it begins with, without their `=== `.
    header: Vec<String>,
    /// What is typed at its prompts.
    pub(crate) inputs: Vec<String>,
}

/// What was made for a session and ends with it.
struct Stage {
    /// The program as it was compiled, which its debug information names.
    compiled: PathBuf,
    /// Where it is started from: the length of the path moves what is on its stack.
    program: PathBuf,
    _place: tempfile::TempDir,
    core: Option<PathBuf>,
    running: Option<Running>,
    server: Option<(Child, String)>,
    home: tempfile::TempDir,
}

impl Session {
    /// The sessions of a transcript.
    pub(crate) fn parse(text: &str) -> Vec<Session> {
        let mut sessions: Vec<Session> = Vec::new();
        for line in text.lines() {
            if let Some(header) = line.strip_prefix("=== ") {
                if sessions.last().is_none_or(|session| !session.inputs.is_empty()) {
                    sessions.push(Session::default());
                }
                sessions.last_mut().unwrap().header.push(header.to_owned());
            } else if let Some(input) = input_of(line) {
                let session = sessions.last_mut().expect("a header comes before the first prompt");
                session.inputs.push(input.to_owned());
            }
        }
        sessions
    }

    /// The session as it is now.
    pub(crate) fn run(&self) -> String {
        let stage = self.stage();
        let mut rules = Rules::new(&stage.compiled, &stage.program, stage.home.path());
        let mut expansions =
            vec![("PROGRAM", stage.program.display().to_string()), ("HOME", stage.home.path().display().to_string())];
        expansions.extend(stage.core.iter().map(|core| ("CORE", core.display().to_string())));
        if let Some(running) = &stage.running {
            rules.process(running.pid());
            expansions.push(("PID", running.pid().to_string()));
        }
        if let Some((_, transport)) = &stage.server {
            rules.server(transport);
            expansions.push(("SERVER", transport.clone()));
        }
        let command_line = self.header.last().expect("a header ends with the command line");
        let words = command_line.split(' ').map(|word| match expansions.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => value.clone(),
            None => word.to_owned(),
        });
        let mut words: Vec<String> = words.collect();
        assert_eq!(words.remove(0), "cdb", "{command_line}");
        let inputs = self.inputs.iter().map(|input| {
            expansions.iter().fold(input.clone(), |input, (name, value)| input.replace(&format!("{{{name}}}"), value))
        });
        let output = converse(&words, &inputs.collect::<Vec<_>>(), &stage);
        // Behind a prompt stands what the transcript has, not what was made of it.
        let as_written = |line: &str| match input_of(line) {
            Some(_) => expansions
                .iter()
                .fold(line.to_owned(), |line, (name, value)| line.replace(value.as_str(), &format!("{{{name}}}"))),
            None => line.to_owned(),
        };
        let output: String = output.lines().map(|line| as_written(line) + "\n").collect();
        let header: String = self.header.iter().map(|line| format!("=== {line}\n")).collect();
        header + &rules.apply(&output)
    }

    fn stage(&self) -> Stage {
        let field = |name: &str| self.header.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let debuggee = field("debuggee:").expect("a header names the debuggee");
        let (file, flags) = debuggee.split_once(' ').unwrap_or((debuggee, ""));
        let compiled = Build::fixture(file).flags("-g").flags(flags).path().canonicalize().unwrap();
        let place = tempfile::tempdir_in("/tmp").unwrap();
        let program = place.path().join(compiled.file_name().unwrap());
        std::fs::copy(&compiled, &program).unwrap();
        let views = outpost_testkit::fixture(file).with_extension("natvis");
        if views.exists() {
            std::fs::copy(views, format!("{}.natvis", program.display())).unwrap();
        }
        let core = field("core:").map(|arguments| core_of(&program, arguments));
        let running = field("running:").map(|arguments| {
            // As the debugger starts its own: with the same addresses each time.
            let mut command = Command::new("setarch");
            command.arg("-R").arg(&program).args(arguments.split_whitespace());
            let mut running = Running::command(clean(&mut command).current_dir(program.parent().unwrap()));
            running.line();
            running
        });
        let server = field("server:").map(start_server);
        Stage { compiled, program, _place: place, core, running, server, home: tempfile::tempdir().unwrap() }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some((server, _)) = &mut self.server {
            drop(server.kill());
            drop(server.wait());
        }
    }
}

/// What is typed at a prompt, if the line begins with one.
fn input_of(line: &str) -> Option<&str> {
    let (prompt, input) = line.split_once("> ")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_prompt = prompt == "NoTarget"
        || prompt == "Input"
        || prompt.trim_start_matches("||").split(':').count() >= 2
            && prompt.trim_start_matches("||").split(':').all(digits);
    is_prompt.then_some(input)
}

/// The same environment for all, since it lies on the debuggee's stack.
fn clean(command: &mut Command) -> &mut Command {
    command.env_clear().envs([
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("TZ", "UTC"),
        ("LC_ALL", "C.UTF-8"),
        ("HOME", "/nonexistent"),
    ])
}

fn converse(words: &[String], inputs: &[String], stage: &Stage) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1", env!("CARGO_BIN_EXE_cdb")]).args(words);
    let command = clean(&mut command).current_dir(stage.program.parent().unwrap());
    let mut cdb = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (cdb.stdin.take().unwrap(), cdb.stdout.take().unwrap());
    let script: String = inputs.iter().map(|input| format!("{input}\n")).collect();
    // It may end before it has read all; then the transcript says so.
    std::thread::spawn(move || drop(stdin.write_all(script.as_bytes())));
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).unwrap();
        String::from_utf8_lossy(&output).into_owned()
    });
    let end = std::time::Instant::now() + LIMIT;
    while !reader.is_finished() {
        if std::time::Instant::now() > end {
            drop(cdb.kill());
            drop(cdb.wait());
            panic!("not within {LIMIT:?}:\n{}", reader.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = cdb.wait().unwrap();
    let mut output = reader.join().unwrap();
    if !output.ends_with('\n') {
        output.push('\n');
    }
    if !status.success() {
        output += &format!("{status}\n");
    }
    output
}

/// A dump of a program as it stands in `stop`, made by gdb; kept beside the program.
fn core_of(program: &Path, arguments: &str) -> PathBuf {
    let name = arguments.split_whitespace().next().unwrap_or("plain");
    let core = program.with_extension(format!("{name}.core"));
    let mut gdb = Command::new("gdb");
    let save = format!("generate-core-file {}", core.display());
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "break stop", "-ex", "run", "-ex", &save]);
    let gdb = clean(gdb.arg("--args").arg(program).args(arguments.split_whitespace()));
    let output = gdb.current_dir(program.parent().unwrap()).output().unwrap();
    assert!(core.exists(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    core
}

/// A process server, and how it is reached.
fn start_server(arguments: &str) -> (Child, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_cdb")).with_file_name("dbgsrv");
    let mut command = Command::new(&program);
    let command = clean(&mut command).args(arguments.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut server =
        command.spawn().unwrap_or_else(|error| panic!("{}, which cargo build makes: {error}", program.display()));
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let line = lines.by_ref().map_while(Result::ok).find(|line| line.contains("connect with:"));
    let line = line.expect("the server says how it is reached");
    // Whatever it says later must not stop it.
    std::thread::spawn(move || lines.for_each(drop));
    (server, line.split(' ').skip_while(|word| *word != "-premote").nth(1).unwrap().to_owned())
}

/// What compiles the debuggees, a line each.
pub(crate) fn toolchain() -> String {
    let version = |compiler: &str| {
        let output = Command::new(compiler).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().unwrap_or_default().to_owned() + "\n"
    };
    ["gcc", "g++", "rustc"].map(version).concat()
}

/// Where two texts differ, with the lines around it; `-` is what was expected. Empty if nowhere.
pub(crate) fn differences(expected: &str, actual: &str) -> String {
    if expected == actual {
        return String::new();
    }
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("expected"), folder.path().join("actual"));
    std::fs::write(&before, expected).unwrap();
    std::fs::write(&after, actual).unwrap();
    let output = Command::new("diff").args(["-U", "4"]).arg(&before).arg(&after).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.is_empty() { actual.to_owned() } else { text }
}
