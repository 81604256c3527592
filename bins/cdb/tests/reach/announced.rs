//! `-QR *`: servers that say that they are there, on a network of two namespaces (network_namespaces(7)).

use std::process::{Command, Stdio};

use outpost_testkit::{skip, wait_until};

use crate::support::{CONFIG, Ended, LIMIT, Program, dbgsrv};

/// Two machines on one network, as far as programs can tell; gone with the value.
struct Network {
    names: [String; 2],
}

/// The address of the first machine.
const FIRST: &str = "10.77.31.1";

fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Network {
    /// `None`: this user may not make one, or the kernel cannot.
    fn make() -> Option<Network> {
        let names = ["a", "b"].map(|end| format!("outpost-{}{end}", std::process::id()));
        let network = Network { names };
        let [first, second] = &network.names;
        let steps = [
            format!("netns add {first}"),
            format!("netns add {second}"),
            format!("link add near netns {first} type veth peer name near netns {second}"),
            format!("-n {first} address add {FIRST}/24 dev near"),
            format!("-n {second} address add 10.77.31.2/24 dev near"),
            format!("-n {first} link set near up"),
            format!("-n {second} link set near up"),
        ];
        steps.iter().all(|step| ip(step)).then_some(network)
    }

    /// A program on one of the machines.
    fn start(&self, machine: usize, program: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[machine], program]).args(arguments);
        Program::start(command.env("XDG_CONFIG_HOME", CONFIG))
    }

    fn server(&self, arguments: &[&str]) -> Program {
        self.start(0, dbgsrv().to_str().unwrap(), arguments)
    }

    fn query(&self, host: &str) -> Ended {
        self.start(1, env!("CARGO_BIN_EXE_cdb"), &["-QR", host]).end()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made cannot be deleted, and need not be.
        for name in &self.names {
            ip(&format!("netns delete {name}"));
        }
    }
}

#[test]
fn servers_that_announce_themselves_are_found_on_the_network_and_no_others() {
    let Some(network) = Network::make() else { return skip("no network namespaces can be made here") };
    let announced = network.server(&["--announce", "-t", "ssl:port=0,password=Xy12secret"]);
    let silent = network.server(&["-t", "ssl:port=0"]);
    let hidden = network.server(&["-t", "tcp:port=0,bind=*,password=x,hidden"]);
    let line = announced.line("connect with: cdb -premote");
    let row = format!("Remote Process Server - {}", line.split(' ').nth(5).unwrap());
    let mut found = String::new();
    // A network that has just come up loses what is said at first.
    wait_until("it is found", LIMIT, || {
        let ended = network.query("*");
        found = ended.text;
        ended.code == Some(0)
    });
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(found, format!("Servers on \\\\{host}:\n{row}"), "as it is to be pasted, and nobody else");
    assert!(row.contains(&format!(",Server={FIRST},CertUser=")) && row.ends_with(",Password=*"), "{row}");

    // Where the usual port does not answer, a machine is found by what it says of itself.
    assert_eq!(network.query(FIRST).text, found);
    let other = network.query("10.77.31.2");
    assert!(other.code == Some(1) && other.text.contains("are not known: cannot connect"), "{other:?}");
    // Through one of its ports it lists what is not announced, too.
    let listed = network.query(&format!("{FIRST}:{}", silent.port())).text;
    assert!(listed.contains(&format!("ssl:Port={},", silent.port())), "{listed}");
    assert!(!listed.contains(&format!("Port={},", hidden.port())), "{listed}");

    // However it ends, it is not announced any more.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", announced.pid())).unwrap();
    let folders: Vec<String> = children.split_whitespace().map(|child| format!("/proc/{child}")).collect();
    let announces = |folder: &&String| {
        std::fs::read_to_string(format!("{folder}/cmdline")).unwrap().contains("--outpost-announcer")
    };
    assert_eq!(folders.iter().filter(announces).count(), 1, "it says so by one process, {folders:?}");
    announced.signal("KILL");
    announced.end();
    wait_until("what it started is gone", LIMIT, || {
        folders.iter().all(|folder| !std::path::Path::new(folder).exists())
    });
    let ended = network.query("*");
    assert!(ended.code == Some(1) && ended.text.contains("dbgsrv --announce"), "{ended:?}");
    assert!(!ended.text.contains("Servers on"), "{ended:?}");
}
