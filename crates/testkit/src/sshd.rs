//! A real sshd on loopback with keys of its own, and an `ssh` that knows it.

use std::ffi::OsString;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{skip, wait_until};

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd, and a configuration in which it is `alder`. Ends with the value.
///
/// As `birch` it refuses the key, as `cedar` nothing listens.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    place: tempfile::TempDir,
}

impl Sshd {
    /// Starts one and waits until it listens. `None`, and a skip, if the machine has none.
    pub fn start() -> Option<Sshd> {
        if !Path::new(SSHD).exists() {
            skip("there is no sshd");
            return None;
        }
        // Below the system's own place for such, since sshd looks at who may write where a key lies.
        let place = tempfile::tempdir().expect("a directory can be made");
        let path = |name: &str| place.path().join(name).display().to_string();
        let write = |name: &str, text: String| std::fs::write(path(name), text).expect("a file can be written");
        for name in ["host", "key", "stranger"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path(name)]).status();
            assert!(made.expect("ssh-keygen runs").success());
        }
        std::fs::copy(path("key.pub"), path("authorized")).expect("a file can be copied");
        // As root it wants a directory to lock its first half in.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = free_port();
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n",
            path("host"),
            path("authorized"),
        );
        write("sshd_config", server);
        let common = format!(
            "HostName 127.0.0.1\nPort {port}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n\
             StrictHostKeyChecking no\nLogLevel ERROR\n",
            path("known"),
        );
        let client = format!(
            "Host alder\nIdentityFile {}\n{common}\nHost birch\nIdentityFile {}\n{common}\n\
             Host cedar\nPort {}\n{common}",
            path("key"),
            path("stranger"),
            free_port(),
        );
        write("config", client);
        std::fs::create_dir(path("bin")).expect("a directory can be made");
        script(&place.path().join("bin/ssh"), &format!("exec /usr/bin/ssh -F {} \"$@\"", path("config")));
        let mut sshd = Command::new(SSHD);
        sshd.args(["-D", "-e", "-f", &path("sshd_config")]);
        let child = sshd.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("sshd starts");
        let sshd = Sshd { child, place };
        let limit = Duration::from_secs(60);
        wait_until("sshd listens", limit, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(sshd)
    }

    /// A place of this name beside its keys.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// What `PATH` must be for programs whose `ssh` is to know this configuration.
    pub fn search_path(&self) -> OsString {
        let mut all = self.path("bin").into_os_string();
        all.push(":");
        all.push(std::env::var_os("PATH").unwrap_or_default());
        all
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}

/// Writes a shell script that can be run.
pub fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script can be written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, executable).expect("a script can be made executable");
}
