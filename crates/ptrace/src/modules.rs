//! A live process's modules, found through its memory without symbols.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use outpost_base::{MemoryReader, ProcessId, Va};
use outpost_target::link_map::{LinkMap, read_link_map};

use crate::memory::{ProcessMemory, file_by_memory};

/// The walk follows many small fields; whole pages are kept meanwhile, at most this many (1 MiB).
const MAX_PAGES: usize = 256;
const PAGE: usize = 4096;

/// Reads the modules of a process: see [`read_link_map`]. It need not be stopped, but then lists may change meanwhile.
pub fn read_modules(memory: &ProcessMemory) -> LinkMap {
    let process = memory.process();
    read_link_map(&read_auxv(process), &read_executable(process), &mut PagedMemory { memory, pages: Vec::new() })
}

/// The auxiliary vector as the kernel keeps it, pairs of `a_type, a_val` up to `AT_NULL`; empty if unreadable.
/// Source: `proc_pid_auxv(5)`, `getauxval(3)`.
pub fn read_auxv(process: ProcessId) -> Vec<(u64, u64)> {
    let bytes = fs::read(file_by_memory(process, "auxv")).unwrap_or_default();
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    words.as_chunks().0.iter().map(|&[kind, value]| (kind, value)).take_while(|(kind, _)| *kind != 0).collect()
}

/// Path of the executable in the process's own file system, empty if unreadable. The kernel's mark of a file that was
/// unlinked since is taken off, so that the name stays that of the program.
pub fn read_executable(process: ProcessId) -> String {
    let Ok(path) = fs::read_link(file_by_memory(process, "exe")) else { return String::new() };
    let path = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    path.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(path)
}

/// Memory read by whole pages and kept for one walk.
struct PagedMemory<'a> {
    memory: &'a ProcessMemory,
    /// Pages by address with as many bytes as were readable, oldest first.
    pages: Vec<(Va, Vec<u8>)>,
}

impl PagedMemory<'_> {
    fn page(&mut self, at: Va) -> &[u8] {
        if let Some(index) = self.pages.iter().position(|(start, _)| *start == at) {
            return &self.pages[index].1;
        }
        if self.pages.len() == MAX_PAGES {
            self.pages.clear();
        }
        let mut bytes = vec![0; PAGE];
        let got = self.memory.read(at, &mut bytes);
        bytes.truncate(got);
        self.pages.push((at, bytes));
        self.pages.last().map_or(&[], |(_, bytes)| bytes)
    }
}

impl MemoryReader for PagedMemory<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let Some(here) = at.checked_add(done as u64) else { break };
            let start = here.align_down(PAGE as u64);
            let page = self.page(start).get((here - start) as usize..).unwrap_or_default();
            let count = page.len().min(buf.len() - done);
            if count == 0 {
                break;
            }
            buf[done..done + count].copy_from_slice(&page[..count]);
            done += count;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use outpost_target::ModuleInfo;
    use outpost_testkit::{Build, Compiler, Running};

    use super::*;

    const READY: &str = r#"
        #include <stdio.h>
        #include <unistd.h>
        int main(void) { puts("ready"); fflush(stdout); pause(); }
    "#;

    fn modules_of(program: &Running) -> LinkMap {
        read_modules(&ProcessMemory::open(ProcessId(program.pid())).unwrap())
    }

    fn file_name(module: &ModuleInfo) -> &str {
        module.path.rsplit('/').next().unwrap_or_default()
    }

    fn start(flags: &str) -> Running {
        let mut program = Running::start(Build::source(Compiler::Gcc, "ready", READY).flags(flags).path(), &[]);
        assert_eq!(program.line(), "ready");
        program
    }

    #[test]
    fn a_dynamic_program_has_its_libraries_at_their_mappings() {
        for flags in ["-pie -Wl,--build-id", "-no-pie -Wl,--build-id"] {
            let program = start(flags);
            let found = modules_of(&program);
            assert_eq!(found.problems, 0, "{flags}");
            let loader = found.loader.expect("the loader has run");
            assert!(loader.is_consistent && loader.r_brk != Va(0));
            let names: Vec<&str> = found.modules.iter().map(file_name).collect();
            assert_eq!(names, ["ready", "libc.so.6", "ld-linux-x86-64.so.2", "[vdso]"], "{flags}");
            assert!(found.modules.iter().all(|module| module.build_id.is_some()));
            assert!(found.modules[2].range.contains(loader.r_brk));
            let regions = crate::regions::read_regions(ProcessId(program.pid()), &[]).unwrap();
            for module in &found.modules {
                let first = regions
                    .iter()
                    .find(|region| region.name == module.path || region.name.ends_with(file_name(module)));
                assert_eq!(first.map(|region| region.range.start), Some(module.range.start), "{}", module.path);
            }
        }
    }

    #[test]
    fn static_programs_are_their_only_module() {
        for flags in ["-static -Wl,--build-id", "-static-pie -Wl,--build-id"] {
            let program = start(flags);
            let found = modules_of(&program);
            let names: Vec<&str> = found.modules.iter().map(file_name).collect();
            assert_eq!(names, ["ready", "[vdso]"], "{flags}");
            assert_eq!(found.problems, 0, "{flags}");
            let regions = crate::regions::read_regions(ProcessId(program.pid()), &[]).unwrap();
            let first = regions.iter().find(|region| region.name == found.modules[0].path);
            assert_eq!(first.map(|region| region.range.start), Some(found.modules[0].range.start), "{flags}");
            assert!(found.modules[0].is_main && found.modules[0].build_id.is_some());
        }
    }

    #[test]
    fn dlmopen_has_a_namespace_of_its_own() {
        let library =
            Build::source(Compiler::Gcc, "libextra.so", "#include <stdio.h>\nint extra(void) { return puts(\"\"); }")
                .flags("-shared -fPIC");
        let source = r#"
            #define _GNU_SOURCE
            #include <dlfcn.h>
            #include <stdio.h>
            #include <unistd.h>
            int main(int count, char **argument) {
                puts(count == 2 && dlmopen(LM_ID_NEWLM, argument[1], RTLD_NOW) ? "ready" : dlerror());
                fflush(stdout);
                pause();
            }
        "#;
        let program = Build::source(Compiler::Gcc, "namespaces", source).path();
        let mut program = Running::start(program, &[library.path().to_str().unwrap()]);
        assert_eq!(program.line(), "ready");
        let found = modules_of(&program);
        let extra = found.modules.iter().find(|module| file_name(module) == "libextra.so").expect("it is listed");
        assert_eq!(extra.namespace, 1);
        assert!(found.modules.iter().any(|module| file_name(module) == "libc.so.6" && module.namespace == 1));
        assert_eq!(found.problems, 0);
    }
}
