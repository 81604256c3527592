//! The device: opened for one process only, raw, at a rate.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::termios::{ControlModes, InputModes, OptionalActions, QueueSelector};

use crate::TransportError;

/// Opens and locks a serial device, without waiting for a carrier, and sets it to 8N1 without flow control.
///
/// # Errors
/// No such device, no permission, no terminal; in use by another program; a rate that it cannot do.
pub(crate) fn open(device: &Path, baud: u32) -> Result<OwnedFd, TransportError> {
    let failed = |what: &str| TransportError::io(format!("{what} {}", device.display()));
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let tty = rustix::fs::open(device, flags, Mode::empty()).map_err(io::Error::from).map_err(failed("open"))?;
    // Other programs that care lock the same way. `TIOCEXCL` would outlive a killed owner of a pseudo-terminal.
    match flock(&tty, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::AGAIN) => {
            return Err(TransportError::LineInUse { device: device.display().to_string() });
        }
        locked => locked.map_err(io::Error::from).map_err(failed("lock"))?,
    }
    let mut modes = rustix::termios::tcgetattr(&tty).map_err(io::Error::from).map_err(failed("use as a terminal"))?;
    // Eight bits without parity is part of it; one stop bit, no flow control and no modem lines are not.
    modes.make_raw();
    modes.input_modes.remove(InputModes::IXON | InputModes::IXOFF);
    modes.control_modes.remove(ControlModes::CSTOPB | ControlModes::CRTSCTS | ControlModes::HUPCL);
    modes.control_modes.insert(ControlModes::CLOCAL | ControlModes::CREAD);
    // Linux takes any rate (termios2, BOTHER); a driver sets the nearest it can do and says which (ioctl_tty(2)).
    modes.set_speed(baud).map_err(io::Error::from).map_err(failed("set the rate of"))?;
    rustix::termios::tcsetattr(&tty, OptionalActions::Now, &modes)
        .map_err(io::Error::from)
        .map_err(failed("set up"))?;
    let rate = rustix::termios::tcgetattr(&tty).map_err(io::Error::from).map_err(failed("set up"))?.output_speed();
    if rate.abs_diff(baud) > baud / 20 {
        return Err(TransportError::Rate { device: device.display().to_string(), baud, nearest: rate });
    }
    // What was said before us is not for us.
    let _ = rustix::termios::tcflush(&tty, QueueSelector::IOFlush);
    Ok(tty)
}
