//! The README's part on remote debugging, followed word for word: its lines are read out of it, and run by a shell on machines
//! of the names and the address that it uses. What stands for something of the reader's is put in: a process id, the line to
//! paste with its thumbprint and password, a thumbprint, devices of a serial line. What it shows is compared.
//!
//! `ssh:` lines are followed in `ssh`, with a real sshd. `docker` is a script that does what it does, to a container of this
//! machine's own making.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use outpost_testkit::{Container, Lan, Running, SerialLine, program, script, tracer, wait_until};

use crate::support::{Ended, LIMIT, Program, assert_debugged, sleeper};

const README: &str = include_str!("../../../../README.md");

/// What the file of a password has.
const SECRET: &str = "of a file";

const HOSTS: [(&str, &str); 3] = [("cedar", "10.0.0.9"), ("alder", "10.0.0.7"), ("birch", "10.0.0.8")];

/// A line of a shell in the README, and the output that it shows.
struct Line {
    host: &'static str,
    command: &'static str,
    shown: Vec<&'static str>,
}

impl Line {
    fn parse(text: &'static str) -> Option<Line> {
        let (host, rest) = text.split_once("$ ")?;
        let host = HOSTS.iter().find(|(name, _)| *name == host)?.0;
        // Two blanks begin a remark.
        let command = rest.split_once("  ").map_or(rest, |(command, _)| command);
        Some(Line { host, command, shown: Vec::new() })
    }

    fn program(&self) -> &'static str {
        self.command.split(' ').next().unwrap().trim_start_matches("./")
    }

    /// The transport it names, as it stands there; empty if it names none.
    fn transport(&self) -> &'static str {
        let words = |option| self.command.split_once(option).map(|(_, rest)| rest);
        let rest = words("-premote ").or_else(|| words("-t ")).unwrap_or_default();
        let quoted = rest.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
        quoted.map_or_else(|| rest.split(' ').next().unwrap(), |(inside, _)| inside)
    }
}

/// The lines that stand together, in their order.
fn sections() -> Vec<Vec<Line>> {
    let (_, rest) = README.split_once("\n## Debug something remote\n").unwrap();
    let (part, _) = rest.split_once("\n## ").unwrap();
    let mut sections: Vec<Vec<Line>> = vec![Vec::new()];
    let mut is_code = false;
    for text in part.lines() {
        if text.starts_with("```") || text.is_empty() {
            is_code ^= text.starts_with("```");
            sections.push(Vec::new());
        } else if is_code {
            let section = sections.last_mut().unwrap();
            match Line::parse(text) {
                Some(line) => section.push(line),
                // What is indented goes on with a remark.
                None if !text.starts_with(' ') => {
                    section.iter_mut().next_back().into_iter().for_each(|line| line.shown.push(text))
                }
                None => {}
            }
        }
    }
    sections.retain(|section| !section.is_empty());
    sections
}

/// The machines, and what is on them.
struct Town {
    lan: Lan,
    folder: tempfile::TempDir,
    debuggee: Running,
    nginx: Running,
    serial: SerialLine,
    container: Option<Container>,
    /// The server of alder, and its line.
    server: Option<(&'static str, Program)>,
    /// What else runs until the end of its section.
    beside: Vec<Program>,
    /// The debugger's command that goes through a repeater.
    through: Option<String>,
    /// A debugger that waits for its server.
    waiting: Option<Program>,
    followed: usize,
}

impl Town {
    fn start() -> Option<Town> {
        let lan = Lan::start(&HOSTS)?;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (host, _) in HOSTS {
            let place = folder.path().join(host);
            fs::create_dir(&place).unwrap();
            let cdb = PathBuf::from(env!("CARGO_BIN_EXE_cdb"));
            for (name, file) in [("dbgsrv", program("dbgsrv")), ("dbengprx", program("dbengprx")), ("cdb", cdb)] {
                std::os::unix::fs::symlink(file, place.join(name)).unwrap();
            }
        }
        fs::copy("/bin/echo", folder.path().join("alder/svc")).unwrap();
        let secret = folder.path().join("alder/lab.secret");
        fs::write(&secret, SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let nginx = folder.path().join("nginx");
        fs::copy("/bin/sleep", &nginx).unwrap();
        Some(Town {
            lan,
            debuggee: sleeper(),
            nginx: Running::start(nginx, &["1000"]),
            serial: SerialLine::start(0).unwrap(),
            container: None,
            server: None,
            beside: Vec::new(),
            through: None,
            waiting: None,
            followed: 0,
            folder,
        })
    }

    /// Starts a line on its machine, in a folder that has the programs, which are also where a shell looks for them.
    fn run(&self, host: &str, line: &str) -> Program {
        let place = self.folder.path().join(host).display().to_string();
        let line = format!(
            "cd {place} && PATH={place}:$PATH HOME={place} XDG_CONFIG_HOME={place}/config USER=ada && \
             export PATH HOME XDG_CONFIG_HOME USER && unset XDG_RUNTIME_DIR && exec {line}"
        );
        Program::start(&mut self.lan.sh(host, &line))
    }

    fn pid(&self) -> String {
        self.debuggee.pid().to_string()
    }

    /// The line with what is the reader's own put in.
    fn filled(&self, command: &str) -> String {
        command
            .replace(" 5120", &format!(" {}", self.pid()))
            .replace("/dev/ttyUSB0", self.serial.device(0))
            .replace("port=com2", &format!("port={}", self.serial.device(1)))
            .replace("/etc/lab.secret", &self.secret().display().to_string())
    }

    /// A file with a password that nobody else reads.
    fn secret(&self) -> PathBuf {
        self.folder.path().join("alder/lab.secret")
    }

    fn follow(&mut self, line: &Line) {
        self.followed += 1;
        match line.program() {
            "dbgsrv" if line.command.contains("clicon=") => self.dial(line),
            "dbgsrv" => self.serve(line),
            "dbengprx" => {
                self.need_plain_server();
                let repeater = self.run(line.host, &self.filled(line.command));
                repeater.connection();
                self.beside.push(repeater);
            }
            // Followed elsewhere.
            "cdb" if line.command.contains(" ssh:") => self.followed -= 1,
            "cdb" => self.debug(line),
            "docker" => {
                self.need_container();
                let ended = self.run(line.host, line.command).end();
                assert_eq!(ended.code, Some(0), "{}: {}", line.command, ended.text);
            }
            other => panic!("the README has a line with {other}, which nobody follows"),
        }
    }

    /// A server that listens: what it says is what is shown, and what it says to type works.
    fn serve(&mut self, line: &Line) {
        self.server = None;
        let mut command = self.filled(line.command);
        if command.contains("THUMBPRINT") {
            command = command.replace("THUMBPRINT", &self.client_thumbprint(&command));
        }
        let server = self.run(line.host, &command);
        let connection = server.connection();
        let said = server.lines();
        for (shown, said) in line.shown.iter().filter(|shown| shown.starts_with("dbgsrv: ")).zip(&said) {
            assert_eq!(shape(said), shape(shown));
        }
        self.server = Some((line.command, server));
        // The other end of a serial line is called otherwise there, and has a line of its own.
        if !connection.starts_with("com:") {
            let ended = self.connect(&connection.replace("Password=*", &password_of(line.transport())));
            assert_debugged(&ended, &mut self.debuggee);
        }
        let events: Vec<_> = line.shown.iter().filter(|shown| shown.contains(" event=")).collect();
        if !events.is_empty() {
            let file = command.split_once("--audit ").unwrap().1;
            let log = self.run(line.host, &format!("cat {file}")).end().text;
            let mut said = log.lines().map(shape);
            for shown in events {
                assert!(said.any(|said| said == shape(shown)), "in this order, {shown}: {log}");
            }
        }
    }

    /// Attaches by a server's own words, from where it can be reached.
    fn connect(&self, transport: &str) -> Ended {
        let own = ["Server=127.0.0.1", "Server=localhost", "Server=."];
        let host = if own.iter().any(|own| transport.contains(own)) { "alder" } else { "birch" };
        let transport = transport.replace("ClientCert=NAME", "ClientCert=mine");
        self.run(host, &format!("cdb -premote '{transport}' -p {} -c 'r rip; qd'", self.pid())).end()
    }

    /// A client whose certificate is not known yet makes it, and the server says which it is.
    fn client_thumbprint(&self, command: &str) -> String {
        let server = self.run("alder", &command.replace("THUMBPRINT", &"AB".repeat(32)));
        let ended = self.connect(&server.connection());
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        let line = server.line("its thumbprint is ");
        line.split_once("its thumbprint is ").unwrap().1.split(',').next().unwrap().to_owned()
    }

    /// A server that dials: its debugger waits already, and has said what to paste.
    fn dial(&mut self, line: &Line) {
        let Some(debugger) = self.waiting.take() else { return self.dial_repeater(line) };
        let mut command = line.command.to_owned();
        if let Some((before, rest)) = command.split_once("THUMBPRINT") {
            let told = debugger.line("CertUser=");
            let thumbprint = told.split_once("CertUser=").unwrap().1;
            let end = thumbprint.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(thumbprint.len());
            command = format!("{before}{}{rest}", &thumbprint[..end]);
        }
        let server = self.run(line.host, &command);
        assert_debugged(&debugger.end(), &mut self.debuggee);
        let ended = server.end();
        assert_eq!(ended.code, Some(0), "{}", ended.text);
    }

    /// A server that dials a repeater, for the debugger of the last line that goes through one.
    fn dial_repeater(&mut self, line: &Line) {
        let debugger = self.through.clone().expect("the line of the debugger stands before");
        let debugger = self.run("birch", &debugger);
        let server = self.run(line.host, line.command);
        assert_debugged(&debugger.end(), &mut self.debuggee);
        assert_eq!(server.end().code, Some(0));
    }

    fn debug(&mut self, line: &Line) {
        let options = |script: &str| line.command.replacen("cdb ", &format!("cdb -c '{script}' "), 1);
        if line.command.contains(" -QR ") {
            return self.query(line);
        }
        let transport = line.transport();
        if transport.contains("clicon=") {
            let debugger = self.run(line.host, &self.filled(&options("r rip; qd")));
            debugger.line("waiting on ");
            self.waiting = Some(debugger);
        } else if line.command.ends_with(" -resume") {
            self.need_plain_server();
            let mut lost = self.run(line.host, &format!("cdb -premote {transport} -p {} -c 'r rip; g'", self.pid()));
            lost.line("rip=");
            lost.child.kill().unwrap();
            let server = &self.server.as_ref().unwrap().1;
            server.line("held for ");
            let ended = self.run(line.host, &options("r rip; qd")).end();
            assert!(ended.code == Some(0) && ended.text.contains("rip="), "{}", ended.text);
            wait_until("it is let go", LIMIT, || tracer(self.debuggee.pid()) == 0);
        } else if line.command.contains("./svc") {
            let ended = self.run(line.host, &self.pasted(&options("g; q"), transport)).end();
            assert!(ended.code == Some(0) && ended.text.contains("\n--once\n"), "{}", ended.text);
        } else {
            if transport.contains("server=alder,port=1025") {
                self.need_plain_server();
            }
            let command = self.pasted(&self.filled(&options("r rip; qd")), transport);
            if transport.contains("server=cedar") {
                self.through = Some(command.clone());
            }
            let ended = self.run(line.host, &command).end();
            if line.command.contains("exec:") {
                let container = self.container.as_ref().expect("it was copied to before");
                assert!(ended.code == Some(0) && ended.text.contains("rip="), "{}", ended.text);
                wait_until("it is let go", LIMIT, || tracer(container.pid()) == 0);
            } else {
                let debuggee = if line.command.contains("nginx") { &mut self.nginx } else { &mut self.debuggee };
                assert_debugged(&ended, debuggee);
            }
        }
    }

    /// The servers of a machine, or of the whole network those that announce themselves.
    fn query(&mut self, line: &Line) {
        self.need_plain_server();
        if line.command.ends_with("'*'") {
            let (command, server) = self.server.take().expect("it was needed");
            drop(server);
            let announced = self.run("alder", &format!("{command} --announce"));
            announced.connection();
            self.beside.push(announced);
        }
        let host = "Servers on \\\\alder:";
        let mut text = String::new();
        wait_until("the server is listed", LIMIT, || {
            let ended = self.run(line.host, line.command).end();
            text = ended.text;
            ended.code == Some(0)
        });
        let mut lines = text.lines().skip_while(|line| !line.starts_with(host.trim_end_matches(':')));
        assert!(lines.next().is_some(), "{text}");
        assert!(lines.next().is_some_and(|line| line.starts_with("Remote Process Server - tcp:Port=1025")), "{text}");
    }

    /// The line with what the server said in place of a string that is shown shortened.
    fn pasted(&self, command: &str, transport: &str) -> String {
        if !transport.contains("...") {
            return command.to_owned();
        }
        let said = self.server.as_ref().expect("a server stands before").1.connection();
        let keys =
            |text: &str| text.split(',').map(|item| item.split('=').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(keys(&said), keys(transport));
        command.replace(transport, &said)
    }

    /// The server that clients name who have the password Sesame, as the README starts it.
    fn need_plain_server(&mut self) {
        let is_plain = |command: &str| command.contains("tcp:port=1025,") && command.contains("password=Sesame");
        if self.server.as_ref().is_some_and(|(command, _)| is_plain(command)) {
            return;
        }
        let sections = sections();
        let line = sections.iter().flatten().find(|line| line.program() == "dbgsrv" && is_plain(line.command));
        self.serve(line.expect("the README starts the server that it connects to"));
    }

    /// A container named web, and what stands for docker.
    fn need_container(&mut self) {
        let source = "#include <unistd.h>\nint program(char **argv) { for (;;) pause(); }";
        let container = Container::start(source, source, false).expect("what made machines makes containers");
        container.bring(&program("dbgsrv"));
        let docker = format!(
            "case $1 in\ncp) cp \"$2\" \"/proc/{pid}/root${{3#web:}}\" ;;\n\
             exec) shift 3; exec nsenter -t {pid} -m -p -u -r -- \"$@\" ;;\nesac",
            pid = container.pid()
        );
        script(&self.folder.path().join("birch/docker"), &docker);
        self.container = Some(container);
    }
}

fn password_of(transport: &str) -> String {
    let Some((_, rest)) = transport.split_once("password=") else { return "Password=*".into() };
    if rest.starts_with("@/") {
        return format!("Password=@{{{SECRET}}}");
    }
    let end = if rest.starts_with("@{") { rest.find('}').unwrap() + 1 } else { rest.find(',').unwrap_or(rest.len()) };
    format!("Password={}", &rest[..end])
}

/// A line that is shown, less what is another one each time.
fn shape(line: &str) -> String {
    let item = |item: &str| match item.split_once('=') {
        Some((key @ ("CertUser" | "process" | "program"), _)) => format!("{key}=..."),
        Some((key @ "Password", value)) if value != "*" => format!("{key}=..."),
        Some((key @ ("Port" | "ssl:Port"), _)) => format!("{key}=..."),
        Some(("address", address)) => format!("address={}", address.split(':').next().unwrap()),
        _ if item.starts_with("20") && item.ends_with('Z') && item.len() == "2026-11-28T16:29:03.120482Z".len() => {
            "time".into()
        }
        _ => item.to_owned(),
    };
    let word = |word: &str| word.split(',').map(item).collect::<Vec<_>>().join(",");
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_lines_of_the_readme_do_what_it_says() {
    let Some(mut town) = Town::start() else { return };
    for section in sections() {
        for line in &section {
            eprintln!("{}$ {}", line.host, line.command);
            town.follow(line);
        }
        assert!(town.waiting.is_none(), "its server has a line of its own");
        town.beside.clear();
    }
    assert!(town.followed >= 18, "{} lines were found", town.followed);
}
