//! Aliases that the debugger itself has values for, where there are some.
//!
//! | name | value |
//! | --- | --- |
//! | `$libc` | the module of the current process that is its C library |
//! | `$CurrentDumpFile` | the file of the dump that the current system is |
//! | `$CurrentDumpPath` | the directory it lies in |

use std::path::Path;

use outpost_engine::target::TargetKind;

use crate::Debugger;

/// How names of modules begin that are a C library: glibc's, musl's.
const C_LIBRARIES: [&str; 2] = ["libc_so", "ld_musl_"];

impl Debugger {
    /// Those that `text` may mention.
    pub(crate) fn automatic_aliases(&self, text: &str) -> Vec<(&'static str, String)> {
        let mut values = Vec::new();
        if text.contains("$libc")
            && let Some(name) = self.c_library()
        {
            values.push(("$libc", name));
        }
        if text.contains("$CurrentDump")
            && let Some(file) = self.current_dump()
        {
            let folder = Path::new(&file).parent().map(|folder| folder.display().to_string());
            values.push(("$CurrentDumpPath", folder.filter(|folder| !folder.is_empty()).unwrap_or_else(|| ".".into())));
            values.push(("$CurrentDumpFile", file));
        }
        values
    }

    fn c_library(&self) -> Option<String> {
        let modules = self.engine.current_process().and_then(|process| self.engine.modules(process)).ok()?;
        let is_c = |name: &str| C_LIBRARIES.iter().any(|begin| name.starts_with(begin));
        modules.into_iter().map(|module| module.name).find(|name| is_c(name))
    }

    fn current_dump(&self) -> Option<String> {
        let mut systems = self.engine.systems().into_iter();
        systems.find(|system| system.is_current && system.kind == TargetKind::UserDump).map(|system| system.name)
    }
}
