//! A serial line: two pseudo-terminals, joined by a thread that loses, garbles and inserts bytes.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Two terminals, each the other end of the other. Ends with the value.
#[derive(Debug)]
pub struct SerialLine {
    devices: [String; 2],
    cut: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
    /// Held open, since a terminal that nobody has open hangs up.
    _terminals: [OwnedFd; 2],
}

impl SerialLine {
    /// Starts a line on which `noise` of 1,000 bytes suffer: half are garbled, the others lost or followed by a stray one.
    pub fn start(noise: u32) -> std::io::Result<SerialLine> {
        let (first, second) = (terminal()?, terminal()?);
        let cut = Arc::new(AtomicBool::new(false));
        let (masters, is_cut) = ([first.0, second.0], Arc::clone(&cut));
        let carrier = Some(std::thread::spawn(move || carry(&masters, noise, &is_cut)));
        Ok(SerialLine { devices: [first.2, second.2], cut, carrier, _terminals: [first.1, second.1] })
    }

    /// The device at one end, 0 or 1.
    pub fn device(&self, end: usize) -> &str {
        &self.devices[end]
    }

    /// Takes the devices away, as when an adapter is pulled out.
    pub fn cut(&mut self) {
        self.cut.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            drop(carrier.join());
        }
    }
}

impl Drop for SerialLine {
    fn drop(&mut self) {
        self.cut();
    }
}

/// A terminal that says nothing of its own accord, and its name.
fn terminal() -> std::io::Result<(OwnedFd, OwnedFd, String)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
    let terminal = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut modes = tcgetattr(&terminal)?;
    modes.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    Ok((master, terminal, name))
}

fn carry(masters: &[OwnedFd; 2], noise: u32, is_cut: &AtomicBool) {
    // A fixed sequence (xorshift64), so that a failure is likelier to come again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % u64::from(below)) as u32
    };
    let mut buffer = [0; 4096];
    while !is_cut.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(&masters[0], PollFlags::IN), PollFd::new(&masters[1], PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 }));
        for (from, to) in [(0, 1), (1, 0)] {
            let Ok(count) = rustix::io::read(&masters[from], &mut buffer) else { continue };
            let mut carried = Vec::with_capacity(2 * count);
            for &byte in &buffer[..count] {
                match (random(1000) < noise).then(|| random(4)) {
                    None => carried.push(byte),
                    Some(0) => {}
                    Some(1) => carried.extend([byte, random(256) as u8]),
                    Some(_) => carried.push(byte ^ (1 << random(8))),
                }
            }
            // What nobody takes is lost, as on a line.
            let _ = rustix::io::write(&masters[to], &carried);
        }
    }
}
