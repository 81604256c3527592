//! `ssh:`, through a real sshd on loopback with keys of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use outpost_testkit::{script, state, wait_until};

use crate::support::{Ended, LIMIT, Program, assert_debugged, cdb, dbgsrv, signal, sleeper};

/// An sshd, and debuggers that know it.
struct Sshd(outpost_testkit::Sshd);

impl Sshd {
    fn start() -> Option<Sshd> {
        outpost_testkit::Sshd::start().map(Sshd)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// `cdb` whose `ssh` knows this configuration; its own server is the one under test.
    fn cdb(&self, arguments: &[&str]) -> Command {
        let mut command = cdb(arguments);
        command.env("PATH", self.0.search_path()).env("OUTPOST_DBGSRV", dbgsrv());
        command
    }

    fn run(&self, transport: &str, pid: u32) -> Ended {
        let arguments = ["-premote", transport, "-p", &pid.to_string(), "-c", "r rip; qd"];
        Program::start(&mut self.cdb(&arguments)).end()
    }
}

/// Files of a directory.
fn files(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    files
}

#[test]
fn a_server_that_is_there_is_started_by_ssh() {
    let Some(sshd) = Sshd::start() else { return };
    let mut sleeper = sleeper();
    let ended = sshd.run(&format!("ssh:server=alder,path={}", dbgsrv().display()), sleeper.pid());
    assert_debugged(&ended, &mut sleeper);
}

#[test]
fn a_server_that_is_missing_is_copied_if_that_is_wanted() {
    let Some(sshd) = Sshd::start() else { return };
    let mut sleeper = sleeper();
    let place = sshd.path("it's new").join("dbgsrv");
    let transport = format!("ssh:server=alder,path={}", place.display());
    let refused = sshd.run(&transport, sleeper.pid());
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    assert!(refused.text.contains(&format!("no dbgsrv on alder (looked for {})", place.display())), "{}", refused.text);
    assert!(refused.text.contains("copy=yes"), "{}", refused.text);

    assert_debugged(&sshd.run(&format!("{transport},copy=yes"), sleeper.pid()), &mut sleeper);
    assert!(std::fs::read(&place).unwrap() == std::fs::read(dbgsrv()).unwrap(), "it is the same file");
    assert_eq!(files(place.parent().unwrap()), ["dbgsrv"], "and nothing is left beside it");
    // From now on it is the one that is there.
    let before = std::fs::metadata(&place).unwrap().modified().unwrap();
    assert_debugged(&sshd.run(&format!("{transport},copy=yes"), sleeper.pid()), &mut sleeper);
    assert_eq!(std::fs::metadata(&place).unwrap().modified().unwrap(), before);
}

#[test]
fn a_server_of_another_release_is_used_or_replaced() {
    let Some(sshd) = Sshd::start() else { return };
    let mut sleeper = sleeper();
    let place = sshd.path("other");
    let real = dbgsrv();
    let other = format!(
        "[ \"$1\" = --version ] && {{ echo 'dbgsrv 9.9.9 (Outpost), protocol 1'; exit; }}; exec {} \"$@\"",
        real.display()
    );
    script(&place, &other);
    let transport = format!("ssh:server=alder,path={}", place.display());
    // Nobody can be asked here; the two make out in their hellos whether they understand each other.
    assert_debugged(&sshd.run(&transport, sleeper.pid()), &mut sleeper);
    assert!(std::fs::read_to_string(&place).is_ok_and(|text| text.contains("9.9.9")));
    assert_debugged(&sshd.run(&format!("{transport},copy=yes"), sleeper.pid()), &mut sleeper);
    assert!(std::fs::read(&place).unwrap() == std::fs::read(real).unwrap());
}

#[test]
fn a_copy_that_is_no_server_of_this_release_does_not_take_its_place() {
    let Some(sshd) = Sshd::start() else { return };
    let place = sshd.path("remote").join("dbgsrv");
    script(&sshd.path("false"), "echo dbgsrv 0.0.1");
    let transport = format!("ssh:server=alder,path={},copy=yes", place.display());
    let mut command = sshd.cdb(&["-premote", &transport, "-p", "1"]);
    let ended = Program::start(command.env("OUTPOST_DBGSRV", sshd.path("false"))).end();
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(ended.text.contains("says there that it is 'dbgsrv 0.0.1'"), "{}", ended.text);
    wait_until("the copy is removed", LIMIT, || files(place.parent().unwrap()).is_empty());
}

#[test]
fn at_a_terminal_the_user_is_asked() {
    use expectrl::{Expect, Session};
    let Some(sshd) = Sshd::start() else { return };
    let place = sshd.path("asked").join("dbgsrv");
    let transport = format!("ssh:server=alder,path={}", place.display());
    let mut terminal = Session::spawn(sshd.cdb(&["-premote", &transport])).unwrap();
    terminal.set_expect_timeout(Some(LIMIT));
    terminal.expect("Copy the one of this debugger there? [y/N] ").unwrap();
    terminal.send_line("y").unwrap();
    terminal.expect("NoTarget> ").unwrap();
    assert!(place.exists());
    terminal.send_line("q").unwrap();
    terminal.expect(expectrl::Eof).unwrap();
}

#[test]
fn a_failing_ssh_is_explained_in_its_own_words() {
    let Some(sshd) = Sshd::start() else { return };
    let fails = |transport: &str, words: &str| {
        let ended = sshd.run(transport, 1);
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        assert!(ended.text.contains("ssh ended with status 255") && ended.text.contains(words), "{}", ended.text);
    };
    fails("ssh:server=birch", "Permission denied (publickey");
    fails("ssh:server=cedar", "Connection refused");
    fails("ssh:server=a..b", "resolve hostname");
}

/// Every line of the debuggee arrives once and in order, although each link is killed under it.
#[test]
fn a_killed_ssh_is_made_anew_and_nothing_is_missed_or_done_twice() {
    let Some(sshd) = Sshd::start() else { return };
    let transport = format!("ssh:server=alder,path={}", dbgsrv().display());
    let count = "i=0; while [ $i -lt 80 ]; do i=$((i+1)); echo line $i; sleep 0.02; done";
    let debugger = Program::start(&mut sshd.cdb(&["-premote", &transport, "-c", "g; q", "sh", "-c", count]));
    // A thread of the debugger may have started it.
    let ssh_of = |pid: u32| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let tasks = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let all: Vec<u32> = tasks
            .flat_map(|task| {
                let text = std::fs::read_to_string(format!("/proc/{pid}/task/{task}/children")).unwrap_or_default();
                text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
            })
            .collect();
        all.into_iter().find(|child| {
            std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "ssh")
                && state(*child) != Some('Z')
        })
    };
    let mut last = 0;
    for line in ["line 10", "line 30", "line 50"] {
        debugger.line(line);
        let mut ssh = None;
        wait_until("there is an ssh that was not killed yet", LIMIT, || {
            ssh = ssh_of(debugger.pid()).filter(|ssh| *ssh != last);
            ssh.is_some()
        });
        last = ssh.unwrap();
        signal(last, "KILL");
    }
    let ended = debugger.end();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("link resumed"), "{}", ended.text);
    let lines: Vec<&str> = ended.text.lines().filter(|line| line.starts_with("line ")).collect();
    let expected: Vec<String> = (1..=80).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, expected, "{}", ended.text);
}
