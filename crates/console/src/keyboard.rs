//! The keyboard, lent to the debuggee while it runs on a terminal of its own.
//!
//! Keys go to that terminal as they are typed: it echoes, edits lines and makes signals of them. Only Ctrl+C stays ours
//! and breaks in. At the prompt the keyboard is the line editor's. The window is the debuggee's as well: it is told of
//! another size.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// How often the window's size is looked at while the keyboard is lent. SIGWINCH would tell at once, but its handler is
/// the line editor's, which a process has once.
const WINDOW_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The terminal on standard input.
pub(crate) struct Keyboard {
    to: Arc<Debuggee>,
    lent: Option<Lent>,
}

/// Where the debuggee is told of what happens at the terminal.
struct Debuggee {
    typed: Box<dyn Fn(Vec<u8>) + Send + Sync>,
    resized: Box<dyn Fn((u16, u16)) + Send + Sync>,
    /// The window's columns and rows that it knows.
    size: Mutex<Option<(u16, u16)>>,
}

impl Debuggee {
    fn look_at_window(&self) {
        let now = crate::terminal_size();
        let before = std::mem::replace(&mut *self.size.lock().unwrap_or_else(PoisonError::into_inner), now);
        if let Some(size) = now.filter(|_| now != before) {
            (self.resized)(size);
        }
    }
}

/// The terminal as it was, and the thread that reads it until the pipe is closed.
struct Lent {
    before: Termios,
    stop: OwnedFd,
    reader: JoinHandle<()>,
}

impl Keyboard {
    /// A keyboard that is not lent; `typed` is handed what is typed while it is, `resized` columns and rows of the window
    /// when they have changed.
    pub(crate) fn new(
        typed: impl Fn(Vec<u8>) + Send + Sync + 'static,
        resized: impl Fn((u16, u16)) + Send + Sync + 'static,
    ) -> Keyboard {
        let size = Mutex::new(crate::terminal_size());
        Keyboard { to: Arc::new(Debuggee { typed: Box::new(typed), resized: Box::new(resized), size }), lent: None }
    }

    /// Lends it.
    ///
    /// # Errors
    /// As tcsetattr(3) and pipe(2).
    pub(crate) fn lend(&mut self) -> io::Result<()> {
        if self.lent.is_some() {
            return Ok(());
        }
        let before = tcgetattr(io::stdin())?;
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let to = self.to.clone();
        let reader = thread::Builder::new().name("keyboard".into()).spawn(move || read(&stopped, &to))?;
        self.lent = Some(Lent { before: before.clone(), stop, reader });
        tcsetattr(io::stdin(), OptionalActions::Now, &as_typed(before))?;
        Ok(())
    }

    /// Takes it back: from here on nothing but the caller reads the terminal, which is as it was.
    pub(crate) fn take_back(&mut self) {
        let Some(Lent { before, stop, reader }) = self.lent.take() else { return };
        drop(stop);
        // It cannot panic, and its end is all that is waited for.
        let _ = reader.join();
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Keys one by one, unchanged and not echoed; of the keys that make signals only Ctrl+C (termios(3)).
fn as_typed(mut modes: Termios) -> Termios {
    modes.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
    modes.local_modes |= LocalModes::ISIG;
    modes.input_modes &= !(InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON);
    /// No key (_POSIX_VDISABLE on Linux).
    const NONE: u8 = 0;
    modes.special_codes[SpecialCodeIndex::VQUIT] = NONE;
    modes.special_codes[SpecialCodeIndex::VSUSP] = NONE;
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}

/// Reads until the other end of `stopped` is closed.
fn read(stopped: &OwnedFd, to: &Debuggee) {
    let stdin = io::stdin();
    let mut buffer = [0; 4096];
    loop {
        to.look_at_window();
        let mut ends = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut ends, Some(&WINDOW_INTERVAL)) {
            Ok(0) => continue,
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        if !ends[1].revents().is_empty() {
            return;
        }
        // Not by the buffered handle, which would keep what is the editor's.
        match rustix::io::read(&stdin, &mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => (to.typed)(buffer.get(..count).unwrap_or_default().to_vec()),
        }
    }
}
