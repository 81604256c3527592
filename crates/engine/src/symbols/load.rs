//! Finding symbols by build-id and keeping them for all loads of the same build.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use outpost_base::{BuildId, ProcessId, RegisterContext, ThreadId, VaRange};
use outpost_symbols::{
    ByteSource, Debuginfod, ElfFile, FetchOptions, FetchRequest, Fetching, FileSource, LocalFiles, MemorySource,
    ModuleFiles, Patience, SymbolPath, SymbolsError, find_debug_files,
};
use outpost_target::{ModuleInfo, ReadRequest, RegisterSets};

use super::ModuleSymbols;
use super::server_file::ServerFile;
use crate::modules::{Module, module_name};
use crate::system::TargetHandle;
use crate::{Engine, EngineError, Interrupter, ProcessMemory, ProcessOrdinal};

/// Largest vdso that is read; real ones have a few pages.
const MAX_VDSO: u64 = 1 << 20;

/// Told of long work on symbols: the module's name, and how far it is, from 0 to 1000. Comes from any thread.
pub type SymbolProgress = Arc<dyn Fn(&str, u32) + Send + Sync>;

/// Where symbols are looked for, and those found.
pub(crate) struct SymbolStore {
    pub(crate) path: RefCell<SymbolPath>,
    /// Where indexes are kept; `None`: nowhere.
    pub(super) cache: RefCell<Option<PathBuf>>,
    pub(crate) progress: RefCell<Option<SymbolProgress>>,
    pub(crate) interrupter: Interrupter,
    /// Who fetches what only servers have.
    pub(crate) client: RefCell<Debuginfod>,
    /// Whether a user waits for a command. A stop never waits for servers.
    pub(crate) patient: Cell<bool>,
    by_build: RefCell<HashMap<BuildId, Rc<ModuleSymbols>>>,
}

/// Finds the symbols of one process's modules.
#[derive(Clone)]
pub(crate) struct SymbolLoader {
    store: Rc<SymbolStore>,
    target: TargetHandle,
    process: ProcessId,
    memory: ProcessMemory,
}

impl Engine {
    pub(crate) fn symbol_loader(&self, process: ProcessOrdinal) -> Result<SymbolLoader, EngineError> {
        let known = self.process(process)?;
        Ok(SymbolLoader {
            store: self.symbols.clone(),
            target: self.system(known.system)?.target.clone(),
            process: known.id(),
            memory: known.memory.clone(),
        })
    }
}

impl Engine {
    /// Says that a user waits from now on, and looks anew for symbols that were still being fetched when they were needed.
    pub(crate) fn await_symbols(&mut self) {
        self.symbols.patient.set(true);
        let is_pending = |module: &Module| module.symbols.get().is_some_and(|symbols| symbols.is_pending());
        let mut any = false;
        for process in &mut self.processes {
            for module in process.modules.iter().filter(|module| is_pending(module)) {
                self.symbols.forget(module.info.build_id.as_ref());
                any = true;
            }
            process.modules.forget_symbols(is_pending);
        }
        if any {
            self.epoch += 1;
        }
    }
}

impl SymbolStore {
    pub(crate) fn new(interrupter: Interrupter) -> SymbolStore {
        let options = FetchOptions::from_environment();
        SymbolStore {
            path: RefCell::new(SymbolPath::usual(&options, false, None)),
            client: RefCell::new(Debuginfod::new(options)),
            patient: Cell::new(true),
            cache: RefCell::new(outpost_symbols::default_cache_directory()),
            progress: RefCell::new(None),
            interrupter,
            by_build: RefCell::default(),
        }
    }

    /// Forgets symbols of a build, so that they are looked for anew.
    pub(crate) fn forget(&self, build: Option<&BuildId>) {
        if let Some(build) = build {
            self.by_build.borrow_mut().remove(build);
        }
    }
}

impl SymbolLoader {
    /// The module's symbols, looked for at the first call. Their index may not have been built yet, so that asking
    /// them for names may take long; call frame information needs none.
    pub(crate) fn symbols(&self, module: &Module) -> Rc<ModuleSymbols> {
        module.symbols.get_or_init(|| self.load(&module.info)).clone()
    }

    /// The module's symbols with their index, so that every question is answered at once.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] if the user interrupted while the index was built.
    pub(crate) fn prepared(&self, module: &Module) -> Result<Rc<ModuleSymbols>, EngineError> {
        let symbols = self.symbols(module);
        if let Some(found) = symbols.module().filter(|found| !found.is_prepared()) {
            let progress = self.store.progress.borrow().clone();
            let name = module.name.as_str();
            let tell = move |done: u32| {
                if let Some(progress) = &progress {
                    progress(name, done);
                }
            };
            match found.prepare(self.store.interrupter.cancel_flag(), &tell) {
                Ok(()) => {}
                Err(SymbolsError::Cancelled) => {
                    self.store.interrupter.take_cancel();
                    return Err(EngineError::Cancelled);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(symbols)
    }

    /// A thread's registers with the vector ones, for variables that live in them.
    pub(crate) fn vector_registers(&self, thread: ThreadId) -> Option<RegisterContext> {
        let sets = RegisterSets { floating: true, debug: false };
        self.target.borrow_mut().registers_many(&[thread], sets).ok()?.pop()?.ok()
    }

    fn load(&self, info: &ModuleInfo) -> Rc<ModuleSymbols> {
        let known = info.build_id.as_ref().and_then(|build| self.store.by_build.borrow().get(build).cloned());
        if let Some(known) = known {
            return known;
        }
        let found = Rc::new(self.find(info));
        if let Some(build) = &info.build_id {
            self.store.by_build.borrow_mut().insert(build.clone(), found.clone());
        }
        found
    }

    fn find(&self, info: &ModuleInfo) -> ModuleSymbols {
        let (mut problems, mut is_another_build_here) = (Vec::new(), false);
        type Candidate<'a> = &'a dyn Fn() -> Result<Arc<dyn ByteSource>, String>;
        let (by_path, mapped): (Candidate<'_>, Candidate<'_>) =
            (&|| self.server_file(info), &|| self.mapped_file(info));
        let executed: Candidate<'_> = &|| self.executed_file(info);
        // A name may lead to another file by now (an update of the system). Only a build-id tells, so without one what is
        // mapped comes first.
        let of_server = match info.build_id.is_some() {
            true => [by_path, mapped, executed],
            false => [mapped, executed, by_path],
        };
        let [first, second, third] = of_server;
        let candidates: [Candidate<'_>; 5] =
            [&|| self.local_file(info), first, second, third, &|| self.memory_image(info)];
        for (at, candidate) in candidates.into_iter().enumerate() {
            let source = match candidate() {
                Ok(source) => source,
                Err(problem) => {
                    problems.extend((!problem.is_empty()).then_some(problem));
                    continue;
                }
            };
            let name = source.name();
            match ElfFile::parse(source) {
                Ok(file) if info.build_id.is_some() && file.build_id() != info.build_id.as_ref() => {
                    problems.push(format!("{name}: another build"));
                    is_another_build_here |= at == 0;
                }
                Ok(file) => {
                    let mut found = self.with_debug_file(info, Arc::new(file), name, problems);
                    found.is_another_build_here = is_another_build_here;
                    return found;
                }
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
        ModuleSymbols::missing(problems)
    }

    /// Looks for the debug file of an image that was found: by the symbol path, on this machine and on servers.
    fn with_debug_file(
        &self,
        info: &ModuleInfo,
        image: Arc<ElfFile>,
        name: String,
        problems: Vec<String>,
    ) -> ModuleSymbols {
        let path = Some(Path::new(&info.path)).filter(|path| path.is_absolute());
        let told = self.store.progress.borrow().clone();
        let shown = module_name(&info.path, info.is_main);
        let tell = |_: &FetchRequest, done: u64, total: u64| {
            if let (Some(told), Some(part)) = (&told, done.saturating_mul(1000).checked_div(total)) {
                told(&format!("fetching symbols of {shown}"), u32::try_from(part).unwrap_or(0).min(1000));
            }
        };
        let patience = Patience { cancel: self.store.interrupter.cancel_flag(), tell: &tell };
        let client = self.store.client.borrow().clone();
        let servers = Fetching { client: &client, patience: self.store.patient.get().then_some(patience) };
        let (found, report) = find_debug_files(&image, path, &self.store.path.borrow(), &LocalFiles, Some(&servers));
        let cache = self.store.cache.borrow().clone();
        let files = ModuleFiles { cache, ..found.module_files(image) };
        ModuleSymbols::found(Arc::new(outpost_symbols::Module::new(files)), name, report, problems)
    }

    /// The file of the same path on this machine: the usual case when debugging locally, and a copy often lies there
    /// when not. Without a build-id nothing would tell whether it is the same, so only this machine's own will do.
    fn local_file(&self, info: &ModuleInfo) -> Result<Arc<dyn ByteSource>, String> {
        if !info.path.starts_with('/') || info.build_id.is_none() {
            return Err(String::new());
        }
        FileSource::open(&info.path).map(|file| file as Arc<dyn ByteSource>).map_err(|error| error.to_string())
    }

    /// The file as the process itself sees it, read by sections through the server.
    fn server_file(&self, info: &ModuleInfo) -> Result<Arc<dyn ByteSource>, String> {
        if !info.path.starts_with('/') {
            return Err(String::new());
        }
        match ServerFile::open(&self.target, self.process, &info.path) {
            Ok(file) => Ok(file),
            // A dump has no machine behind it: the file here is all there can be, whoever made it.
            Err(_) if info.build_id.is_none() => {
                FileSource::open(&info.path).map(|file| file as Arc<dyn ByteSource>).map_err(|error| error.to_string())
            }
            Err(problem) => Err(problem),
        }
    }

    /// The file that the process has mapped where the module is.
    fn mapped_file(&self, info: &ModuleInfo) -> Result<Arc<dyn ByteSource>, String> {
        let start = info.range.start;
        if !info.path.starts_with('/') || self.target.borrow_mut().as_os().is_none() {
            return Err(String::new());
        }
        let regions = self.target.borrow_mut().regions(self.process).map_err(|error| error.to_string())?;
        let region = regions.into_iter().find(|region| region.range.start == start && region.inode != 0);
        let mapping = region.ok_or_else(String::new)?.range;
        let name = format!("{} (as it is mapped)", info.path);
        let file = ServerFile::open_by(&self.target, &name, |os| os.open_mapped(self.process, mapping))?;
        Ok(file)
    }

    /// The program that the process executes.
    fn executed_file(&self, info: &ModuleInfo) -> Result<Arc<dyn ByteSource>, String> {
        if !info.is_main {
            return Err(String::new());
        }
        let name = format!("{} (as it is executed)", info.path);
        let file = ServerFile::open_by(&self.target, &name, |os| os.open_executable(self.process))?;
        Ok(file)
    }

    /// The image in memory, where it is whole there: the vdso.
    fn memory_image(&self, info: &ModuleInfo) -> Result<Arc<dyn ByteSource>, String> {
        let VaRange { start, .. } = info.range;
        if info.path.starts_with('/') || info.range.len() > MAX_VDSO {
            return Err(String::new());
        }
        let answers = self.memory.read_many(&[ReadRequest { at: start, len: info.range.len() }]);
        let bytes = answers.map_err(|error| error.to_string())?.pop().unwrap_or_default();
        Ok(MemorySource::new(info.path.clone(), bytes))
    }
}
