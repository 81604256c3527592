//! The log file: everything that is typed and shown (`.logopen`).

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use crate::{Output, OutputKind};

/// At most one log is open.
#[derive(Debug, Default)]
pub(crate) struct Log {
    file: Option<(PathBuf, File)>,
}

impl Log {
    /// Opens `path`, closing what was open; gives the path that was closed.
    pub(crate) fn open(&mut self, path: PathBuf, append: bool) -> std::io::Result<Option<PathBuf>> {
        let file = File::options().create(true).write(true).append(append).truncate(!append).open(&path)?;
        Ok(self.file.replace((path, file)).map(|(closed, _)| closed))
    }

    /// Closes the log; gives its path.
    pub(crate) fn close(&mut self) -> Option<PathBuf> {
        self.file.take().map(|(path, _)| path)
    }

    /// The open log's path.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        self.file.as_ref().map(|(path, _)| path)
    }

    /// Appends text. A log that cannot be written any more is closed, and the error comes back once.
    pub(crate) fn write(&mut self, text: &str) -> Option<(PathBuf, std::io::Error)> {
        let (_, file) = self.file.as_mut()?;
        let error = file.write_all(text.as_bytes()).err()?;
        self.file.take().map(|(path, _)| (path, error))
    }
}

/// An output that is logged, too. The log is borrowed for each piece only, so commands may open and close it meanwhile.
pub(crate) struct Logged<'a> {
    pub(crate) inner: &'a mut dyn Output,
    pub(crate) log: std::rc::Rc<std::cell::RefCell<Log>>,
}

impl Output for Logged<'_> {
    fn write(&mut self, kind: OutputKind, text: &str) {
        self.inner.write(kind, text);
        if let Some((path, error)) = self.log.borrow_mut().write(text) {
            self.inner.write(OutputKind::Warning, &format!("log {} is closed: {error}\n", path.display()));
        }
    }

    fn ask(&mut self, prompt: &str) -> Option<String> {
        let answer = self.inner.ask(prompt)?;
        drop(self.log.borrow_mut().write(&format!("{prompt}{answer}\n")));
        Some(answer)
    }

    fn progress(&mut self, what: &str, done: Option<(u64, u64)>) {
        self.inner.progress(what, done);
    }
}
