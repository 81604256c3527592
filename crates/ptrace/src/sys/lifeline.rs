//! The lifeline's machine code, as it stands in this program's own text, to be copied into debuggees.
//!
//! Position-independent, reads its table relative to rip, calls nothing, needs no stack beyond the signal frame. See
//! [`crate::lifeline`] for what it is for and for the table's layout.
//!
//! Offsets in `ucontext_t`: `uc_mcontext.gregs` at 40, `REG_RIP` is 16, `REG_EFL` is 17 (glibc `sys/ucontext.h`, kernel
//! `struct sigcontext_64`), `uc_sigmask` at 296. `siginfo_t.si_code` is at 8, `si_addr` at 16. Codes: `asm-generic/siginfo.h`.

std::arch::global_asm!(
    ".pushsection .rodata.outpost_lifeline, \"a\", @progbits",
    ".balign 16",
    ".globl outpost_lifeline_start",
    ".globl outpost_lifeline_handler",
    ".globl outpost_lifeline_end",
    "outpost_lifeline_start:",
    // SA_RESTORER: rt_sigreturn, in the very bytes by which unwinders know a signal frame (glibc's `__restore_rt`).
    "    mov rax, 15",
    "    syscall",
    "    ud2",
    ".balign 16",
    // handler(edi = signal, rsi = siginfo, rdx = ucontext): keeps these three for the program's own handler.
    "outpost_lifeline_handler:",
    "    mov eax, dword ptr [rsi + 8]",
    "    lea r9, [rip + outpost_lifeline_table]",
    "    mov r10, qword ptr [rdx + 168]",
    "    cmp edi, 4", // SIGILL
    "    je 30f",
    "    cmp edi, 11", // SIGSEGV, SIGBUS: of a condition in a jump pad
    "    je 30f",
    "    cmp edi, 7",
    "    je 30f",
    "    cmp edi, 5", // SIGTRAP
    "    jne 60f",
    "    cmp eax, 2", // TRAP_TRACE: a single step whose tracer is gone
    "    je 10f",
    "    cmp eax, 1", // TRAP_BRKPT: the same at the end of a system call (user_single_step_report)
    "    je 10f",
    "    cmp eax, 4", // TRAP_HWBKPT: a debug register whose tracer is gone
    "    je 20f",
    "    cmp eax, 0x80", // SI_KERNEL: int3, with pc behind it
    "    jne 60f",
    "    dec r10",
    "    jmp 31f",
    "10:",
    "    and dword ptr [rdx + 176], 0xfffffeff", // TF off
    "    ret",
    "20:",
    "    or dword ptr [rdx + 176], 0x10000", // RF on: the instruction runs once without its breakpoint
    "    ret",
    // A fault at a site leads to its pad.
    "30:",
    "    test eax, eax", // a signal that somebody sent is the program's business
    "    jle 60f",
    "31:",
    "    mov ecx, dword ptr [r9 + 128]", // entries
    "    lea r8, [r9 + 144]",
    "    test ecx, ecx",
    "    jz 60f",
    "40:",
    "    cmp qword ptr [r8], r10",
    "    je 50f",
    "    add r8, 16",
    "    dec ecx",
    "    jnz 40b",
    // Or a page that was taken from the program to watch it: its entry has the program's own protection.
    "43:",
    "    cmp edi, 11",
    "    jne 60f",
    "    mov r10, qword ptr [rsi + 16]", // si_addr
    "    and r10, -4096",
    "    mov ecx, dword ptr [r9 + 128]",
    "    lea r8, [r9 + 144]",
    "41:",
    "    cmp qword ptr [r8], r10",
    "    je 42f",
    "    add r8, 16",
    "    dec ecx",
    "    jnz 41b",
    "    jmp 60f",
    "42:",
    "    mov rcx, qword ptr [r8 + 8]",
    "    cmp rcx, 8",
    "    jae 60f",
    "    mov r11d, dword ptr [rdx + 192]", // REG_ERR: bit 1 a write, bit 4 a fetch (SDM vol. 3A, 4.7)
    "    test r11d, 16",
    "    jnz 60f",
    "    shr r11d",
    "    and r11d, 1",
    "    inc r11d", // PROT_READ or PROT_WRITE
    "    test ecx, r11d",
    "    jz 60f", // the program's own protection forbids it, too
    "    push rdi",
    "    push rsi",
    "    push rdx",
    "    push rax",
    "    mov rdi, r10",
    "    mov esi, 4096",
    "    mov edx, ecx",
    "    mov eax, 10", // mprotect
    "    syscall",
    "    mov ecx, eax",
    "    pop rax",
    "    pop rdx",
    "    pop rsi",
    "    pop rdi",
    "    test ecx, ecx",
    "    jnz 60f",
    "    ret",
    "50:",
    "    mov rcx, qword ptr [r8 + 8]",
    "    cmp rcx, 0x100",
    "    jb 80f",
    "    mov qword ptr [rdx + 168], rcx",
    "    ret",
    // No pad: the original byte goes back, and the instruction is executed where it stands.
    "80:",
    "    cmp edi, 11", // the program's own, at a place that was a site once
    "    je 43b",
    "    cmp edi, 7",
    "    je 60f",
    "    cmp byte ptr [r10], 0xd6",
    "    je 81f",
    "    cmp word ptr [r10], 0x0b0f", // ud2 is undefined without us, too
    "    je 60f",
    "    mov qword ptr [rdx + 168], r10", // another thread, or the server, has done it
    "    ret",
    // One that faults by itself is a site of an earlier server, that died like this one: its lifeline knows the way.
    "81:",
    "    cmp byte ptr [r8 + 8], 0xd6",
    "    je 60f",
    "    mov qword ptr [rdx + 168], r10",
    "    push rdi",
    "    push rsi",
    "    push rdx",
    "    lea rdi, [rip + outpost_lifeline_memory]",
    "    mov esi, 0x80001", // O_WRONLY | O_CLOEXEC
    "    xor edx, edx",
    "    mov eax, 2", // open
    "    syscall",
    "    test eax, eax",
    "    js 82f",
    "    mov edi, eax",
    "    lea rsi, [r8 + 8]",
    "    mov edx, 1",
    "    mov eax, 18", // pwrite64, at r10
    "    syscall",
    "    push rax",
    "    mov eax, 3", // close
    "    syscall",
    "    pop rax",
    "    cmp eax, 1",
    "    je 83f",
    "82:",
    "    mov rdi, r10",
    "    and rdi, -4096",
    "    mov esi, 4096",
    "    mov edx, 7", // PROT_READ | PROT_WRITE | PROT_EXEC; it stays, since another thread may be just here
    "    mov eax, 10", // mprotect
    "    syscall",
    "    test eax, eax",
    "    jnz 84f",
    "    mov cl, byte ptr [r8 + 8]",
    "    mov byte ptr [r10], cl",
    "83:",
    "    add rsp, 24",
    "    ret",
    "84:",
    "    pop rdx",
    "    pop rsi",
    "    pop rdi",
    "    mov eax, dword ptr [rsi + 8]",
    // The program's own action.
    "60:",
    "    xor ecx, ecx",
    "    cmp edi, 4",
    "    je 63f",
    "    mov ecx, 32",
    "    cmp edi, 5",
    "    je 63f",
    "    mov ecx, 64",
    "    cmp edi, 7",
    "    je 63f",
    "    mov ecx, 96",
    "63:",
    "    mov r8, qword ptr [r9 + rcx]", // its sa_handler
    "    cmp r8, 1",
    "    ja 70f",
    "    jb 61f",
    "    test eax, eax", // ignored: a signal that was sent ends here, a fault goes the default way
    "    jg 61f",
    "    ret",
    // Default: put SIG_DFL back; a fault happens again, a signal that was sent is sent again.
    "61:",
    "    push rdi",
    "    push rax",
    "    lea rsi, [rip + outpost_lifeline_default]",
    "    xor edx, edx",
    "    mov r10d, 8",
    "    mov eax, 13", // rt_sigaction
    "    syscall",
    "    pop rax",
    "    pop r8",
    "    test eax, eax",
    "    jg 62f",
    "    mov eax, 39", // getpid
    "    syscall",
    "    mov r9d, eax",
    "    mov eax, 186", // gettid
    "    syscall",
    "    mov edi, r9d",
    "    mov esi, eax",
    "    mov edx, r8d",
    "    mov eax, 234", // tgkill: delivered when the frame's mask returns
    "    syscall",
    "62:",
    "    ret",
    // A handler of its own: with the mask that it would have been entered with.
    "70:",
    "    mov rax, qword ptr [rdx + 296]",            // uc_sigmask
    "    or rax, qword ptr [r9 + rcx + 24]",         // its sa_mask
    "    test dword ptr [r9 + rcx + 8], 0x40000000", // SA_NODEFER
    "    jnz 71f",
    "    lea ecx, [rdi - 1]",
    "    bts rax, rcx",
    "71:",
    "    push rdi",
    "    push rsi",
    "    push rdx",
    "    push r8",
    "    push rax",
    "    mov edi, 2", // SIG_SETMASK
    "    mov rsi, rsp",
    "    xor edx, edx",
    "    mov r10d, 8",
    "    mov eax, 14", // rt_sigprocmask
    "    syscall",
    "    pop rax",
    "    pop r8",
    "    pop rdx",
    "    pop rsi",
    "    pop rdi",
    "    jmp r8",
    "outpost_lifeline_memory:",
    "    .asciz \"/proc/self/mem\"",
    ".balign 8",
    "outpost_lifeline_default:", // struct kernel_sigaction: SIG_DFL, no flags, no restorer, no mask
    "    .quad 0, 0, 0, 0",
    ".balign 16",
    // The table begins where the code ends; outside, it is written behind the copy.
    "outpost_lifeline_table:",
    "outpost_lifeline_end:",
    ".popsection",
);

unsafe extern "C" {
    static outpost_lifeline_start: u8;
    static outpost_lifeline_handler: u8;
    static outpost_lifeline_end: u8;
}

/// The code; the restorer is at offset 0, the table follows the last byte.
pub(crate) fn code() -> &'static [u8] {
    let start = &raw const outpost_lifeline_start;
    // SAFETY: both symbols are of the one section above, which is constant for the program's life; only its bytes are read.
    unsafe { std::slice::from_raw_parts(start, (&raw const outpost_lifeline_end).offset_from_unsigned(start)) }
}

/// Offset of the handler in [`code`].
pub(crate) fn handler_offset() -> u64 {
    // SAFETY: as above; no byte is read.
    unsafe { (&raw const outpost_lifeline_handler).offset_from_unsigned(&raw const outpost_lifeline_start) as u64 }
}
