//! `.writemem`, `.readmem`: memory into a file of the debugger's machine, and out of one.

use std::fs::File;
use std::io::{Read, Write};

use outpost_base::VaRange;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".writemem"],
        syntax: ".writemem File Range",
        summary: "Write memory to a file",
        details: "The bytes as they are, on the debugger's machine; breakpoints are not in them. An unreadable page ends it: \
                  the file then holds what lies before.",
        example: ".writemem /tmp/stack.bin @rsp L?1000",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<WriteMemory>,
    },
    CommandEntry {
        names: &[".readmem"],
        syntax: ".readmem File Range",
        summary: "Read memory from a file",
        details: "As many bytes as the range has, which the file must hold.",
        example: ".readmem /tmp/stack.bin @rsp L?1000",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<ReadMemory>,
    },
];

/// What is written at a time: enough to fill a link with a long way, little enough to be interrupted soon.
const PIECE: u64 = 16 << 20;

/// Writes memory to a file.
#[derive(Debug, Clone)]
pub struct WriteMemory(FileRange);

/// Reads memory from a file.
#[derive(Debug, Clone)]
pub struct ReadMemory(FileRange);

#[derive(Debug, Clone)]
struct FileRange {
    path: String,
    range: VaRange,
}

impl FileRange {
    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<FileRange, CommandError> {
        let path = match arguments.quoted() {
            Some(path) => path,
            None => arguments.word().ok_or_else(|| arguments.usage("the file is missing"))?.to_owned(),
        };
        if arguments.is_empty() {
            return Err(arguments.usage("the range is missing"));
        }
        let range = arguments.range(debugger, 1, 128)?;
        Ok(FileRange { path, range: VaRange::from_len(range.start, range.len) })
    }

    fn failed(&self, error: &std::io::Error) -> CommandError {
        CommandError::File { path: self.path.clone(), reason: error.to_string() }
    }

    /// The range in pieces.
    fn pieces(&self) -> impl Iterator<Item = VaRange> + use<> {
        let range = self.range;
        let starts = (0..range.len().div_ceil(PIECE)).map(move |number| range.start + number * PIECE);
        starts.map(move |start| VaRange::from_len(start, PIECE.min(range.end - start)))
    }
}

impl Command for WriteMemory {
    type Data = u64;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<WriteMemory, CommandError> {
        FileRange::parse(arguments, debugger).map(WriteMemory)
    }

    fn run(self, debugger: &mut Debugger) -> Result<u64, CommandError> {
        let memory = debugger.engine.memory()?;
        let mut file = File::create(&self.0.path).map_err(|error| self.0.failed(&error))?;
        let mut result: Result<(), CommandError> = Ok(());
        let mut take = |bytes: &[u8]| {
            result = debugger.engine.check_interrupt().map_err(CommandError::from);
            if result.is_ok() {
                result = file.write_all(bytes).map_err(|error| self.0.failed(&error));
            }
            result.is_ok()
        };
        let range = self.0.range;
        let done = memory.read_stream(range, &mut take)?;
        result?;
        if done < range.len() {
            return Err(outpost_engine::EngineError::Unreadable { at: range.start + done }.into());
        }
        Ok(done)
    }

    fn render(len: &u64, text: &mut String) {
        line!(text, "Wrote {len:x} bytes");
    }
}

impl Command for ReadMemory {
    type Data = u64;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ReadMemory, CommandError> {
        FileRange::parse(arguments, debugger).map(ReadMemory)
    }

    fn run(self, debugger: &mut Debugger) -> Result<u64, CommandError> {
        let memory = debugger.engine.memory()?;
        let mut file = File::open(&self.0.path).map_err(|error| self.0.failed(&error))?;
        let held = file.metadata().map_err(|error| self.0.failed(&error))?.len();
        if held < self.0.range.len() {
            let (path, wanted) = (&self.0.path, self.0.range.len());
            let reason = format!("{path} holds {held:x} bytes, the range {wanted:x}; nothing was changed");
            return Err(CommandError::invalid(reason));
        }
        for piece in self.0.pieces() {
            debugger.engine.check_interrupt()?;
            let mut bytes = vec![0; piece.len() as usize];
            file.read_exact(&mut bytes).map_err(|error| self.0.failed(&error))?;
            memory.write(piece.start, &bytes)?;
        }
        Ok(self.0.range.len())
    }

    fn render(len: &u64, text: &mut String) {
        line!(text, "Read {len:x} bytes");
    }
}
