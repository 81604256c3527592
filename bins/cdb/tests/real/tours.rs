//! Programs stopped at many places, and at each stop every frame of every thread compared with gdb's.
//!
//! gdb runs the program and keeps what it knows and the process, as a core ([`tour.py`](tour.py)). A core is the same for
//! both: nothing moves on between their looks, and one run of gdb, which reads much debug info for long, makes many stops.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use outpost_base::ImageOffset;
use outpost_dump::ElfCore;
use outpost_engine::Engine;
use outpost_symbols::{ElfFile, FileSource, ImageRange, LocalFiles, Module, ModuleFiles, SymbolPath, find_debug_files};

use crate::explained::Tally;
use crate::locals::{Threads, compare_stacks, parse, stop};

/// A program, its work, and how often it is stopped.
pub(crate) struct Tour {
    pub(crate) program: PathBuf,
    /// Its command line less the program, as a shell's: with redirections.
    pub(crate) arguments: String,
    /// Where it starts.
    pub(crate) folder: PathBuf,
    /// Where the places begin that are drawn by chance.
    pub(crate) seed: u64,
    /// Places in its functions that have a trap.
    pub(crate) places: usize,
    /// Of the traps that are hit, one of so many makes a stop that is looked at.
    pub(crate) every: usize,
    /// One of so many stops is wherever the threads are, not at a trap; 0 for none.
    pub(crate) breaks: usize,
    /// For how many seconds it runs before such a stop.
    pub(crate) pause: &'static str,
    /// Stops that are looked at.
    pub(crate) stops: usize,
    /// Seconds that gdb may take for all of it.
    pub(crate) limit: u32,
}

impl Default for Tour {
    fn default() -> Tour {
        Tour {
            program: PathBuf::new(),
            arguments: String::new(),
            folder: PathBuf::new(),
            seed: 42,
            places: 3000,
            every: 8,
            breaks: 4,
            pause: "0.05",
            stops: 10,
            limit: 150,
        }
    }
}

impl Tour {
    /// Runs it to its end, or for so many stops, and compares.
    pub(crate) fn compare(&self) -> Tally {
        let directory = tempfile::tempdir().unwrap();
        let facts = self.ask_gdb(directory.path());
        let mut tally = Tally::default();
        for (number, facts) in facts.split("STOP\t").skip(1).enumerate() {
            let core = PathBuf::from(facts.split(['\t', '\n']).next().unwrap());
            compare_core(&core, &parse(facts), &format!("stop {number}"), &mut tally);
            fs::remove_file(core).unwrap();
            tally.stops += 1;
        }
        tally
    }

    fn ask_gdb(&self, directory: &Path) -> String {
        let places: Vec<String> = self.draw_places().iter().map(u64::to_string).collect();
        fs::write(directory.join("places"), places.join("\n")).unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real");
        let said = fs::File::create(directory.join("said")).unwrap();
        let status = Command::new("timeout")
            .args(["--kill-after=10", &self.limit.to_string(), "gdb", "-nx", "-batch", "-x"])
            .arg(scripts.join("tour.py"))
            .arg(&self.program)
            .current_dir(&self.folder)
            .env("ORACLE_DIRECTORY", directory)
            .env("ORACLE_SCRIPTS", scripts.join("../../../../crates/symbols/tests/oracle"))
            .env("TOUR_FRAMES", scripts.join("frames.py"))
            .env("TOUR_PROGRAM", &self.program)
            .env("TOUR_ARGUMENTS", &self.arguments)
            .env("TOUR_PLACES", directory.join("places"))
            .env("TOUR_STOPS", self.stops.to_string())
            .env("TOUR_EVERY", self.every.to_string())
            .env("TOUR_BREAKS", self.breaks.to_string())
            .env("TOUR_PAUSE", self.pause)
            .stdin(std::process::Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .status()
            .unwrap();
        let facts = fs::read_to_string(directory.join("facts")).unwrap_or_default();
        let said = fs::read(directory.join("said")).unwrap();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(4000)..]).into_owned();
        assert!(facts.ends_with("END\n"), "gdb ended by {status}: {said}");
        facts
    }

    /// Addresses at which a line's code begins, drawn from all code with debug info.
    fn draw_places(&self) -> Vec<u64> {
        let image = ElfFile::parse(FileSource::open(&self.program).unwrap()).unwrap();
        let (found, _) = find_debug_files(&image, Some(&self.program), &SymbolPath::default(), &LocalFiles, None);
        let code: Vec<ImageRange> =
            image.sections().iter().filter(|section| section.executable).map(|section| section.range).collect();
        let image = Arc::new(image);
        let cache = Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/symbols").into());
        let module = Module::new(ModuleFiles { cache, ..found.module_files(image) });
        assert!(module.variables().is_some(), "{} has no debug info", self.program.display());
        let size: u64 = code.iter().map(|range| range.end.0 - range.start.0).sum();
        let mut chance = Chance(self.seed);
        let mut places = Vec::new();
        for _ in 0..self.places * 20 {
            let mut at = chance.below(size);
            let section = code.iter().find(|range| {
                let length = range.end.0 - range.start.0;
                let inside = at < length;
                at -= if inside { 0 } else { length };
                inside
            });
            let at = ImageOffset(section.unwrap().start.0 + at);
            let line = module.function_at(at).and_then(|_| module.line_range_at(at));
            places.extend(line.map(|line| line.start.0).filter(|at| module.function_at(ImageOffset(*at)).is_some()));
            if places.len() >= self.places {
                break;
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// Numbers that look like chance and are the same in every run (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Opens a core and compares all its frames.
fn compare_core(core: &Path, theirs: &Threads, place: &str, tally: &mut Tally) {
    let core = ElfCore::open(core).unwrap();
    let mut engine = Engine::new();
    engine.set_symbol_cache(Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/symbols").into()));
    engine.add_system(Box::new(core)).unwrap();
    stop(&mut engine);
    let process = engine.current_process().unwrap();
    compare_stacks(&mut engine, process, theirs, place, tally);
}
