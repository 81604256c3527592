//! The log file: everything that is typed and shown.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

use crate::cmd::output_mask::OutputMask;
use crate::{CommandError, Output, OutputKind};

/// An open log.
pub(crate) struct Log {
    file: File,
    pub(crate) path: String,
    /// A write failed, which was told once.
    failed: bool,
}

impl Log {
    pub(crate) fn open(path: &str, append: bool) -> Result<Log, CommandError> {
        let failed = |error: std::io::Error| CommandError::File { path: path.to_owned(), reason: error.to_string() };
        let mut options = File::options();
        let options = options.create(true).write(true).append(append).truncate(!append);
        let file = options.open(Path::new(path)).map_err(failed)?;
        Ok(Log { file, path: path.to_owned(), failed: false })
    }

    pub(crate) fn write(&mut self, text: &str) {
        if self.file.write_all(text.as_bytes()).is_err() {
            self.failed = true;
        }
    }
}

/// Output that goes to the user and to the log.
pub(crate) struct Tee<'a> {
    pub(crate) out: &'a mut dyn Output,
    pub(crate) log: Rc<RefCell<Option<Log>>>,
    pub(crate) mask: OutputMask,
}

impl Output for Tee<'_> {
    fn write(&mut self, kind: OutputKind, text: &str) {
        if let Some(log) = self.log.borrow_mut().as_mut().filter(|_| self.mask.logs(kind)) {
            let failed_before = log.failed;
            log.write(text);
            if log.failed && !failed_before {
                let path = &log.path;
                self.out.write(OutputKind::Warning, &format!("The log {path} cannot be written\n"));
            }
        }
        if self.mask.shows(kind) {
            self.out.write(kind, text);
        }
    }

    fn flush(&mut self) {
        self.out.flush();
    }
}
