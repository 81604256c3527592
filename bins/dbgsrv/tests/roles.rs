//! What is allowed, to a role or to all, works; what is not is refused by the server, and changes nothing.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

use std::process::Command;

mod common;
mod debuggee;

use common::{Server, dbgsrv};
use debuggee::{attach, read, space};
use outpost_base::ProcessId;
use outpost_remote::{Options, RemoteTarget};
use outpost_target::{
    AttachMode, BundleRequest, CreateSpec, DetachMode, Live, Os, ProcessQuery, StdioSpec, Target, TargetError,
    WriteRequest,
};
use outpost_testkit::{Running, tracer};

/// Set where the test of certificates runs with a folder of its own.
const FOLDER: &str = "OUTPOST_TEST_CERTIFICATES";

fn refused<T: std::fmt::Debug>(result: Result<T, TargetError>, role: &str, needed: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(&format!("in the role {role}: the role {needed} is needed")), "{error}");
}

fn sleeper() -> CreateSpec {
    CreateSpec {
        program: "/bin/sleep".into(),
        arguments: vec!["1000".into()],
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Client,
        randomize: true,
        break_in: true,
    }
}

fn create(remote: &mut RemoteTarget) -> Result<ProcessId, TargetError> {
    remote.create(&sleeper(), &BundleRequest::default()).map(|(process, _)| process)
}

/// An observer reads images, by whatever name, and no other file.
fn check_files(observer: &mut RemoteTarget) {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/bin/sleep", &link).unwrap();
    let (file, len) = observer.open_file(None, link.to_str().unwrap()).unwrap();
    assert_eq!(len, std::fs::metadata("/bin/sleep").unwrap().len());
    observer.close_file(file).unwrap();
    let secret = folder.path().join("id_ed25519");
    std::fs::write(&secret, "secret").unwrap();
    for path in [secret.to_str().unwrap(), "/etc/passwd", "/proc/self/environ", "/proc/self/maps"] {
        let error = observer.open_file(None, path).unwrap_err().to_string();
        assert!(error.contains("no ELF image in the role observe: the role control is needed"), "{path}: {error}");
    }
    let error = observer.open_file(None, "/proc/kcore").unwrap_err().to_string();
    assert!(error.contains("kcore"), "{error}");
}

#[test]
fn each_role_may_do_what_it_says_and_no_more() {
    for transport in ["tcp:port=0", "ssl:port=0,bind=localhost"] {
        let roles = ["observe", "control", "launch", "end-server"];
        let options: Vec<String> = roles.iter().map(|role| format!("--role={role}:password=pass-{role}")).collect();
        let mut arguments = vec!["-t", transport];
        arguments.extend(options.iter().map(String::as_str));
        let mut server = Server::start(&arguments);
        let (debuggee, other) = (Running::start("sleep", &["1000"]), Running::start("sleep", &["1000"]));
        let (pid, process) = (debuggee.pid(), ProcessId(debuggee.pid()));
        let bundle = BundleRequest::default();
        // Neither nothing nor something else is a password here.
        assert!(server.try_connect("").is_err());
        let connect = |role: &str| server.try_connect(&format!("pass-{role}")).unwrap();

        let mut observer = connect("observe");
        assert!(!observer.list_processes(&ProcessQuery::All, false).unwrap().is_empty());
        refused(observer.attach(process, AttachMode::Invasive { break_in: true }, &bundle), "observe", "control");
        refused(observer.attach(process, AttachMode::Noninvasive { suspend: true }, &bundle), "observe", "control");
        observer.attach(process, AttachMode::Noninvasive { suspend: false }, &bundle).unwrap();
        assert_eq!(tracer(pid), 0, "nobody traces it");
        let regions = observer.regions(process).unwrap();
        let at = regions.iter().find(|region| region.write).unwrap().range.start;
        let space_id = space(&mut observer, process);
        let before = read(&mut observer, space_id, at, 8);
        let write = vec![WriteRequest { at, bytes: vec![0xee; 8] }];
        refused(observer.write_many(space_id, &write), "observe", "control");
        refused(observer.kill(process), "observe", "control");
        refused(create(&mut observer), "observe", "launch");
        refused(observer.end_server(), "observe", "end-server");
        assert_eq!(read(&mut observer, space_id, at, 8), before, "nothing was written");
        observer.detach(process, DetachMode::Deliver).unwrap();
        check_files(&mut observer);

        let mut controller = connect("control");
        for (client, role) in [(&mut observer, "observe"), (&mut controller, "control")] {
            for own in std::iter::once(server.pid()).chain(server.workers()) {
                let look = AttachMode::Noninvasive { suspend: false };
                refused(client.attach(ProcessId(own), look, &bundle), role, "end-server");
            }
        }
        attach(&mut controller, pid);
        assert!(controller.write_many(space_id, &[WriteRequest { at, bytes: before }]).is_ok());
        refused(create(&mut controller), "control", "launch");
        refused(controller.end_server(), "control", "end-server");
        controller.detach(process, DetachMode::Deliver).unwrap();

        let mut launcher = connect("launch");
        let created = create(&mut launcher).unwrap();
        launcher.kill(created).unwrap();
        refused(launcher.end_server(), "launch", "end-server");
        assert!(observer.clock().is_ok(), "the server goes on");

        connect("end-server").end_server().unwrap();
        assert!(server.wait().success());
        drop((debuggee, other));
    }
}

#[test]
fn a_certificate_gives_a_role_and_a_password_a_higher_one() {
    // Servers and clients find certificates in the same folder, this test's own.
    let Some(folder) = std::env::var_os(FOLDER) else {
        let folder = tempfile::tempdir().unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.env("XDG_CONFIG_HOME", folder.path()).env(FOLDER, folder.path());
        let name = "a_certificate_gives_a_role_and_a_password_a_higher_one";
        return assert!(again.args(["--exact", name, "--nocapture"]).status().unwrap().success());
    };
    let start = |arguments: &[&str]| Server::spawn(dbgsrv().env("XDG_CONFIG_HOME", &folder).args(arguments));
    let thumbprint = start(&[]).client_string().split_once("CertUser=").unwrap().1[..64].to_owned();
    let role = format!("--role=observe:clientcert={thumbprint}");
    let server = start(&["-t", "ssl:port=0,bind=localhost", &role, "--role=launch:password=start"]);
    let text = server.transport_without_password().to_string();
    let bare = text.split(",ClientCert=").next().unwrap().to_owned();
    let open = |own: &str, password: &str| {
        let transport = format!("{bare}{own}{password}").parse().unwrap();
        RemoteTarget::connect(&transport, Options::default()).map(|(target, _)| target)
    };
    // A certificate alone, a password alone, and both.
    refused(create(&mut open(",clientcert=dbgsrv", "").unwrap()), "observe", "launch");
    for own in ["", ",clientcert=dbgsrv"] {
        let mut launcher = open(own, ",password=start").unwrap();
        let created = create(&mut launcher).unwrap();
        launcher.kill(created).unwrap();
    }
    // Neither, and somebody else's.
    assert!(open("", "").unwrap_err().to_string().contains("authentication failed"));
    assert!(open(",clientcert=other", "").is_err());
    assert!(open(",clientcert=other", ",password=start").is_err(), "who shows one shows one that is let in");
}

#[test]
fn what_is_not_on_the_list_is_refused_in_every_role() {
    let sleep = std::fs::canonicalize("/bin/sleep").unwrap();
    let program = format!("--allow=program={}", sleep.display());
    let operations = ["--allow=operation=attach", "--allow=operation=create", "--allow=operation=kill"];
    let server = Server::start(&[&["-t", "tcp:port=0", &program][..], &operations].concat());
    let (debuggee, other) = (Running::start("sleep", &["1000"]), Running::start("cat", &[]));
    let (process, bundle) = (ProcessId(debuggee.pid()), BundleRequest::default());
    let mut client = server.connect();
    let check = |result: Result<String, TargetError>, words: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("dbgsrv --allow"), "{error}");
    };
    for mode in [AttachMode::Invasive { break_in: true }, AttachMode::Noninvasive { suspend: false }] {
        let attached = client.attach(ProcessId(other.pid()), mode, &bundle);
        check(attached.map(|_| String::new()), "program ");
    }
    attach(&mut client, debuggee.pid());
    let regions = client.regions(process).unwrap();
    let at = regions.iter().find(|region| region.write).unwrap().range.start;
    let space_id = space(&mut client, process);
    let bytes = read(&mut client, space_id, at, 8);
    let written = client.write_many(space_id, &[WriteRequest { at, bytes }]);
    check(written.map(|_| String::new()), "operation write");
    let file = client.open_file(None, "/etc/passwd").map(|_| String::new());
    assert!(file.unwrap_err().to_string().contains("the server allows some processes only"));
    client.detach(process, DetachMode::Deliver).unwrap();
    // A link to it is as good as its path; a name is not, nor is another program.
    let created = create(&mut client).unwrap();
    client.kill(created).unwrap();
    for program in ["sleep", "/bin/ls"] {
        let spec = CreateSpec { program: program.into(), ..sleeper() };
        let created = client.create(&spec, &BundleRequest::default());
        check(created.map(|_| String::new()), program.trim_start_matches("/bin"));
    }
}
