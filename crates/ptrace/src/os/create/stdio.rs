//! Standard streams of new processes: pipes and terminals whose other end the server holds, or files.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use outpost_base::ProcessId;
use outpost_target::{Output, OutputStream, StdioSpec, TargetError};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{os_error, words};
use crate::sys::spawn::ChildSession;

/// How much of a stream is read at a time.
const READ_PIECE: usize = 64 << 10;
/// Input that waits for a process to read it.
const MAX_PENDING_INPUT: usize = 1 << 20;
/// What ends the input on a terminal (VEOF, Ctrl+D).
const END_OF_INPUT: u8 = 4;

/// The server's ends of one process's standard streams; none for files and for the server's own terminal.
#[derive(Debug, Default)]
pub struct Streams {
    input: Option<Input>,
    output: Option<File>,
    error: Option<File>,
}

#[derive(Debug)]
struct Input {
    file: File,
    is_terminal: bool,
    /// Bytes that did not fit yet.
    pending: Vec<u8>,
    /// Close when those are written.
    closing: bool,
}

/// Both sides of a new process's streams.
#[derive(Debug)]
pub(super) struct Stdio {
    /// Ends for the child; `None`: those of the server.
    pub(super) child: Option<[OwnedFd; 3]>,
    pub(super) streams: Streams,
    pub(super) session: ChildSession,
}

/// Opens what `spec` asks for; relative names of files count from `directory`.
pub(super) fn open(spec: &StdioSpec, directory: Option<&str>) -> Result<Stdio, TargetError> {
    match spec {
        StdioSpec::Client => pipes(),
        StdioSpec::Server => Ok(Stdio { child: None, streams: Streams::default(), session: ChildSession::Shared }),
        StdioSpec::Pty { columns, rows } => terminal(*columns, *rows),
        StdioSpec::Files { stdin, stdout, stderr } => {
            files(stdin.as_ref(), stdout.as_ref(), stderr.as_ref(), directory)
        }
    }
}

/// A descriptor whose number is not one that the child gives to its standard streams.
pub(super) fn above_standard(descriptor: OwnedFd) -> Result<OwnedFd, TargetError> {
    rustix::io::fcntl_dupfd_cloexec(&descriptor, 3).map_err(|errno| os_error("dup", errno))
}

fn pipes() -> Result<Stdio, TargetError> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|errno| os_error("pipe", errno));
    let ((input, input_writer), (output, output_writer), (error, error_writer)) = (pipe()?, pipe()?, pipe()?);
    let input_writer = Input::new(input_writer, false)?;
    Ok(Stdio {
        child: Some([above_standard(input)?, above_standard(output_writer)?, above_standard(error_writer)?]),
        streams: Streams { input: Some(input_writer), output: Some(ours(output)?), error: Some(ours(error)?) },
        session: ChildSession::OwnGroup,
    })
}

fn terminal(columns: u16, rows: u16) -> Result<Stdio, TargetError> {
    let failed = |errno: rustix::io::Errno| os_error("open a pty", errno);
    let leader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(failed)?;
    grantpt(&leader).map_err(failed)?;
    unlockpt(&leader).map_err(failed)?;
    let name = ptsname(&leader, Vec::new()).map_err(failed)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let follower = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).map_err(failed)?;
    tcsetwinsize(&leader, window_size(columns, rows)).map_err(failed)?;
    let copy = |descriptor: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(failed);
    Ok(Stdio {
        child: Some([copy(&follower)?, copy(&follower)?, copy(&follower)?]),
        streams: Streams { input: Some(Input::new(copy(&leader)?, true)?), output: Some(ours(leader)?), error: None },
        session: ChildSession::OwnTerminal,
    })
}

fn window_size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn files(
    stdin: Option<&String>,
    stdout: Option<&String>,
    stderr: Option<&String>,
    directory: Option<&str>,
) -> Result<Stdio, TargetError> {
    let path = |name: Option<&String>| -> PathBuf {
        name.map_or_else(|| "/dev/null".into(), |name| Path::new(directory.unwrap_or("")).join(name))
    };
    let opened = |options: &OpenOptions, path: &Path| -> Result<OwnedFd, TargetError> {
        let file = options.open(path);
        let file =
            file.map_err(|error| TargetError::File { path: path.display().to_string(), reason: words(&error) })?;
        above_standard(file.into())
    };
    let mut write = OpenOptions::new();
    write.write(true).create(true).truncate(true);
    let input = opened(OpenOptions::new().read(true), &path(stdin))?;
    let output = opened(&write, &path(stdout))?;
    // Both in one file: one open file, so that neither overwrites the other.
    let error = match stderr.is_some() && stderr == stdout {
        true => rustix::io::fcntl_dupfd_cloexec(&output, 3).map_err(|errno| os_error("dup", errno))?,
        false => opened(&write, &path(stderr))?,
    };
    Ok(Stdio { child: Some([input, output, error]), streams: Streams::default(), session: ChildSession::OwnGroup })
}

/// The server's end of a stream, which must never block it.
fn ours(descriptor: OwnedFd) -> Result<File, TargetError> {
    let failed = |errno: rustix::io::Errno| os_error("fcntl", errno);
    fcntl_setfl(&descriptor, fcntl_getfl(&descriptor).map_err(failed)? | OFlags::NONBLOCK).map_err(failed)?;
    Ok(File::from(descriptor))
}

impl Input {
    fn new(descriptor: OwnedFd, is_terminal: bool) -> Result<Input, TargetError> {
        Ok(Input { file: ours(descriptor)?, is_terminal, pending: Vec::new(), closing: false })
    }

    /// Writes what fits; `false` when the input is done for.
    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return false,
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // The process closed its end.
                Err(_) => return false,
            }
        }
        !self.closing
    }
}

/// The streams of all processes a session created.
#[derive(Debug, Default)]
pub struct StdioTable {
    streams: HashMap<ProcessId, Streams>,
}

impl StdioTable {
    /// Takes charge of a new process's streams.
    pub fn insert(&mut self, process: ProcessId, streams: Streams) {
        if streams.input.is_some() || streams.output.is_some() || streams.error.is_some() {
            self.streams.insert(process, streams);
        }
    }

    /// What to poll: readable means [`StdioTable::read_output`], writable [`StdioTable::flush_input`].
    pub fn descriptors(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let mut descriptors = Vec::new();
        for streams in self.streams.values() {
            let outputs = [&streams.output, &streams.error].into_iter().flatten();
            descriptors.extend(outputs.map(|file| (file.as_fd(), PollFlags::IN)));
            let waiting = streams.input.iter().filter(|input| !input.pending.is_empty());
            descriptors.extend(waiting.map(|input| (input.file.as_fd(), PollFlags::OUT)));
        }
        descriptors
    }

    /// What the processes have written since the last call: at most 64 KiB of each stream, and never waits.
    pub fn read_output(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        for (&process, streams) in &mut self.streams {
            for (file, stream) in
                [(&mut streams.output, OutputStream::Stdout), (&mut streams.error, OutputStream::Stderr)]
            {
                if let Some(bytes) = read_piece(file) {
                    outputs.push(Output { process, stream, bytes });
                }
            }
        }
        self.drop_finished();
        outputs
    }

    /// Sends bytes to a process's input; none closes it. What does not fit at once waits.
    ///
    /// # Errors
    /// [`TargetError::Invalid`] if the process has no input here, or does not read and 1 MiB waits already.
    pub fn write_input(&mut self, process: ProcessId, bytes: &[u8]) -> Result<(), TargetError> {
        let input = self.streams.get_mut(&process).and_then(|streams| streams.input.as_mut());
        let Some(input) = input.filter(|input| !input.closing) else {
            return Err(TargetError::Invalid { reason: format!("process {process} has no standard input here") });
        };
        if input.pending.len().saturating_add(bytes.len()) > MAX_PENDING_INPUT {
            return Err(TargetError::Invalid { reason: format!("process {process} does not read its standard input") });
        }
        match (bytes.is_empty(), input.is_terminal) {
            // The terminal stays; the program is told that the input ended.
            (true, true) => input.pending.push(END_OF_INPUT),
            (true, false) => input.closing = true,
            (false, _) => input.pending.extend_from_slice(bytes),
        }
        self.flush_input();
        Ok(())
    }

    /// Gives the window of a process's terminal another size, of which the kernel tells those in its foreground.
    ///
    /// # Errors
    /// [`TargetError::Invalid`] if the process has no terminal here.
    pub fn resize(&mut self, process: ProcessId, columns: u16, rows: u16) -> Result<(), TargetError> {
        let input = self.streams.get(&process).and_then(|streams| streams.input.as_ref());
        let Some(terminal) = input.filter(|input| input.is_terminal) else {
            return Err(TargetError::Invalid { reason: format!("process {process} has no terminal here") });
        };
        tcsetwinsize(&terminal.file, window_size(columns, rows)).map_err(|errno| os_error("resize a terminal", errno))
    }

    /// Writes input that waited, as far as it fits now.
    pub fn flush_input(&mut self) {
        for streams in self.streams.values_mut() {
            if streams.input.as_mut().is_some_and(|input| !input.flush()) {
                streams.input = None;
            }
        }
    }

    /// The process ended: nobody reads its input any more. Output may still come, from its children, too.
    pub fn process_ended(&mut self, process: ProcessId) {
        if let Some(streams) = self.streams.get_mut(&process) {
            streams.input = None;
        }
        self.drop_finished();
    }

    /// The process is no business of the session any more.
    pub fn forget(&mut self, process: ProcessId) {
        self.streams.remove(&process);
    }

    fn drop_finished(&mut self) {
        self.streams
            .retain(|_, streams| streams.output.is_some() || streams.error.is_some() || streams.input.is_some());
    }
}

/// Reads what is there; takes the file away at its end.
fn read_piece(slot: &mut Option<File>) -> Option<Vec<u8>> {
    let file = slot.as_mut()?;
    let mut bytes = vec![0; READ_PIECE];
    loop {
        match file.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => {
                bytes.truncate(count);
                return Some(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            // EIO: the last process that had the terminal open is gone.
            Err(_) => break,
        }
    }
    *slot = None;
    None
}
