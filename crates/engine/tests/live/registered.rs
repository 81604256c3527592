//! Code that the debuggee makes at run time and registers, as JIT compilers do.

use outpost_engine::target::StopReason;
use outpost_engine::{StepKind, StepUnit, StepUntil};
use outpost_testkit::{Build, Compiler};

use crate::common::*;

/// The code that is loaded: nothing in it refers to anything else, so that it may be anywhere. `odd` keeps where it returns
/// to in a register, which only its call frame information tells.
const CODE: &str = r#"
int fresh(int given) {
    int twice = given * 2;
    __asm__ volatile("call odd" ::: "r10", "memory");
    return twice + 1; // inside
}
__asm__(".text\nodd: .cfi_startproc\n"
        "pop %r10\n .cfi_adjust_cfa_offset -8\n .cfi_register rip, r10\n"
        "nop\n push %rbx\n .cfi_adjust_cfa_offset 8\n .cfi_rel_offset rbx, 0\n xor %ebx, %ebx\n"
        "pop %rbx\n .cfi_adjust_cfa_offset -8\n .cfi_restore rbx\n"
        "push %r10\n .cfi_adjust_cfa_offset 8\n .cfi_offset rip, -8\n"
        "ret\n .cfi_endproc\n .size odd, . - odd\n .type odd, @function\n");
"#;

/// Loads an object file by itself: registers it while it is still writable, as LLVM does, and takes it back in the end.
const LOADER: &str = r#"
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
struct jit_code_entry { struct jit_code_entry *next, *prev; const char *symfile_addr; uint64_t symfile_size; };
struct jit_descriptor { uint32_t version, action_flag; struct jit_code_entry *relevant_entry, *first_entry; };
void __attribute__((noinline)) __jit_debug_register_code(void) { __asm__ volatile("" ::: "memory"); }
struct jit_descriptor __jit_debug_descriptor = { 1, 0, 0, 0 };
static struct jit_code_entry entry;
void __attribute__((noinline)) loaded(void) { __asm__ volatile("" ::: "memory"); }
void __attribute__((noinline)) unloaded(void) { __asm__ volatile("" ::: "memory"); }
static void tell(uint32_t action, struct jit_code_entry *first) {
    __jit_debug_descriptor.action_flag = action;
    __jit_debug_descriptor.relevant_entry = &entry;
    __jit_debug_descriptor.first_entry = first;
    __jit_debug_register_code();
}
int main(int argc, char **argv) {
    static char object[1 << 20];
    int file = open(argv[1], O_RDONLY);
    long size = read(file, object, sizeof object);
    char *place = mmap(0, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Elf64_Ehdr *header = (Elf64_Ehdr *)object;
    Elf64_Shdr *sections = (Elf64_Shdr *)(object + header->e_shoff);
    int (*fresh)(int) = 0;
    char *next = place;
    for (int at = 1; at < header->e_shnum; at++) {
        if (!(sections[at].sh_flags & SHF_ALLOC) || !sections[at].sh_size) continue;
        if (argc > 2 && !(sections[at].sh_flags & SHF_EXECINSTR)) continue;
        sections[at].sh_addr = (uint64_t)next;
        // The rest is filled in later.
        if (sections[at].sh_flags & SHF_EXECINSTR) fresh = (int (*)(int))next;
        next += (sections[at].sh_size + 63) & ~63;
    }
    entry.symfile_addr = object;
    entry.symfile_size = size;
    tell(1, &entry);
    for (int at = 1; at < header->e_shnum; at++) {
        if (sections[at].sh_addr) memcpy((void *)sections[at].sh_addr, object + sections[at].sh_offset, sections[at].sh_size);
    }
    mprotect(place, 1 << 16, PROT_READ | PROT_EXEC);
    loaded();
    int result = fresh(5);
    tell(2, 0);
    unloaded();
    return result;
}
"#;

fn session() -> Session {
    session_with(&[])
}

/// With an argument only the code itself is loaded.
fn session_with(arguments: &[&str]) -> Session {
    let code = Build::source(Compiler::Gcc, "fresh", CODE).flags("-c -g -O0 -mno-red-zone").path();
    let program = Build::source(Compiler::Gcc, "registers", LOADER).flags("-g -O0").path();
    let mut session = Session::empty();
    session.engine.create(session.system, &spec(&program, &[&[code.to_str().unwrap()], arguments].concat())).unwrap();
    assert_eq!(session.stop().reason, StopReason::Created);
    session
}

#[test]
fn registered_code_has_names_until_it_is_taken_back() {
    let mut session = session();
    session.run_to("loaded");
    let found = session.engine.find_name("fresh").unwrap();
    assert!(found[0].module.starts_with("jit_") && found[0].body.is_some(), "{found:?}");
    let line = session.engine.line_at(found[0].address).unwrap();
    let defined = line_of(CODE, "int fresh");
    assert_eq!((line.line, line.file.rsplit('/').next()), (defined, Some("fresh.c")));
    assert_eq!(
        session.engine.symbol_at(found[0].address + 3).unwrap().to_string(),
        format!("{}!fresh+0x3", found[0].module)
    );
    session.run_to("unloaded");
    assert!(session.engine.find_name("fresh").is_err());
    assert_eq!(session.go().reason, StopReason::Exited { status: outpost_target::ExitStatus::Code(11) });
}

#[test]
fn a_breakpoint_that_waits_for_registered_code_is_set_when_the_code_is_done() {
    let mut session = session();
    session.bp("fresh");
    session.bp(&format!("`fresh.c:{}`", line_of(CODE, "// inside")));
    for line in [line_of(CODE, "int twice"), line_of(CODE, "// inside")] {
        let stop = session.go();
        assert!(matches!(stop.reason, StopReason::Breakpoint { .. }), "{stop:?}");
        assert_eq!(session.line(&stop), line);
        assert_eq!(session.functions()[..2], ["fresh", "main"]);
        assert_eq!(session.local("given"), 5);
    }
    assert_eq!(session.local("twice"), 10);
    assert_eq!(session.go().reason, StopReason::Exited { status: outpost_target::ExitStatus::Code(11) });
}

/// At each instruction, by its call frame information, which nobody has relocated where the debugger reads it.
#[test]
fn stacks_in_registered_code_are_whole_at_each_instruction() {
    for arguments in [&[][..], &["code only"]] {
        let mut session = session_with(arguments);
        session.bp("odd");
        let mut stop = session.go();
        let rbx = session.engine.register("rbx").unwrap().as_u64();
        let mut seen = 0;
        while session.functions()[0] == "odd" {
            assert_eq!(session.functions()[..3], ["odd", "fresh", "main"], "{arguments:?} {seen} {stop:?}");
            session.engine.select_frame(1).unwrap();
            assert_eq!(session.local("given"), 5, "{seen}");
            assert_eq!(session.engine.register("rbx").unwrap().as_u64(), rbx, "{seen}");
            seen += 1;
            stop = session.step(StepKind::Into, StepUnit::Instruction, StepUntil::Count(1));
        }
        assert_eq!(seen, 7);
        assert_eq!(session.functions()[..2], ["fresh", "main"]);
    }
}
