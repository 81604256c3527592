//! Debuggees compiled on demand and kept, so that a second run of the tests compiles nothing.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A compiler that tests run debuggees through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compiler {
    /// `gcc`.
    Gcc,
    /// `g++`.
    Gxx,
    /// `clang`.
    Clang,
    /// `clang++`.
    Clangxx,
    /// `rustc`, edition 2024.
    Rustc,
    /// `musl-gcc`: gcc with musl for its C library.
    MuslGcc,
}

/// A program to build: a source and how.
#[derive(Debug, Clone, Hash)]
pub struct Build {
    compiler: Compiler,
    source: String,
    name: String,
    flags: Vec<String>,
}

/// A file of `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

impl Build {
    /// A program made from a file of `fixtures/`; the compiler follows from the name's end.
    pub fn fixture(file: &str) -> Build {
        let path = fixture(file);
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (stem, extension) = file.rsplit_once('.').expect("a fixture's name has an extension");
        let stem = stem.rsplit('/').next().unwrap_or(stem);
        let compiler = match extension {
            "c" => Compiler::Gcc,
            "cpp" => Compiler::Gxx,
            "rs" => Compiler::Rustc,
            other => panic!("no compiler for .{other}"),
        };
        Build { compiler, source, name: stem.into(), flags: Vec::new() }
    }

    /// A program made from text.
    pub fn source(compiler: Compiler, name: &str, source: &str) -> Build {
        Build { compiler, source: source.into(), name: name.into(), flags: Vec::new() }
    }

    /// Uses another compiler of the same language.
    pub fn with(mut self, compiler: Compiler) -> Build {
        self.compiler = compiler;
        self
    }

    /// Adds flags, separated by blanks.
    pub fn flags(mut self, flags: &str) -> Build {
        self.flags.extend(flags.split_whitespace().map(String::from));
        self
    }

    /// The program's path; compiled unless the same source was compiled the same way before.
    pub fn path(&self) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let folder = cache_folder().join(format!("{:016x}", hasher.finish()));
        let program = folder.join(&self.name);
        fs::create_dir_all(&folder).expect("the cache folder can be made");
        // One at a time: a program that another process is already running must not be replaced by an equal one.
        let lock = File::create(folder.join("lock")).expect("the cache folder can be written");
        lock.lock().expect("the cache folder can be locked");
        if !program.exists() {
            self.compile(&folder, &program);
        }
        program
    }

    fn compile(&self, folder: &Path, program: &Path) {
        let (command, extension, fixed): (_, _, &[&str]) = match self.compiler {
            Compiler::Gcc => ("gcc", "c", &["-pthread"]),
            Compiler::Gxx => ("g++", "cpp", &["-pthread"]),
            Compiler::Clang => ("clang", "c", &["-pthread"]),
            Compiler::Clangxx => ("clang++", "cpp", &["-pthread"]),
            Compiler::Rustc => ("rustc", "rs", &["--edition=2024"]),
            Compiler::MuslGcc => ("musl-gcc", "c", &[]),
        };
        // The source keeps its name, since debug info tells it; an interrupted compiler must not leave half a program.
        // Named from within its folder: a panic's or an assertion's text has the path in it, and the addresses of all
        // data after it would hang on where the tree lies.
        let source = format!("{}.{extension}", self.name);
        fs::write(folder.join(&source), &self.source).expect("the source can be written");
        let unfinished = format!("{}.unfinished", self.name);
        let output = Command::new(command)
            .current_dir(folder)
            .args(fixed)
            .args(&self.flags)
            .arg(&source)
            .arg("-o")
            .arg(&unfinished)
            .output()
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        fs::rename(folder.join(&unfinished), program).expect("the program can be moved in place");
    }
}

fn cache_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debuggees")
}
