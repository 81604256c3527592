//! Putting it together: from a stop to the verdict.

use outpost_base::{MemoryReader, Va};
use outpost_target::{SigInfo, StopReason, TargetError};

use super::access::{CauseParts, access_cause, access_class, bad_register, choose};
use super::origin::{Described, Tracer};
use super::x86_64::{self, Trap};
use super::{
    AccessKind, AddressKind, AddressNote, Analysis, FaultAccess, FaultClass, OriginStep, ProgramMessage, abort,
    address, blame, fault, recursion, terminate::is_terminate,
};
use crate::disassembly::{CodeSymbols, Instruction, NoSymbols, decode};
use crate::events::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
use crate::stack::PhysicalStack;
use crate::{Engine, EngineError, StackFrame, SymbolState, ThreadOrdinal};

/// Frames that are looked at; a recursion shows in fewer.
const FRAMES: usize = 512;
/// Bytes of `siginfo_t`, and where it lies above a signal frame's `ucontext` (Linux arch/x86/include/asm/sigframe.h,
/// `struct rt_sigframe`: the user context of 304 bytes, then the signal's).
const SIGINFO: u64 = 128;
const SIGINFO_IN_FRAME: u64 = 304;

/// The engine's symbols, for operands.
struct Names<'a>(&'a mut Engine);

impl CodeSymbols for Names<'_> {
    fn symbolize(&mut self, at: Va) -> Option<String> {
        self.0.symbol_at(at).map(|symbol| symbol.to_string())
    }
}

/// A pointer that led astray.
#[derive(Debug, Clone)]
pub(super) struct BadPointer {
    pub(super) value: Option<u64>,
    /// Where it was read from, if that is proven.
    pub(super) memory: Option<Va>,
}

/// What a fault came to.
pub(super) struct Verdict {
    pub(super) class: FaultClass,
    pub(super) cause: String,
    /// What the program's runtime said, where the cause is more than that.
    pub(super) said: String,
    pub(super) access: Option<FaultAccess>,
    pub(super) address: Option<AddressNote>,
    pub(super) origin: Vec<OriginStep>,
    pub(super) bad: Option<BadPointer>,
}

impl Verdict {
    pub(super) fn plain(class: FaultClass, cause: impl Into<String>) -> Verdict {
        Verdict {
            class,
            cause: cause.into(),
            said: String::new(),
            access: None,
            address: None,
            origin: Vec::new(),
            bad: None,
        }
    }
}

/// The frame that failed, and how.
pub(super) struct Subject {
    pub(super) thread: ThreadOrdinal,
    /// Physical frame of the failing instruction.
    pub(super) frame: usize,
    pub(super) signal: Option<SigInfo>,
    pub(super) physical: PhysicalStack,
    pub(super) rows: Vec<StackFrame>,
}

impl Engine {
    /// Says what is wrong with the current process: of the thread that the last event's signal struck, else of the
    /// current thread.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Running`]; [`EngineError::Target`]; [`EngineError::Cancelled`].
    pub fn analyze(&mut self) -> Result<Analysis, EngineError> {
        self.need_stopped()?;
        let before = self.current_thread()?;
        let frame = self.scope.frame();
        let signal = self.last_event.as_ref().and_then(|event| match &event.reason {
            StopReason::Signal(info) => Some((event.thread, info.clone())),
            _ => None,
        });
        let here = self.current_process()?;
        let signal = signal.filter(|(thread, _)| self.process_of(*thread).is_ok_and(|process| process.ordinal == here));
        let (thread, signal) = match signal {
            Some((thread, signal)) => (thread, Some(signal)),
            None => (before, None),
        };
        self.select_thread(thread)?;
        let found = self.analyze_thread(thread, signal);
        if thread != before {
            self.select_thread(before)?;
            self.select_frame(frame)?;
        }
        found
    }

    fn analyze_thread(&mut self, thread: ThreadOrdinal, signal: Option<SigInfo>) -> Result<Analysis, EngineError> {
        let mut stacks = self.physical_stacks(&[thread], FRAMES)?;
        let physical = stacks.pop().unwrap_or(Err(TargetError::Gone { process: Default::default() }))?;
        let stack = self.describe_stack(thread, &physical, usize::MAX)?;
        let mut subject = Subject { thread, frame: 0, signal, physical, rows: stack.frames.clone() };
        let mut notes = Vec::new();
        self.look_through_handler(&mut subject, &mut notes);
        let (instruction_at, instruction) = self.failing_instruction(&subject);
        let shown = instruction.as_ref().map(Instruction::line).unwrap_or_default();
        let mut messages = Vec::new();
        let mut verdict = self.verdict(&subject, instruction.as_ref(), &mut messages)?;
        let first = subject.rows.iter().position(|row| row.physical as usize >= subject.frame).unwrap_or(0);
        let process = self.process_of(thread)?.ordinal;
        let failed = subject.rows.get(first..).unwrap_or_default();
        let heap = self.ask_heap(process, &subject.physical, failed, &mut verdict, &mut notes)?;
        // Where no code is, no function is to blame; the data there may have a name all the same.
        let pc = subject.physical.frames.get(subject.frame).map(|frame| frame.address.address());
        let is_there = |access: &FaultAccess| access.kind == AccessKind::Execute && access.address == pc;
        let is_call = verdict.access.as_ref().is_some_and(is_there);
        let is_code = |row: &StackFrame| !is_call || row.physical as usize != subject.frame;
        let rows = first..subject.rows.len();
        let own: Vec<usize> =
            rows.filter(|&at| is_code(&subject.rows[at]) && !self.is_runtime(&subject.rows[at])).collect();
        let mut blamed = own.first().copied();
        let mut found_cycle = None;
        if verdict.class == FaultClass::StackOverflow
            && let Some(AddressNote { kind: AddressKind::StackGuard { stack: range }, .. }) = &verdict.address
        {
            found_cycle = recursion::cycle_of(&stack, *range);
        }
        let bucket = match &found_cycle {
            Some(cycle) => {
                verdict.cause = format!("endless recursion: {}", cycle.cycle.join(" called by "));
                let least = cycle.cycle.first();
                let is_named = |row: &StackFrame, name: &str| blame::function_words(row) == name;
                blamed = least.and_then(|least| subject.rows.iter().position(|row| is_named(row, least))).or(blamed);
                let mut members: Vec<&StackFrame> =
                    cycle.cycle.iter().filter_map(|name| subject.rows.iter().find(|row| is_named(row, name))).collect();
                members.sort_by(|one, other| one.function.cmp(&other.function));
                let frame = blamed.and_then(|at| subject.rows.get(at));
                blame::bucket(verdict.class.name(), frame, members.into_iter())
            }
            None => {
                // Without a frame of its own a program's innermost one says most, except those that only end it.
                let mut rest = first..subject.rows.len();
                let innermost = rest.clone().next();
                let telling = rest.find(|at| !blame::is_runtime_function(&subject.rows[*at].function));
                blamed = blamed.or(telling).or(innermost);
                let frame = blamed.and_then(|at| subject.rows.get(at));
                let own = own.iter().filter_map(|at| subject.rows.get(*at));
                blame::bucket(verdict.class.name(), frame, own)
            }
        };
        let (_, _, thread_id) = self.locate(thread)?;
        Ok(Analysis {
            thread,
            process_id: self.process_of(thread)?.id(),
            thread_id,
            class: verdict.class,
            cause: verdict.cause,
            signal: subject.signal.as_ref().map(fault::words),
            instruction_at,
            instruction: shown,
            access: verdict.access,
            address: verdict.address,
            origin: verdict.origin,
            messages,
            heap,
            recursion: found_cycle,
            stack,
            blamed,
            bucket,
            notes,
        })
    }

    pub(super) fn is_runtime(&self, frame: &StackFrame) -> bool {
        let module = self.module_at(frame.lookup_address);
        if blame::is_runtime(frame, module.as_ref()) {
            return true;
        }
        // What was linked statically and has no debug info, in a program that has some, is a library's.
        let has_lines = module.is_some_and(|module| module.is_main && module.status == SymbolState::Dwarf);
        has_lines && frame.source.is_none() && self.is_static_program()
    }

    /// Whether the current process has no libraries: its program is all but the kernel's page.
    fn is_static_program(&self) -> bool {
        let modules = self.current_process().and_then(|process| self.modules(process));
        modules.is_ok_and(|modules| modules.iter().all(|module| module.is_main || module.path == "[vdso]"))
    }

    /// A program's own handler may have seen the signal and ended the process by another: then what it was called for
    /// is the failure.
    fn look_through_handler(&mut self, subject: &mut Subject, notes: &mut Vec<String>) {
        let own = subject.signal.as_ref();
        let is_sent = own.is_none_or(|info| info.code <= 0);
        let Some(at) = subject.physical.frames.iter().position(|frame| frame.is_signal_frame).filter(|_| is_sent)
        else {
            return;
        };
        let Some(info) = self.signal_of_frame(&subject.physical, at) else { return };
        if ![SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS].contains(&info.signo) {
            return;
        }
        let name = crate::signal_name(info.signo);
        let handler = subject.rows.iter().rev().find(|row| (row.physical as usize) < at && row.is_physical());
        let handler = handler.map(|row| row.function.clone()).unwrap_or_default();
        notes.push(format!("the program's own handler {handler} was running for {name}"));
        subject.frame = at + 1;
        subject.signal = Some(info);
    }

    fn signal_of_frame(&mut self, stack: &PhysicalStack, at: usize) -> Option<SigInfo> {
        let sp = stack.frames.get(at)?.registers.sp();
        let raw = self.memory().ok()?.read_vec(sp + SIGINFO_IN_FRAME, SIGINFO).ok()?;
        let word = |at: usize| -> Option<i32> { Some(i32::from_le_bytes(*raw.get(at..)?.first_chunk()?)) };
        let (signo, errno, code) = (word(0)?, word(4)?, word(8)?);
        let long = u64::from_le_bytes(*raw.get(16..)?.first_chunk()?);
        let (address, sender) = if code > 0 { (Va(long), 0) } else { (Va(0), long as u32) };
        Some(SigInfo {
            signo,
            code,
            errno,
            address,
            sender: outpost_base::ProcessId(sender),
            raw,
            fatal_by_default: false,
        })
    }

    fn failing_instruction(&mut self, subject: &Subject) -> (Va, Option<Instruction>) {
        let Some(frame) = subject.physical.frames.get(subject.frame) else { return (Va(0), None) };
        let at = frame.address.address();
        let Ok(mut memory) = self.memory() else { return (at, None) };
        let arch = self.arch();
        let mut code = vec![0; arch.max_instruction_len()];
        let got = memory.read(at, &mut code);
        if got == 0 {
            return (at, None);
        }
        (at, Some(decode(arch, at, &code[..got], &mut Names(self))))
    }

    fn verdict(
        &mut self,
        subject: &Subject,
        instruction: Option<&Instruction>,
        messages: &mut Vec<ProgramMessage>,
    ) -> Result<Verdict, EngineError> {
        let own = subject.rows.iter().skip_while(|row| (row.physical as usize) < subject.frame);
        let own: Vec<StackFrame> = own.cloned().collect();
        let names = |name: &str| own.iter().any(|row| row.function == name);
        if let Some(panic) = self.rust_panic(&own) {
            let place = if panic.place.is_empty() { String::new() } else { format!(" at {}", panic.place) };
            let mut cause = format!("panicked{place}: {}", panic.text);
            let mut earlier = self.earlier_rust_panics(&own);
            earlier.retain(|text| *text != panic.text);
            if let Some(first) = earlier.first() {
                cause.push_str(&format!("; it was unwinding from a panic already: {first}"));
            }
            let source = "Rust panic before that";
            let earlier = earlier.into_iter().rev();
            messages.push(panic);
            messages.extend(earlier.map(|text| ProgramMessage { source: source.into(), text, place: String::new() }));
            return Ok(Verdict::plain(FaultClass::RustPanic, cause));
        }
        if let Some(cause) = self.refused_allocation(subject.thread, &subject.physical, &own)? {
            return Ok(Verdict::plain(FaultClass::OutOfMemory, cause));
        }
        let signal = subject.signal.as_ref();
        if let Some(info) = signal.filter(|info| matches!(info.signo, SIGSEGV | SIGBUS) && info.code > 0) {
            return self.access_fault(subject, info, instruction, &own);
        }
        match signal.map(|info| (info.signo, info.code)) {
            Some((SIGFPE, 1)) => return self.division(subject, instruction),
            Some((SIGFPE, code)) if code > 0 => {
                let code = crate::signal_code_name(SIGFPE, code).unwrap_or("SIGFPE");
                return Ok(Verdict::plain(
                    FaultClass::FloatingPoint,
                    format!("a floating-point operation failed ({code})"),
                ));
            }
            Some((SIGILL, code)) if code > 0 => return Ok(illegal(instruction)),
            Some((SIGTRAP, _)) => {
                return Ok(Verdict::plain(
                    FaultClass::Breakpoint,
                    "the program executed a trap instruction of its own",
                ));
            }
            Some((SIGSYS, _)) => {
                let number = signal.and_then(|info| info.raw.get(24..28)?.try_into().ok().map(i32::from_le_bytes));
                let name = |number: i32| u64::try_from(number).ok().and_then(crate::syscall_name);
                let words = |number: i32| name(number).map_or_else(|| format!("number {number}"), str::to_owned);
                let number = number.map(|number| format!(" {}", words(number))).unwrap_or_default();
                let cause = format!("a filter (seccomp) forbids system call{number}");
                return Ok(Verdict::plain(FaultClass::ForbiddenSystemCall, cause));
            }
            Some((SIGABRT, _)) | None => {}
            Some((signo, _)) => {
                let name = crate::signal_name(signo);
                let sender = signal.map(|info| info.sender.0).unwrap_or_default();
                let cause = format!("{name} was sent by process {sender:x}");
                return Ok(Verdict::plain(FaultClass::Signal, cause));
            }
        }
        if names("__cxa_pure_virtual") || names("__cxxabiv1::__cxa_pure_virtual") {
            let cause = "a pure virtual function was called: the object is being constructed or destroyed";
            return Ok(Verdict::plain(FaultClass::PureVirtualCall, cause));
        }
        if let Some(thrown) =
            own.first().filter(|row| row.function == "__cxa_throw").and_then(|_| self.throwing(messages))
        {
            return Ok(thrown);
        }
        if own.iter().any(|row| is_terminate(&row.function)) {
            return Ok(self.termination(&own, messages));
        }
        let sp = subject.physical.frames.first().map_or(Va(0), |frame| frame.registers.sp());
        if let Some(report) = self.sanitizer_report(sp) {
            let cause = format!("{}: {}", report.source, report.text);
            messages.push(report);
            return Ok(Verdict::plain(FaultClass::SanitizerError, cause));
        }
        if signal.is_none() && !names("abort") {
            let cause = self.last_event.as_ref().map(|event| event.description()).unwrap_or_default();
            let cause = if cause.is_empty() {
                "nothing failed".to_owned()
            } else {
                format!("nothing failed; last event: {cause}")
            };
            return Ok(Verdict::plain(FaultClass::NoFault, cause));
        }
        let message = match self.library_assertion(subject) {
            Some(message) => Some(message),
            None => self.abort_message(),
        };
        Ok(match message {
            Some(message) => {
                let (class, meaning) = abort::class_of(&message.text);
                let cause = match meaning {
                    "" => message.text.clone(),
                    meaning => format!("{} ({meaning})", message.text),
                };
                let said = message.text.clone();
                messages.push(message);
                Verdict { said, ..Verdict::plain(class, cause) }
            }
            None => Verdict::plain(FaultClass::Abort, "the program called abort"),
        })
    }

    /// A division that failed.
    fn division(&mut self, subject: &Subject, instruction: Option<&Instruction>) -> Result<Verdict, EngineError> {
        let process = self.process_of(subject.thread)?.ordinal;
        let unknown = || Verdict::plain(FaultClass::DivideByZero, "an integer was divided by zero");
        let Some(instruction) = instruction else { return Ok(unknown()) };
        let Some(Trap::Divide(register)) = x86_64::trap_of(instruction.at, &instruction.bytes) else {
            return Ok(unknown());
        };
        let size = x86_64::divisor_size(instruction.at, &instruction.bytes).unwrap_or(8);
        let uses = x86_64::memory_uses(instruction.at, &instruction.bytes);
        let mut memory = self.memory_of(process)?;
        let mut tracer = Tracer::new(self, process, subject.physical.clone());
        let (value, described) = match (register, uses.first()) {
            (Some(register), _) => {
                let described = tracer.register(subject.frame, instruction.at, register);
                (tracer.value(subject.frame, register), described)
            }
            (None, Some(used)) => {
                let described = tracer.operand(subject.frame, instruction.at, &used.operand);
                let at = tracer.address_of(subject.frame, &used.operand);
                (at.and_then(|at| memory.read_uint(at, size as usize)), described)
            }
            (None, None) => (None, None),
        };
        let mask = if size >= 8 { u64::MAX } else { (1 << (8 * size)) - 1 };
        let divisor = described.as_ref().filter(|described| !described.derived).map(|described| described.text.clone());
        let mut verdict = match value.map(|value| value & mask) {
            Some(0) | None => {
                let cause = match divisor {
                    Some(name) => format!("an integer was divided by {name}, which is 0"),
                    None => "an integer was divided by zero".to_owned(),
                };
                Verdict::plain(FaultClass::DivideByZero, cause)
            }
            Some(_) => {
                let by = divisor.map(|name| format!(" by {name}")).unwrap_or_default();
                let cause = format!("the quotient of a division{by} does not fit, as that of the least integer by -1");
                Verdict::plain(FaultClass::DivideOverflow, cause)
            }
        };
        verdict.origin = std::mem::take(&mut tracer.steps);
        Ok(verdict)
    }

    /// An access to memory that failed.
    fn access_fault(
        &mut self,
        subject: &Subject,
        info: &SigInfo,
        instruction: Option<&Instruction>,
        own: &[StackFrame],
    ) -> Result<Verdict, EngineError> {
        let process = self.process_of(subject.thread)?.ordinal;
        let Some(frame) = subject.physical.frames.get(subject.frame) else {
            return Ok(Verdict::plain(FaultClass::WildPointerRead, "an access to memory failed"));
        };
        let (pc, sp) = (frame.address.address(), frame.registers.sp());
        let is_told = info.code != fault::SI_KERNEL;
        let regions = self.regions(process)?;
        let is_code = |at: Va| regions.iter().any(|region| region.range.contains(at) && region.execute);
        if instruction.is_none() || is_told && info.address == pc && !is_code(pc) || !is_code(pc) {
            return self.bad_call(subject, pc, sp);
        }
        if !is_told
            && let Some(instruction) = instruction
            && let Some(verdict) = self.refused_transfer(subject, instruction, sp)?
        {
            return Ok(verdict);
        }
        let instruction =
            instruction.map(|instruction| (instruction.at, instruction.bytes.clone())).unwrap_or_default();
        // General protection, without an address (Intel SDM vol. 3, 6.15).
        if !is_told && x86_64::trap_of(instruction.0, &instruction.1) == Some(Trap::Privileged) {
            let text = decode(self.arch(), instruction.0, &instruction.1, &mut NoSymbols).text;
            let name = text.split_whitespace().next().unwrap_or_default();
            let cause = format!("the program executed '{name}', an instruction that only the kernel may execute");
            return Ok(Verdict::plain(FaultClass::PrivilegedInstruction, cause));
        }
        let uses = x86_64::memory_uses(instruction.0, &instruction.1);
        let mut tracer = Tracer::new(self, process, subject.physical.clone());
        let addresses: Vec<Option<Va>> =
            uses.iter().map(|used| tracer.address_of(subject.frame, &used.operand)).collect();
        let chosen = choose(&uses, &addresses, info, is_told);
        let used = chosen.and_then(|at| uses.get(at)).cloned();
        let computed = chosen.and_then(|at| addresses.get(at).copied().flatten());
        let address = if is_told { Some(info.address) } else { computed };
        let kind = used.as_ref().map_or(AccessKind::Read, |used| used.kind);
        let mut expression = None;
        let mut bad = None;
        if let Some(used) = &used {
            expression = tracer.operand(subject.frame, instruction.0, &used.operand);
            bad = bad_register(&tracer, subject.frame, &used.operand, &regions);
        }
        let bad_value = bad.and_then(|register| tracer.value(subject.frame, register));
        tracer.steps.clear();
        let described = bad.and_then(|register| tracer.register(subject.frame, instruction.0, register));
        let origin = std::mem::take(&mut tracer.steps);
        let is_indexed =
            used.as_ref().is_some_and(|used| used.operand.index.map(|(index, _)| index) == bad && bad.is_some());
        let mut note = match address {
            Some(at) if info.signo == SIGSEGV && matches!(info.code, 1 | 2) => Some(self.refused_address_note(at, sp)?),
            Some(at) => Some(self.address_note(at, sp)?),
            None => None,
        };
        let oversized =
            address.and_then(|at| recursion::oversized_frame(&subject.physical, subject.frame, at, &regions));
        if let (Some(note), Some(frame)) = (&mut note, &oversized) {
            note.kind = AddressKind::StackGuard { stack: frame.stack };
        }
        let size = used.as_ref().map_or(0, |used| used.operand.size);
        let class =
            access_class(kind, note.as_ref(), info, is_told, address.is_some_and(|at| size >= 16 && at.0 % 16 != 0));
        let where_ = own.first().map(|row| row.function.clone()).unwrap_or_default();
        let short = blame::short_name(&where_);
        // An argument is told with the function that it is one of.
        let told = described.clone().map(|bad| Described { text: bad.text.replace(&where_, &short), ..bad });
        let in_runtime = own.first().is_some_and(|row| self.is_runtime(row));
        let cause = access_cause(
            class,
            kind,
            note.as_ref(),
            &CauseParts {
                function: if in_runtime { &short } else { "" },
                expression: expression.as_ref().filter(|found| !found.derived).map(|found| found.text.as_str()),
                bad: told.as_ref(),
                value: bad_value.filter(|value| *value < address::NULL_LIMIT),
                is_indexed,
            },
        );
        let cause = match oversized {
            Some(frame) => {
                let is_it = |row: &&StackFrame| row.physical as usize == frame.frame && row.is_physical();
                let function = subject.rows.iter().find(is_it).map(blame::function_words).unwrap_or_default();
                format!(
                    "{cause}: the frame of {function} takes {:#x} bytes, which is more than is left of it",
                    frame.size
                )
            }
            None => cause,
        };
        let text = bad_value.and_then(|value| address::text_words(value, &regions));
        let cause = text.map_or_else(|| cause.clone(), |text| format!("{cause}; {text}"));
        let mut verdict = Verdict {
            class,
            cause,
            said: String::new(),
            access: Some(FaultAccess {
                kind,
                address,
                size,
                expression: expression
                    .filter(|found| !in_runtime && !found.derived)
                    .map(|found| found.text)
                    .unwrap_or_default(),
            }),
            address: note,
            origin,
            bad: bad_value.map(|value| BadPointer {
                value: Some(value),
                memory: described.as_ref().filter(|found| !found.derived).and_then(|found| found.memory),
            }),
        };
        if in_runtime {
            // What is inlined there is the allocator's as well.
            let function = own.iter().find(|row| row.is_physical()).map(|row| row.function.as_str());
            self.judge_allocator(function.unwrap_or(&where_), &mut verdict);
        }
        Ok(verdict)
    }

    /// A fault in the allocator itself.
    fn judge_allocator(&mut self, function: &str, verdict: &mut Verdict) {
        const INNER: &[&str] = &[
            "_int_malloc",
            "_int_free",
            "_int_realloc",
            "malloc_consolidate",
            "unlink_chunk",
            "tcache_get",
            "malloc",
            "__libc_malloc",
            "calloc",
            "__libc_calloc",
            "sysmalloc",
            "systrim",
            "_int_free_merge_chunk",
        ];
        if verdict.class == FaultClass::StackOverflow {
            return;
        }
        if abort::is_freeing(function) || function == "munmap_chunk" {
            verdict.class = FaultClass::InvalidFree;
            verdict.cause = format!("{function} was given a pointer that the allocator never gave out");
        } else if INNER.contains(&function) {
            verdict.class = FaultClass::HeapCorruption;
            verdict.cause = format!("the heap is damaged: {function} came upon a bad pointer in its own structures");
        }
    }
}

fn illegal(instruction: Option<&Instruction>) -> Verdict {
    match instruction.and_then(|instruction| x86_64::trap_of(instruction.at, &instruction.bytes)) {
        Some(Trap::Undefined) => {
            let cause = "control came to an instruction that compilers put where it must not come (unreachable code, \
                         __builtin_trap, a check that failed)";
            Verdict::plain(FaultClass::TrapInstruction, cause)
        }
        _ => Verdict::plain(FaultClass::IllegalInstruction, "the bytes at the program counter are no instruction"),
    }
}
