//! Finding symbols by build-id and keeping them for all loads of the same build.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use outpost_base::{BuildId, ProcessId, VaRange};
use outpost_symbols::{ByteSource, ElfFile, FileSource};
use outpost_target::{ModuleInfo, ReadRequest};

use super::ModuleSymbols;
use super::server_file::ServerFile;
use crate::modules::Module;
use crate::system::TargetHandle;
use crate::{Engine, EngineError, ProcessMemory, ProcessOrdinal};

/// Largest vdso that is read; real ones have a few pages.
const MAX_VDSO: u64 = 1 << 20;

/// Where symbols are looked for, and those found.
#[derive(Default)]
pub(crate) struct SymbolStore {
    pub(super) path: RefCell<String>,
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

impl SymbolStore {
    /// Forgets symbols of builds, so that they are looked for anew.
    pub(crate) fn forget(&self, build: Option<&BuildId>) {
        match build {
            Some(build) => drop(self.by_build.borrow_mut().remove(build)),
            None => self.by_build.borrow_mut().clear(),
        }
    }
}

impl SymbolLoader {
    /// The module's symbols, looked for at the first call.
    pub(crate) fn symbols(&self, module: &Module) -> Rc<ModuleSymbols> {
        module.symbols.get_or_init(|| self.load(&module.info)).clone()
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
        let mut problems = Vec::new();
        let candidates: [&dyn Fn() -> Result<Arc<dyn ByteSource>, String>; 3] =
            [&|| self.local_file(info), &|| self.server_file(info), &|| self.memory_image(info)];
        for candidate in candidates {
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
                }
                Ok(file) => return ModuleSymbols::new(Some(Arc::new(file)), name, problems),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
        ModuleSymbols::new(None, String::new(), problems)
    }

    /// The file of the same path on this machine: the usual case when debugging locally, and a copy often lies there
    /// when not. Without a build-id nothing would tell whether it is the same.
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
        ServerFile::open(&self.target, self.process, &info.path).map(|file| file as Arc<dyn ByteSource>)
    }

    /// The image in memory, where it is whole there: the vdso.
    fn memory_image(&self, info: &ModuleInfo) -> Result<Arc<dyn ByteSource>, String> {
        let VaRange { start, .. } = info.range;
        if info.path.starts_with('/') || info.range.len() > MAX_VDSO {
            return Err(String::new());
        }
        let answers = self.memory.read_many(&[ReadRequest { at: start, len: info.range.len() }]);
        let bytes = answers.map_err(|error| error.to_string())?.pop().unwrap_or_default();
        Ok(outpost_symbols::MemorySource::new(info.path.clone(), bytes))
    }
}
