//! Compiles small programs for the tests and asks other tools about them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use outpost_symbols::{ElfFile, FileSource};

/// A directory with one compiled program in it, removed at the end.
pub(crate) struct Built {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Built {
    /// Opens the program.
    pub(crate) fn elf(&self) -> ElfFile {
        open(&self.path)
    }
}

/// Opens any file as ELF.
pub(crate) fn open(path: &Path) -> ElfFile {
    ElfFile::parse(FileSource::open(path).expect("opens")).expect("is ELF")
}

/// Compiles `source`, saved as `file_name`, by `command` (compiler and options, split at spaces).
pub(crate) fn build(command: &str, file_name: &str, source: &str) -> Arc<Built> {
    let dir = tempfile::tempdir().expect("temporary directory");
    std::fs::write(dir.path().join(file_name), source).expect("source is written");
    let path = dir.path().join("program");
    run_in(dir.path(), &format!("{command} -o program {file_name}"));
    Arc::new(Built { dir, path })
}

/// Runs a command line, split at spaces, and returns what it printed; fails if it fails.
pub(crate) fn run_in(dir: &Path, command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
