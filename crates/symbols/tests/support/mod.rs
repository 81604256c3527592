//! Compiles small programs for the tests and asks other tools about them.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use outpost_symbols::{ElfFile, FileSource, Module, ModuleFiles};

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

/// A module of one image, its index in memory.
pub(crate) fn module(path: &Path) -> Module {
    let image = Arc::new(open(path));
    Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(image) })
}

/// A module of one image, its index kept in `cache`.
pub(crate) fn module_cached(path: &Path, cache: &Path) -> Module {
    let image = Arc::new(open(path));
    Module::new(ModuleFiles { cache: Some(cache.to_owned()), ..ModuleFiles::new(image) })
}

/// What gdb prints for `commands`.
pub(crate) fn gdb(path: &Path, commands: &[String]) -> String {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-ex", "set width 0", "-ex", "set breakpoint pending off"]);
    for line in commands {
        command.args(["-ex", line]);
    }
    let output = command.arg(path).output().unwrap_or_else(|error| panic!("gdb: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where gdb puts a breakpoint for each of `places`.
pub(crate) fn gdb_breakpoints(path: &Path, places: &[String]) -> Vec<BTreeSet<u64>> {
    let each = |place: &String| {
        [format!("break {place}"), "info break".to_owned(), "delete".to_owned(), "echo =next=\\n".to_owned()]
    };
    let commands: Vec<String> = places.iter().flat_map(each).collect();
    let answer = gdb(path, &commands);
    let addresses = |part: &str| {
        let words = part.lines().filter(|line| line.contains(" in ")).flat_map(str::split_whitespace);
        words.filter_map(|word| u64::from_str_radix(word.strip_prefix("0x00000")?, 16).ok()).collect()
    };
    let found: Vec<BTreeSet<u64>> = answer.split("=next=").map(addresses).collect();
    assert_eq!(found.len(), places.len() + 1, "{answer}");
    found[..places.len()].to_vec()
}

/// A program with what C++ makes of names: scopes, templates, overloads, lambdas, anonymous namespaces, statics, TLS.
pub(crate) const CPP: &str = r#"
#include <cstdio>
namespace shapes {
struct Shape { virtual ~Shape() {} virtual int area() const = 0; static int count; };
int Shape::count = 5;
template <class T> struct Box : Shape {
  T width;
  explicit Box(T w) : width(w) {}
  int area() const override { return static_cast<int>(width) * 2; }
};
namespace {
__attribute__((noinline)) int hidden(int x) { return x * 3 + Shape::count; }
}
static inline int small(int a) {
  int doubled = a + a;
  return doubled + Shape::count;
}
}
enum Color { RED, GREEN };
enum class Mode { Fast, Slow };
thread_local int per_thread = 3;
struct Point { int x, y; };
typedef struct { int a; } Anonymous;
int overloaded(int a) { return a + 1; }
int overloaded(double a) { return a + 2; }

int main(int argc, char **argv) {
  static int calls;
  calls++;
  shapes::Box<int> box(argc);
  Point point{argc, 2};
  Anonymous anonymous{3};
  int sum = 0;
  for (int i = 0; i < argc; i++)
    sum += shapes::small(i) + shapes::hidden(i);
  auto lambda = [&](int q) { return q + sum + per_thread; };
  printf("%d %d %d %d\n", sum, box.area(), lambda(3), point.x + anonymous.a + RED + (int)Mode::Slow);
  return overloaded(argc) + overloaded(2.5);
}
"#;

/// The same in Rust: traits, generics, closures, inlining.
pub(crate) const RUST: &str = r#"
use std::collections::HashMap;
use std::fmt;
mod shapes {
    pub trait Area { fn area(&self) -> i32; }
    pub struct Square { pub side: i32 }
    impl Area for Square { fn area(&self) -> i32 { self.side * self.side } }
    impl Square { pub fn new(side: i32) -> Self { Square { side } } }
    #[inline(never)]
    pub fn twice<T: Area>(shape: &T) -> i32 { shape.area() * 2 }
    #[inline(always)]
    pub fn small(x: i32) -> i32 {
        let doubled = x + x;
        doubled ^ COUNT.load(std::sync::atomic::Ordering::SeqCst)
    }
    pub static COUNT: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(5);
}
use shapes::Area;
enum Color { Red, Green(u8) }
impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self { Color::Red => write!(f, "red"), Color::Green(g) => write!(f, "green {g}") }
    }
}
#[inline(never)]
fn compute(n: i32) -> i32 {
    let square = shapes::Square::new(n);
    let mut sum = 0;
    for i in 0..n {
        sum += shapes::small(i) + shapes::twice(&square);
    }
    let add = |x: i32| x + sum;
    add(3) + square.area()
}
fn main() {
    let n = std::env::args().count() as i32;
    let mut map = HashMap::new();
    map.insert("one".to_string(), compute(n));
    println!("{:?} {} {}", map, Color::Green(3), Color::Red);
}
"#;
