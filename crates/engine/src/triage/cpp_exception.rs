//! The C++ exception that a thread is in, by libstdc++'s own records (libsupc++/unwind-cxx.h).

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{Field, TextOptions, Value, demangle};
use outpost_target::ReadRequest;

use super::ProgramMessage;
use crate::{Engine, EngineError, ProcessMemory};

/// `sizeof (__cxa_refcounted_exception)` less its head: from the handlers' record to the object. unwind-cxx.h lays
/// `__cxa_exception` right before the object; its `unwindHeader` is the last 32 bytes.
const RECORD: u64 = 112;
/// Offsets of `nextException` and `handlerCount`, and of the class, which `unwindHeader` begins with.
const NEXT: u64 = 32;
const HANDLERS: u64 = 40;
const CLASS: u64 = 80;
/// Exception class of an exception that refers to another (`std::rethrow_exception`).
const DEPENDENT: u64 = 0x474e_5543_432b_2b01;
/// Exception class of C++ exceptions of GNU, `GNUCC++\0`.
const PRIMARY: u64 = 0x474e_5543_432b_2b00;
/// Bases that are followed.
const BASES: usize = 16;
/// Longest text of `what`.
const LONGEST: usize = 4 << 10;

/// Exceptions that are told.
const MOST: usize = 64;
/// Bytes of the stack that an exception in flight is looked for in.
const STACK: u64 = 16 << 10;

/// A C++ exception of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CppException {
    /// The object that was thrown.
    pub object: Va,
    /// Its type.
    pub type_name: String,
    /// What `what()` says, and fields of its own; `None` if that cannot be told without calling it.
    pub what: Option<String>,
    /// Handlers that hold it; 0 while it is thrown or on its way.
    pub handlers: u32,
}

/// The C++ exceptions that a thread throws or handles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CppExceptions {
    /// How many are on their way to a handler.
    pub uncaught: u32,
    /// All that were found, those on their way first, then the one that was caught last.
    pub exceptions: Vec<CppException>,
}

/// What is known of an exception.
struct Thrown {
    type_info: Va,
    object: Va,
}

impl Engine {
    /// The exception that the current thread handles or throws; `None` if it is in none.
    pub(super) fn cpp_exception(&mut self) -> Option<ProgramMessage> {
        let mut memory = self.memory().ok()?;
        let globals = self.thread_local_by_getter("__cxa_get_globals")?;
        // struct __cxa_eh_globals: the stack of caught exceptions, then how many are uncaught. What nothing catches
        // counts as caught by `std::terminate`.
        let caught = Va(memory.read_u64(globals)?);
        let thrown = thrown(caught, &mut memory)?;
        let name = type_name(thrown.type_info, &mut memory)?;
        let what = self.what(&name, &thrown, &mut memory);
        let text = match what {
            Some(what) => format!("{name}: {what}"),
            None => name,
        };
        Some(ProgramMessage { source: "C++ exception".into(), text, place: String::new() })
    }

    /// The exceptions that the current thread throws or handles, by libstdc++'s own records.
    ///
    /// Those on their way are in no list of the library's; they are found by what its functions keep of them on the stack
    /// and in registers.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Invalid`] in a program without libstdc++.
    pub fn cpp_exceptions(&mut self) -> Result<CppExceptions, EngineError> {
        let mut memory = self.memory()?;
        let none = || EngineError::Invalid { reason: "the thread has no records of C++ exceptions".into() };
        let globals = self.thread_local_by_getter("__cxa_get_globals").ok_or_else(none)?;
        let (caught, count) = (memory.read_u64(globals), memory.read_uint(globals + 8, 4));
        let (mut at, uncaught) = (Va(caught.ok_or_else(none)?), count.unwrap_or(0) as u32);
        let mut found: Vec<CppException> = Vec::new();
        while at != Va(0) && found.len() < MOST {
            self.check_interrupt()?;
            let Some(known) = self.described(at, &mut memory) else { break };
            found.push(known);
            at = Va(memory.read_u64(at + NEXT).unwrap_or(0));
        }
        let mut thrown: Vec<CppException> = Vec::new();
        let records = if uncaught == 0 { Vec::new() } else { self.records_in_flight(&mut memory)? };
        for record in records {
            let is_new = |known: &CppException| found.iter().chain(&thrown).all(|other| other.object != known.object);
            if let Some(known) = self.described(record, &mut memory).filter(is_new) {
                thrown.push(CppException { handlers: 0, ..known });
            }
        }
        // What else is found is kept by an exception_ptr further out.
        thrown.truncate(uncaught as usize);
        thrown.splice(0..0, self.about_to_be_thrown(&mut memory));
        thrown.extend(found);
        Ok(CppExceptions { uncaught, exceptions: thrown })
    }

    /// What `__cxa_throw` is called with, if the thread is where it begins.
    pub(super) fn about_to_be_thrown(&mut self, memory: &mut ProcessMemory) -> Option<CppException> {
        let context = self.registers(self.current_thread().ok()?, Default::default()).ok()?;
        self.symbol_at(context.pc()).filter(|symbol| symbol.displacement == 0 && symbol.name == "__cxa_throw")?;
        let argument = |name| Some(Va(context.get_u64(self.arch().register_by_name(name)?)?));
        let thrown = Thrown { object: argument("rdi")?, type_info: argument("rsi")? };
        self.described_as(&thrown, 0, memory)
    }

    fn described(&mut self, record: Va, memory: &mut ProcessMemory) -> Option<CppException> {
        let thrown = thrown(record, memory)?;
        // Negative while it is thrown again.
        let handlers = (memory.read_uint(record + HANDLERS, 4)? as i32).unsigned_abs();
        self.described_as(&thrown, handlers, memory)
    }

    fn described_as(&mut self, thrown: &Thrown, handlers: u32, memory: &mut ProcessMemory) -> Option<CppException> {
        let type_name = type_name(thrown.type_info, memory)?;
        let what = self.what(&type_name, thrown, memory);
        Some(CppException { object: thrown.object, type_name, what, handlers })
    }

    /// Records of exceptions that words of the stack and registers lead to: the object itself where it is an argument of
    /// `__cxa_throw`, or the part of the record that unwinding goes by.
    fn records_in_flight(&mut self, memory: &mut ProcessMemory) -> Result<Vec<Va>, EngineError> {
        let thread = self.current_thread()?;
        let context = self.registers(thread, Default::default())?;
        let arch = self.arch();
        let registers = ["rdi", "rbx", "rbp", "r12", "r13", "r14", "r15"];
        let ids = registers.into_iter().filter_map(|name| arch.register_by_name(name));
        let mut words: Vec<u64> = ids.filter_map(|id| context.get_u64(id)).collect();
        let sp = context.get_u64(arch.sp()).unwrap_or(0);
        let mut stack = vec![0; STACK as usize];
        let got = memory.read(Va(sp), &mut stack);
        let own = stack[..got].chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(*word.first_chunk()?)));
        words.extend(own);
        // Objects lie on the heap, aligned as malloc aligns, or in the library's reserve.
        words.retain(|word| word % 8 == 0 && *word > RECORD);
        let requests =
            words.iter().map(|word| ReadRequest { at: Va(word - (RECORD - CLASS)), len: RECORD - CLASS + 8 });
        let answers = memory.read_around(&requests.collect::<Vec<_>>())?;
        let class = |bytes: &[u8], at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let is_exception = |class: Option<u64>| matches!(class, Some(PRIMARY | DEPENDENT));
        let found = words.iter().zip(&answers).filter_map(|(word, bytes)| {
            if is_exception(class(bytes, 0)) {
                return Some(Va(word - RECORD));
            }
            is_exception(class(bytes, (RECORD - CLASS) as usize)).then(|| Va(word.wrapping_sub(CLASS)))
        });
        Ok(found.collect())
    }

    /// What `what()` would say, without calling it.
    fn what(&mut self, name: &str, thrown: &Thrown, memory: &mut ProcessMemory) -> Option<String> {
        match name {
            "char const*" | "char*" => {
                let at = memory.read_u64(thrown.object)?;
                return memory.read_cstring(Va(at), LONGEST).map(|text| quoted(&text));
            }
            "int" | "long" | "unsigned int" | "unsigned long" => {
                let size = if name.ends_with("long") { 8 } else { 4 };
                let value = memory.read_uint(thrown.object, size)?;
                let shift = 64 - 8 * size as u32;
                return Some(if name.starts_with('u') {
                    value.to_string()
                } else {
                    (((value << shift) as i64) >> shift).to_string()
                });
            }
            "std::bad_alloc"
            | "std::bad_cast"
            | "std::bad_typeid"
            | "std::bad_array_new_length"
            | "std::bad_function_call"
            | "std::bad_optional_access" => return Some(quoted(name.as_bytes())),
            _ if name.starts_with("std::__cxx11::basic_string<char") || name == "std::string" => {
                let (at, length) = (memory.read_u64(thrown.object)?, memory.read_u64(thrown.object + 8)?);
                let text = memory.read_vec(Va(at), length.min(LONGEST as u64)).ok()?;
                return Some(quoted(&text));
            }
            _ => {}
        }
        // std::runtime_error and std::logic_error, bases of most others, hold a pointer to their text behind the pointer
        // to their virtual table (libstdc++ include/std/stdexcept, __cow_string).
        let mut text = None;
        if has_text_base(thrown.type_info, memory, self) {
            let at = memory.read_u64(thrown.object + 8)?;
            text = memory.read_cstring(Va(at), LONGEST).map(|text| quoted(&text));
        }
        let is_library = name.starts_with("std::");
        let fields = if is_library { None } else { self.fields_text(name, thrown.object, memory) };
        match (text, fields) {
            (Some(text), Some(fields)) => Some(format!("{text} {fields}")),
            (text, fields) => text.or(fields),
        }
    }

    fn fields_text(&mut self, name: &str, at: Va, memory: &mut ProcessMemory) -> Option<String> {
        let of = self.find_types(name).ok()?.into_iter().find(|of| of.size().is_some())?;
        let options = TextOptions { depth_limit: 2, ..TextOptions::default() };
        let object = Value::in_memory(of.clone(), at);
        // What its bases have is the library's, and told by what().
        let text = |field: &Field| format!("{}={}", field.name, object.field(field).text(&options, memory));
        let own: Vec<String> = of.fields().iter().map(text).collect();
        (!own.is_empty()).then(|| format!("{{{}}}", own.join(", ")))
    }
}

fn thrown(record: Va, memory: &mut ProcessMemory) -> Option<Thrown> {
    if record.0 == 0 {
        return None;
    }
    match memory.read_u64(record + CLASS)? {
        PRIMARY => {
            let type_info = Va(memory.read_u64(record)?);
            Some(Thrown { type_info, object: record + RECORD })
        }
        DEPENDENT => {
            // Its first word is the object that is thrown again; that has a record of its own before it.
            let object = Va(memory.read_u64(record)?);
            let type_info = Va(memory.read_u64(Va(object.0.wrapping_sub(RECORD)))?);
            Some(Thrown { type_info, object })
        }
        _ => None,
    }
}

/// The type's name; `std::type_info` is its virtual table, then the mangled name (Itanium C++ ABI, 2.9.4).
fn type_name(type_info: Va, memory: &mut ProcessMemory) -> Option<String> {
    let name = memory.read_u64(type_info + 8)?;
    let mangled = memory.read_cstring(Va(name), LONGEST)?;
    let mangled = String::from_utf8(mangled).ok()?;
    // Names that are unique to a file begin with a star.
    let mangled = mangled.trim_start_matches('*');
    let whole = demangle(&format!("_ZTI{mangled}"))?.signature;
    Some(whole.strip_prefix("typeinfo for ").unwrap_or(&whole).to_owned())
}

/// Whether `std::runtime_error` or `std::logic_error` is the type or its first base all the way.
fn has_text_base(type_info: Va, memory: &mut ProcessMemory, engine: &mut Engine) -> bool {
    let mut at = type_info;
    for _ in 0..BASES {
        match type_name(at, memory).as_deref() {
            Some("std::runtime_error" | "std::logic_error") => return true,
            None => return false,
            _ => {}
        }
        let Some(table) = memory.read_u64(at) else { return false };
        let kind = engine.symbol_at(Va(table)).map(|symbol| symbol.name).unwrap_or_default();
        // Single inheritance has the base behind the name; otherwise flags, count, then bases and where they lie.
        let base = if kind.contains("__si_class_type_info") {
            memory.read_u64(at + 16)
        } else if kind.contains("__vmi_class_type_info") {
            // Offset 0 and not virtual: the low byte has flags.
            memory
                .read_u64(at + 32)
                .filter(|place| place >> 8 == 0 && place & 1 == 0)
                .and_then(|_| memory.read_u64(at + 24))
        } else {
            None
        };
        match base {
            Some(base) => at = Va(base),
            None => return false,
        }
    }
    false
}

fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", String::from_utf8_lossy(text))
}
