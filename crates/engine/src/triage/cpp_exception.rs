//! The C++ exception that a thread is in, by libstdc++'s own records (libsupc++/unwind-cxx.h).

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{TextOptions, Value, demangle};

use super::ProgramMessage;
use crate::{Engine, ProcessMemory};

/// `sizeof (__cxa_refcounted_exception)` less its head: from the handlers' record to the object. unwind-cxx.h lays
/// `__cxa_exception` right before the object; its `unwindHeader` is the last 32 bytes.
const RECORD: u64 = 112;
/// Offset of `nextException`.
const CLASS: u64 = 80;
/// Exception class of an exception that refers to another (`std::rethrow_exception`).
const DEPENDENT: u64 = 0x474e_5543_432b_2b01;
/// Exception class of C++ exceptions of GNU, `GNUCC++\0`.
const PRIMARY: u64 = 0x474e_5543_432b_2b00;
/// Bases that are followed.
const BASES: usize = 16;
/// Longest text of `what`.
const LONGEST: usize = 4 << 10;

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
        Some(Value::in_memory(of, at).text(&options, memory))
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
