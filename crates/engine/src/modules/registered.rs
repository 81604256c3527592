//! Code that a program makes at run time and tells debuggers of, by the interface that gdb has for JIT compilers.
//!
//! The program keeps a list of object files in its memory, headed by `__jit_debug_descriptor`; each becomes a module. The
//! list is read when somebody asks for names or stands in code of no module, and again at each stop once there is one; the
//! next stop brings along what was read. While a breakpoint waits for its place, a hidden one at
//! `__jit_debug_register_code`, which programs call for every change, has it read at once.
//!
//! Compilers tell of code before they have filled its addresses in (LLVM's does). Code that may not be executed yet is left
//! alone, since a breakpoint there would keep what it displaces as it was; mprotect(2) tells when it is done.
//!
//! Source: Debugging with GDB, "JIT Compilation Interface" (`struct jit_descriptor`, `struct jit_code_entry`).

use std::rc::Rc;

use outpost_base::{LoadBias, MemoryReader, Va, VaRange};
use outpost_symbols::{CaseRule, ElfFile, MemorySource, ModuleFiles, SplitFiles, place_object};
use outpost_target::{ModuleInfo, StopReason};

use super::list::Module;
use crate::breakpoints::{BreakpointPlace, BreakpointRequest};
use crate::symbols::ModuleSymbols;
use crate::{BreakpointNumber, Engine, ProcessOrdinal, Stop, SystemOrdinal};

const DESCRIPTOR: &str = "__jit_debug_descriptor";
const REGISTER: &str = "__jit_debug_register_code";
/// Code of the event that the hidden breakpoint makes; no filter has it.
pub(crate) const EVENT: &str = "jit";
/// Numbers of hidden breakpoints, one for each process; those of other events are counted up from far below.
const HIDDEN: u32 = u32::MAX - (1 << 16);
/// Number of mprotect(2) on x86-64.
pub(crate) const MPROTECT: u64 = 10;
/// The one version there is.
const VERSION: u32 = 1;
/// Entries of a list that are looked at, so that one that runs in a circle ends.
const MAX_ENTRIES: usize = 4096;
/// Largest object file, and all that are read at once.
const MAX_OBJECT: u64 = 64 << 20;
const MAX_READ: u64 = 256 << 20;

/// What is known of such code in a process.
#[derive(Default)]
pub(crate) struct RegisteredCode {
    /// Heads of lists, of the modules that were there when they were looked for; `None`: not looked for.
    descriptors: Option<Vec<Va>>,
    /// When the lists were read last.
    epoch: Option<u64>,
    /// The entries, with the modules that they became.
    entries: Vec<(Entry, ModuleInfo)>,
    /// Entries whose code may not be executed yet.
    unfinished: usize,
}

/// An entry of a list: where it is, where its object file is, and how long that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    at: Va,
    object: Va,
    len: u64,
}

impl RegisteredCode {
    /// The modules that it became, for a list that has none of them.
    pub(crate) fn modules(&self) -> impl Iterator<Item = ModuleInfo> + '_ {
        self.entries.iter().map(|(_, info)| info.clone())
    }

    /// The process has other modules.
    pub(crate) fn modules_changed(&mut self) {
        (self.descriptors, self.epoch) = (None, None);
    }

    /// Whether the process is known to have such lists.
    pub(crate) fn is_known(&self) -> bool {
        self.descriptors.as_ref().is_some_and(|descriptors| !descriptors.is_empty())
    }

    /// Whether code of it is still being made.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unfinished > 0
    }
}

impl Engine {
    /// Reads the lists of the process again, if it was not done since the last stop.
    pub(crate) fn read_registered_code(&mut self, process: ProcessOrdinal) {
        let epoch = self.epoch;
        let Ok(known) = self.process_mut(process) else { return };
        if known.registered.epoch.replace(epoch) == Some(epoch) {
            return;
        }
        if known.registered.descriptors.is_none() {
            let found = self.find_descriptors(process);
            if let Ok(known) = self.process_mut(process) {
                known.registered.descriptors = Some(found);
            }
        }
        let Ok(known) = self.process(process) else { return };
        let (known_system, id) = (known.system, known.id());
        let descriptors = known.registered.descriptors.clone().unwrap_or_default();
        if descriptors.is_empty() && known.registered.entries.is_empty() {
            return;
        }
        let mut memory = known.memory.clone();
        let entries: Vec<Entry> = descriptors.into_iter().flat_map(|at| entries_of(at, &mut memory)).collect();
        let mut made: Vec<(ModuleInfo, Rc<ModuleSymbols>)> = Vec::new();
        let (mut kept, mut left, mut unfinished) = (Vec::new(), MAX_READ, 0);
        let mut executable = None;
        for entry in entries {
            if let Some(known) = known.registered.entries.iter().find(|(known, _)| *known == entry) {
                kept.push(known.clone());
                continue;
            }
            if entry.len > MAX_OBJECT.min(left) {
                continue;
            }
            left -= entry.len;
            let Some((info, symbols, code)) = module_of(entry, &mut memory) else { continue };
            let executable = executable.get_or_insert_with(|| {
                let regions = self.systems.iter().find(|system| system.ordinal == known_system);
                let regions =
                    regions.and_then(|system| system.target.borrow_mut().regions(id).ok()).unwrap_or_default();
                regions.into_iter().filter(|region| region.execute).map(|region| region.range).collect::<Vec<_>>()
            });
            if code.is_some_and(|code| !executable.iter().any(|range| range.contains(code))) {
                unfinished += 1;
                continue;
            }
            kept.push((entry, info.clone()));
            made.push((info, symbols));
        }
        let Ok(known) = self.process_mut(process) else { return };
        known.registered.unfinished = unfinished;
        if kept.len() == known.registered.entries.len() && made.is_empty() {
            return;
        }
        let own =
            known.modules.iter().filter(|module| !module.is_registered()).map(|module| module.info.clone()).collect();
        known.registered.entries = kept;
        let descriptors = known.registered.descriptors.take();
        let (loaded, unloaded) = known.set_modules(own);
        (known.registered.descriptors, known.registered.epoch) = (descriptors, Some(epoch));
        for module in &loaded {
            let symbols =
                made.iter().find(|(info, _)| info.path == module.info.path).map(|(_, symbols)| symbols.clone());
            // It is new, so nobody has asked for its symbols.
            let _ = module.symbols.set(symbols.unwrap_or_else(|| Rc::new(ModuleSymbols::unregistered())));
        }
        self.modules_changed(process, &loaded, &unloaded);
    }

    /// Where the process's modules have heads of lists.
    fn find_descriptors(&self, process: ProcessOrdinal) -> Vec<Va> {
        let (Ok(known), Ok(loader)) = (self.process(process), self.symbol_loader(process)) else { return Vec::new() };
        let name = [DESCRIPTOR.to_owned()];
        let of_module = |module: &Rc<Module>| {
            let symbols = loader.symbols(module);
            let exported = symbols.exports(&name).and_then(|found| found.first().copied());
            // A program need not export it.
            let symbol =
                || symbols.module()?.symbols_named(DESCRIPTOR, CaseRule::Exact).first().map(|symbol| symbol.address);
            let found = exported.or_else(|| symbol().filter(|_| module.info.is_main));
            found.map(|at| at.to_va(module.info.bias))
        };
        known.modules.iter().filter(|module| !module.is_registered()).filter_map(of_module).collect()
    }

    /// Whether system calls are looked at until code of the system's processes is done.
    pub(crate) fn awaits_code(&self, system: SystemOrdinal) -> bool {
        let mut own = self.processes.iter().filter(|process| process.system == system);
        own.any(|process| {
            process.registered.is_unfinished() && self.breakpoints.has_deferred(|of| of == process.ordinal)
        })
    }

    /// A system call returned by which code may have become executable: whether that is all it stopped for.
    pub(crate) fn code_may_be_done(&mut self, stop: &Stop) -> bool {
        let StopReason::Syscall { number: MPROTECT, leaving } = stop.reason else { return false };
        if !self.awaits_code(stop.system) {
            return false;
        }
        if leaving {
            self.read_registered_code(stop.process);
        }
        !self.filters.mask().syscalls.contains(&MPROTECT)
    }

    /// Sets and clears the hidden breakpoints, as breakpoints wait for places.
    pub(crate) fn watch_registrations(&mut self) {
        let Some(process) = self.current_process().ok() else { return };
        let number = BreakpointNumber(HIDDEN.saturating_add(process.0));
        let is_wanted = self.process(process).is_ok_and(|known| known.registered.is_known())
            && self.breakpoints.has_deferred(|of| of == process);
        if self.breakpoint(number).is_ok() == is_wanted {
            return;
        }
        if is_wanted {
            let place = BreakpointPlace::Expression(REGISTER.to_owned());
            let number = Some(number);
            let request =
                BreakpointRequest { number, symbolic: true, event: Some(EVENT), ..BreakpointRequest::code(place) };
            // Without it the list is read at the next stop.
            let _ = self.set_breakpoint(request);
        } else {
            let _ = self.clear_breakpoints(&[number]);
        }
    }
}

impl Module {
    /// Whether it is code that the program registered.
    pub(crate) fn is_registered(&self) -> bool {
        self.info.path.starts_with(PREFIX)
    }
}

/// What the paths of such modules begin with; those of files begin with `/`, the vdso's with `[`.
const PREFIX: &str = "jit_";

/// The entries of the list whose head is at `at`.
fn entries_of(at: Va, memory: &mut dyn MemoryReader) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut head = [0; 24];
    if memory.read_exact(at, &mut head).is_none() || u32::from_le_bytes([head[0], head[1], head[2], head[3]]) != VERSION
    {
        return entries;
    }
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let mut next = Va(word(&head, 16));
    while next != Va(0) && entries.len() < MAX_ENTRIES {
        let mut entry = [0; 32];
        if memory.read_exact(next, &mut entry).is_none() {
            break;
        }
        let found = Entry { at: next, object: Va(word(&entry, 16)), len: word(&entry, 24) };
        if entries.contains(&found) {
            break;
        }
        entries.push(found);
        next = Va(word(&entry, 0));
    }
    entries
}

/// The module of an entry, with its symbols and where its code begins.
fn module_of(entry: Entry, memory: &mut dyn MemoryReader) -> Option<(ModuleInfo, Rc<ModuleSymbols>, Option<Va>)> {
    let mut bytes = vec![0; usize::try_from(entry.len).ok()?];
    memory.read_exact(entry.object, &mut bytes)?;
    let range = place_object(&mut bytes)?;
    let path = format!("{PREFIX}{:x}", entry.object.0);
    let image = ElfFile::parse(MemorySource::new(path.clone(), bytes)).ok()?;
    let code = image.sections().iter().find(|section| section.executable && !section.range.is_empty());
    let code = code.map(|section| Va(section.range.start.0));
    let files = ModuleFiles { image: image.into(), debug: None, alt: None, split: SplitFiles::default(), cache: None };
    let symbols = ModuleSymbols::registered(outpost_symbols::Module::new(files).into(), path.clone());
    let range = VaRange { start: Va(range.start.0), end: Va(range.end.0) };
    let info = ModuleInfo { range, bias: LoadBias(0), path, build_id: None, namespace: 0, is_main: false };
    Some((info, Rc::new(symbols), code))
}
