//! Kinds of failures, and signals in words.

use outpost_target::SigInfo;

use super::SignalWords;
use crate::events::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
use crate::{signal_code_name, signal_name};

/// What kind of failure stopped a process. Names are parts of bucket strings and stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultClass {
    /// A read near address 0.
    NullPointerRead,
    /// A write near address 0.
    NullPointerWrite,
    /// A call or jump to an address near 0.
    NullPointerCall,
    /// A read where nothing is.
    WildPointerRead,
    /// A write where nothing is.
    WildPointerWrite,
    /// A call or jump to where no code is.
    WildPointerCall,
    /// A read or write through an address that no pointer can have.
    NonCanonicalPointer,
    /// A write to memory that is mapped read-only.
    ReadOnlyWrite,
    /// A read of memory that may not be read.
    NoAccessRead,
    /// A call or jump into data.
    NotExecutable,
    /// The stack is used up.
    StackOverflow,
    /// A mapped file is shorter than its mapping.
    FileTruncated,
    /// An access whose address is not a multiple of what the instruction wants.
    Misaligned,
    /// A hardware error in memory.
    MemoryError,
    /// An integer was divided by 0.
    DivideByZero,
    /// The quotient of a division does not fit.
    DivideOverflow,
    /// A floating-point exception.
    FloatingPoint,
    /// Bytes that are no instruction.
    IllegalInstruction,
    /// An instruction that compilers put where control must not come, and `__builtin_trap`.
    TrapInstruction,
    /// An instruction that only the kernel may execute.
    PrivilegedInstruction,
    /// A breakpoint instruction of the program's own.
    Breakpoint,
    /// A system call that a filter forbids.
    ForbiddenSystemCall,
    /// `assert`.
    AssertionFailure,
    /// The allocator was given the same pointer twice.
    DoubleFree,
    /// The allocator was given what it never gave out.
    InvalidFree,
    /// A pointer came out of memory that was freed.
    UseAfterFree,
    /// The allocator found its own structures damaged.
    HeapCorruption,
    /// A function found its return address's guard overwritten.
    StackBufferOverflow,
    /// A checked library function would have written beyond its buffer.
    BufferOverflow,
    /// Memory was asked for that there is not.
    OutOfMemory,
    /// A sanitizer reported an error.
    SanitizerError,
    /// A Rust panic.
    RustPanic,
    /// A C++ exception that is being thrown, and may be caught.
    ThrownException,
    /// A C++ exception that nothing catches.
    UncaughtException,
    /// A pure virtual function was called.
    PureVirtualCall,
    /// `std::terminate` for another reason.
    Terminate,
    /// `abort` without anything said.
    Abort,
    /// A signal that another process or the program itself sent.
    Signal,
    /// Nothing failed: the process was stopped for another reason.
    NoFault,
}

impl FaultClass {
    /// Its name in bucket strings.
    pub fn name(self) -> &'static str {
        match self {
            FaultClass::NullPointerRead => "NULL_POINTER_READ",
            FaultClass::NullPointerWrite => "NULL_POINTER_WRITE",
            FaultClass::NullPointerCall => "NULL_POINTER_CALL",
            FaultClass::WildPointerRead => "WILD_POINTER_READ",
            FaultClass::WildPointerWrite => "WILD_POINTER_WRITE",
            FaultClass::WildPointerCall => "WILD_POINTER_CALL",
            FaultClass::NonCanonicalPointer => "NON_CANONICAL_POINTER",
            FaultClass::ReadOnlyWrite => "READ_ONLY_WRITE",
            FaultClass::NoAccessRead => "NO_ACCESS_READ",
            FaultClass::NotExecutable => "NOT_EXECUTABLE",
            FaultClass::StackOverflow => "STACK_OVERFLOW",
            FaultClass::FileTruncated => "FILE_TRUNCATED",
            FaultClass::Misaligned => "MISALIGNED_ACCESS",
            FaultClass::MemoryError => "MEMORY_ERROR",
            FaultClass::DivideByZero => "DIVIDE_BY_ZERO",
            FaultClass::DivideOverflow => "DIVIDE_OVERFLOW",
            FaultClass::FloatingPoint => "FLOATING_POINT",
            FaultClass::IllegalInstruction => "ILLEGAL_INSTRUCTION",
            FaultClass::TrapInstruction => "TRAP_INSTRUCTION",
            FaultClass::PrivilegedInstruction => "PRIVILEGED_INSTRUCTION",
            FaultClass::Breakpoint => "BREAKPOINT",
            FaultClass::ForbiddenSystemCall => "FORBIDDEN_SYSTEM_CALL",
            FaultClass::AssertionFailure => "ASSERTION_FAILURE",
            FaultClass::DoubleFree => "DOUBLE_FREE",
            FaultClass::InvalidFree => "INVALID_FREE",
            FaultClass::UseAfterFree => "USE_AFTER_FREE",
            FaultClass::HeapCorruption => "HEAP_CORRUPTION",
            FaultClass::StackBufferOverflow => "STACK_BUFFER_OVERFLOW",
            FaultClass::BufferOverflow => "BUFFER_OVERFLOW",
            FaultClass::OutOfMemory => "OUT_OF_MEMORY",
            FaultClass::SanitizerError => "SANITIZER_ERROR",
            FaultClass::RustPanic => "RUST_PANIC",
            FaultClass::ThrownException => "THROWN_EXCEPTION",
            FaultClass::UncaughtException => "UNCAUGHT_EXCEPTION",
            FaultClass::PureVirtualCall => "PURE_VIRTUAL_CALL",
            FaultClass::Terminate => "TERMINATE",
            FaultClass::Abort => "ABORT",
            FaultClass::Signal => "SIGNAL",
            FaultClass::NoFault => "NO_FAULT",
        }
    }
}

impl std::fmt::Display for FaultClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// `si_code` of signals that the kernel raises without saying more (sigaction(2)).
pub(super) const SI_KERNEL: i32 = 0x80;

/// A signal with its code in words (sigaction(2), `si_code`).
pub(super) fn words(info: &SigInfo) -> SignalWords {
    let meaning = match (info.signo, info.code) {
        (SIGSEGV, 1) => "nothing is mapped at the address".to_owned(),
        (SIGSEGV, 2) => "the mapping does not allow the access".to_owned(),
        (SIGSEGV, SI_KERNEL) => {
            "the processor refused the instruction, as it does with non-canonical addresses and with what \
                                 only the kernel may execute"
                .to_owned()
        }
        (SIGBUS, 1) => "the address is not aligned as the instruction wants it".to_owned(),
        (SIGBUS, 2) => "nothing is behind the mapping there: the file ends before it".to_owned(),
        (SIGBUS, 4 | 5) => "the memory has a hardware error".to_owned(),
        (SIGFPE, 1) => "an integer was divided by zero, or the quotient does not fit".to_owned(),
        (SIGFPE, _) => "a floating-point operation failed".to_owned(),
        (SIGILL, _) => "the bytes are no instruction that may be executed".to_owned(),
        (SIGTRAP, _) => "a trap instruction was executed".to_owned(),
        (SIGSYS, _) => "a filter forbids the system call".to_owned(),
        (SIGABRT, code) if code <= 0 => format!("sent by process {:x}, as abort(3) does to itself", info.sender.0),
        (_, code) if code <= 0 => format!("sent by process {:x}", info.sender.0),
        _ => String::new(),
    };
    SignalWords {
        name: signal_name(info.signo),
        code: signal_code_name(info.signo, info.code).unwrap_or_default().to_owned(),
        meaning,
    }
}
