//! `cdb -premote` on a running program, through a `dbgsrv` on loopback.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use outpost_testkit::ProcessServer;

/// No wait takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What `cdb` says to a script on a process of `server`'s machine. `poke` is called once the process has stopped and the
/// script has begun: what it sends is read when the script lets the program run.
///
/// The client's word is waited for, not the kernel's: while a server attaches, it stops a thread, lets it run, and only
/// then breaks in, so that a process seen stopped may still take what it is sent.
pub(crate) fn cdb(server: &ProcessServer, pid: u32, script: &str, poke: impl FnOnce()) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(["-premote", server.connection(), "-p", &pid.to_string(), "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (attached, when_attached) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut output = String::new();
        for line in stdout.split(b'\n').map_while(Result::ok) {
            output += &String::from_utf8_lossy(&line);
            output.push('\n');
            if output.contains("Attached to process") {
                // Nobody waits for it any more after the first time.
                let _ = attached.send(());
            }
        }
        output
    });
    let said = when_attached.recv_timeout(LIMIT);
    if said.is_ok() {
        poke();
    }
    let end = Instant::now() + LIMIT;
    while child.try_wait().unwrap().is_none() && Instant::now() < end && said.is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Past the limit it is ended, and what it said so far is the message.
    drop(child.kill());
    let status = child.wait().unwrap();
    let output = reading.join().unwrap();
    assert!(status.success(), "{output}");
    output
}
