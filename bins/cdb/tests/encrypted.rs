//! `cdb` and `dbgsrv` as people use them over encrypted transports: the line to paste, pasted.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use outpost_testkit::ProcessServer;

fn cdb(connection: &str, rest: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdb"));
    command.args(["-premote", connection]).args(rest).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_line_of_a_server_without_options_starts_a_session() {
    let server = ProcessServer::start_with(&[]);
    let text = said(&cdb(server.connection(), &["-c", "||; r rip; q", "/bin/true"]));
    assert!(text.contains("Live user mode: ssl:Port=") && text.contains("rip=0000"), "{text}");
    let password = server.connection().split_once("Password=").unwrap().1;
    assert!(!text.contains(password), "{text}");
}

#[test]
fn over_a_pipe_too() {
    let name = format!("cdb_encrypted{}", std::process::id());
    let server = ProcessServer::start_with(&["-t", &format!("spipe:pipe={name}")]);
    let text = said(&cdb(server.connection(), &["-c", "||; r rip; q", "/bin/true"]));
    assert!(text.contains("Live user mode: spipe:Pipe=") && text.contains("rip=0000"), "{text}");
}

#[test]
fn wrong_secrets_are_told_and_not_shown() {
    let server = ProcessServer::start_with(&["-t", "ssl:port=0,bind=localhost,password=@{Sesame, open!}"]);
    let line = server.connection().split_once(",Password=").unwrap().0;
    let output = cdb(&format!("{line},password=Sesam"), &["-c", "q", "/bin/true"]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("authentication failed") && !text.contains("Sesam"), "{text}");
    let (before, thumbprint) = line.split_once("CertUser=").unwrap();
    let output = cdb(&format!("{before}CertUser=0000{}", &thumbprint[4..]), &["-c", "q", "/bin/true"]);
    assert!(!output.status.success() && said(&output).contains("which was not named"), "{}", said(&output));
    let output = cdb(&format!("{line},password=@{{Sesame, open!}}"), &["-c", ".echo in; q", "/bin/true"]);
    assert!(output.status.success() && said(&output).contains("in"), "{}", said(&output));
}

#[test]
fn the_password_may_be_in_a_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "Sesame\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    let server = ProcessServer::start_with(&["-t", &format!("ssl:port=0,bind=localhost,password=@{}", path.display())]);
    let line = server.connection().split_once(",Password=").unwrap().0;
    let connection = format!("{line},password=@{}", path.display());
    let output = cdb(&connection, &["-c", ".echo in; q", "/bin/true"]);
    assert!(output.status.success() && said(&output).contains("in"), "{}", said(&output));
    // Behind the prompt, too.
    let output = cdb(&connection, &["-c", &format!(".attach -premote {connection} 1; q")]);
    assert!(!said(&output).contains("authentication failed") && !said(&output).contains("Sesame"), "{}", said(&output));
    // In quotes, as at a shell.
    let output = cdb(&connection, &["-c", &format!(".create -premote \"{connection}\" /bin/true")]);
    assert!(said(&output).contains("Created process"), "{}", said(&output));
    mode(0o640);
    assert!(cdb(&connection, &["-c", "q", "/bin/true"]).status.success(), "a group may");
    mode(0o604);
    let output = cdb(&connection, &["-c", "q", "/bin/true"]);
    assert!(!output.status.success() && said(&output).contains("chmod 600"), "{}", said(&output));
}

#[test]
fn the_password_is_not_in_the_process_list() {
    let server = ProcessServer::start_with(&["-t", "tcp:port=0,password=Xy12secret"]);
    let line = server.connection().replace("Password=*", "password=Xy12secret");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdb"));
    command.args(["-premote", &line, "-c", ".echo here", "/bin/true"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"here\n") && child.stdout.as_mut().unwrap().read(&mut byte).unwrap() > 0 {
        said.push(byte[0]);
    }
    let listed = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    child.stdin.take().unwrap().write_all(b"q\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(listed.contains("password=**") && !listed.contains("secret"), "{listed}");
}
