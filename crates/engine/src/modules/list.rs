//! The modules of a process and how the list changes.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use outpost_base::Va;
use outpost_target::ModuleInfo;

use super::naming::module_name;
use crate::symbols::ModuleSymbols;

/// A loaded module; its symbols are looked for when first needed.
pub(crate) struct Module {
    /// Name for `module!symbol`, unique in its process.
    pub(crate) name: String,
    pub(crate) info: ModuleInfo,
    pub(crate) symbols: OnceCell<Rc<ModuleSymbols>>,
    /// Unloaded meanwhile; whoever still holds it should let go.
    pub(crate) unloaded: Cell<bool>,
}

/// The modules of one process, sorted by address.
#[derive(Default)]
pub(crate) struct ModuleList {
    modules: Vec<Rc<Module>>,
    /// Those that went, the last at the end.
    gone: Vec<Rc<Module>>,
}

/// Modules that are remembered after they went.
const GONE: usize = 64;

impl ModuleList {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Module>> {
        self.modules.iter()
    }

    pub(crate) fn at(&self, at: Va) -> Option<&Rc<Module>> {
        let next = self.modules.partition_point(|module| module.info.range.start <= at);
        self.modules[..next].iter().rev().take(8).find(|module| module.info.range.contains(at))
    }

    /// The module that covered `at` last, if none does now.
    pub(crate) fn unloaded_at(&self, at: Va) -> Option<&Rc<Module>> {
        if self.at(at).is_some() {
            return None;
        }
        self.gone.iter().rev().find(|module| module.info.range.contains(at))
    }

    /// Modules called `name`: by module name or by file name, ignoring case only where no exact match exists.
    pub(crate) fn named(&self, name: &str) -> Vec<Rc<Module>> {
        let file_name = |module: &Module| module.info.path.rsplit('/').next().unwrap_or_default().to_owned();
        let exact = |module: &&Rc<Module>| module.name == name || file_name(module) == name || module.info.path == name;
        let found: Vec<_> = self.modules.iter().filter(exact).cloned().collect();
        if !found.is_empty() {
            return found;
        }
        let close = |module: &&Rc<Module>| module.name.eq_ignore_ascii_case(name);
        self.modules.iter().filter(close).cloned().collect()
    }

    /// Takes a new list: modules that stayed keep their names and symbols. Gives the new ones and those that went.
    pub(crate) fn update(&mut self, infos: Vec<ModuleInfo>) -> (Vec<Rc<Module>>, Vec<Rc<Module>>) {
        let mut old = std::mem::take(&mut self.modules);
        let mut loaded = Vec::new();
        for info in infos {
            let same = |module: &Rc<Module>| {
                let known = &module.info;
                known.path == info.path && known.range == info.range && known.build_id == info.build_id
            };
            match old.iter().position(same) {
                Some(at) => self.modules.push(old.swap_remove(at)),
                None => loaded.push(info),
            }
        }
        let first_new = self.modules.len();
        for info in loaded {
            let mut name = module_name(&info.path, info.is_main);
            let taken = self.modules.iter().any(|module| module.name == name);
            if taken {
                name = format!("{name}_{:x}", info.range.start.0);
            }
            self.modules.push(Rc::new(Module { name, info, symbols: OnceCell::new(), unloaded: Cell::new(false) }));
        }
        let loaded = self.modules[first_new..].to_vec();
        self.modules.sort_by_key(|module| module.info.range.start);
        for module in &old {
            module.unloaded.set(true);
        }
        self.gone.extend(old.iter().cloned());
        let too_many = self.gone.len().saturating_sub(GONE);
        self.gone.drain(..too_many);
        (loaded, old)
    }

    /// Replaces modules by fresh ones without symbols, so that these are looked for anew (`.reload`).
    pub(crate) fn forget_symbols(&mut self, wanted: impl Fn(&Module) -> bool) {
        for slot in &mut self.modules {
            if wanted(slot) {
                slot.unloaded.set(true);
                *slot = Rc::new(Module {
                    name: slot.name.clone(),
                    info: slot.info.clone(),
                    symbols: OnceCell::new(),
                    unloaded: Cell::new(false),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::{LoadBias, VaRange};

    use super::*;

    fn info(path: &str, start: u64) -> ModuleInfo {
        ModuleInfo {
            range: VaRange::from_len(Va(start), 0x1000),
            bias: LoadBias(start),
            path: path.into(),
            build_id: None,
            namespace: 0,
            is_main: start == 0x1000,
        }
    }

    #[test]
    fn names_are_unique_and_stay_with_their_module() {
        let mut list = ModuleList::default();
        let (loaded, _) = list.update(vec![info("/a/prog", 0x1000), info("/a/x.so", 0x3000), info("/b/x.so", 0x5000)]);
        let names: Vec<_> = loaded.iter().map(|module| module.name.clone()).collect();
        assert_eq!(names, ["prog", "x", "x_5000"]);
        let (loaded, unloaded) = list.update(vec![info("/a/prog", 0x1000), info("/b/x.so", 0x5000)]);
        assert_eq!((loaded.len(), unloaded.len()), (0, 1));
        let path = |at: u64, list: &ModuleList| list.unloaded_at(Va(at)).map(|module| module.info.path.clone());
        assert_eq!(path(0x3010, &list).as_deref(), Some("/a/x.so"), "it was there");
        assert_eq!((path(0x5010, &list), path(0x9000, &list)), (None, None));
        assert_eq!(list.named("x_5000").len(), 1);
        assert_eq!(list.named("x.so").len(), 1, "the file name works, too");
        assert_eq!(list.named("PROG").len(), 1);
        assert!(list.at(Va(0x5fff)).is_some() && list.at(Va(0x6000)).is_none());
    }
}
