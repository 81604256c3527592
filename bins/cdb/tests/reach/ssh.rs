//! `ssh:`, through a real sshd on loopback with keys of its own.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use outpost_testkit::{skip, wait_until};

use crate::support::{Ended, LIMIT, Program, assert_debugged, cdb, dbgsrv, sleeper};

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd, and a configuration in which it is `alder`.
struct Sshd {
    child: Child,
    place: tempfile::TempDir,
}

impl Sshd {
    /// `None`, and a skip, if the machine has none.
    fn start() -> Option<Sshd> {
        if !Path::new(SSHD).exists() {
            skip("there is no sshd");
            return None;
        }
        // Below the system's own place for such, since sshd looks at who may write where a key lies.
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).display().to_string();
        for name in ["host", "key", "stranger"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path(name)]).status();
            assert!(made.unwrap().success());
        }
        std::fs::copy(path("key.pub"), path("authorized")).unwrap();
        // As root it wants a directory to lock its first half in.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n",
            path("host"),
            path("authorized"),
        );
        std::fs::write(path("sshd_config"), server).unwrap();
        let common = format!(
            "HostName 127.0.0.1\nPort {port}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n\
             StrictHostKeyChecking no\nLogLevel ERROR\n",
            path("known"),
        );
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client = format!(
            "Host alder\nIdentityFile {}\n{common}\nHost birch\nIdentityFile {}\n{common}\n\
             Host cedar\nPort {closed}\n{common}",
            path("key"),
            path("stranger"),
        );
        std::fs::write(path("config"), client).unwrap();
        std::fs::create_dir(path("bin")).unwrap();
        script(&place.path().join("bin/ssh"), &format!("exec /usr/bin/ssh -F {} \"$@\"", path("config")));
        let mut sshd = Command::new(SSHD);
        sshd.args(["-D", "-e", "-f", &path("sshd_config")]);
        let child = sshd.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sshd = Sshd { child, place };
        wait_until("sshd listens", LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(sshd)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// `cdb` whose `ssh` knows this configuration; its own server is the one under test.
    fn cdb(&self, arguments: &[&str]) -> Command {
        let mut command = cdb(arguments);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.path("bin").display())).env("OUTPOST_DBGSRV", dbgsrv());
        command
    }

    fn run(&self, transport: &str, pid: u32) -> Ended {
        let arguments = ["-premote", transport, "-p", &pid.to_string(), "-c", "r rip; qd"];
        Program::start(&mut self.cdb(&arguments)).end()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
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
