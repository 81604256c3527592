//! Machines of a network of their own, made of namespaces: what says how to reach another machine can be followed on them.

use std::fs;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Running, skip};

/// Machines on one wire. Each has a name, an address, names for the others, and runtime and log folders of its own; all
/// else is this machine's. Ends with the value.
#[derive(Debug)]
pub struct Lan {
    hosts: Vec<(String, Running)>,
    /// Holds what each finds as `/etc/hosts`.
    _folder: TempDir,
}

impl Lan {
    /// Starts machines of these names and IPv4 addresses, of one network of 256; `None`, and a skip, where that cannot be.
    pub fn start(hosts: &[(&str, &str)]) -> Option<Lan> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names: String = hosts.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        let file = folder.path().join("hosts");
        fs::write(&file, format!("127.0.0.1 localhost\n{names}")).expect("the folder is ours");
        let mut started: Vec<(String, Running)> = Vec::new();
        for (name, _) in hosts {
            // The sleep outlives nobody: it is the process that stands for the machine.
            let script = format!(
                "mount -t tmpfs run /run && mount -t tmpfs log /var/log && mount --bind {} /etc/hosts && \
                 hostname {name} && ip link set lo up && echo up && exec sleep 100000",
                file.display()
            );
            let mut command = Command::new("unshare");
            command.args(["--net", "--mount", "--uts", "sh", "-c", &script]).stderr(Stdio::null());
            let mut running = Running::command(&mut command);
            if running.line() != "up" {
                skip("no network of its own can be made here (unshare --net --mount, and ip of iproute2)");
                return None;
            }
            started.push(((*name).to_owned(), running));
        }
        let lan = Lan { hosts: started, _folder: folder };
        lan.join(hosts).then_some(lan)
    }

    /// Lays the wire: a bridge at the first, to which all others are joined.
    fn join(&self, hosts: &[(&str, &str)]) -> bool {
        let (first, _) = hosts[0];
        let mut steps = vec![(first, "ip link add eth0 type bridge".to_owned())];
        for (at, (name, _)) in hosts.iter().enumerate().skip(1) {
            let to = self.pid(name);
            steps.push((first, format!("ip link add to{at} type veth peer name eth0 netns {to}")));
            steps.push((first, format!("ip link set to{at} master eth0 up")));
        }
        for (name, address) in hosts {
            steps.push((name, format!("ip addr add {address}/24 dev eth0")));
            steps.push((name, "ip link set eth0 up".to_owned()));
        }
        for (host, step) in &steps {
            let output = self.sh(host, step).output().expect("nsenter is installed");
            if !output.status.success() {
                skip(&format!("{step}: {}", String::from_utf8_lossy(&output.stderr).trim()));
                return false;
            }
        }
        true
    }

    fn pid(&self, host: &str) -> u32 {
        let found = self.hosts.iter().find(|(name, _)| name == host);
        found.unwrap_or_else(|| panic!("there is no {host}")).1.pid()
    }

    /// A line of shell on one of them. The shell becomes what the line names, if it ends with one program.
    pub fn sh(&self, host: &str, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid(host).to_string(), "-n", "-m", "-u", "sh", "-c", line]).stdin(Stdio::null());
        command
    }
}
