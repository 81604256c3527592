//! Functions that every view may call: those of C on texts and memory that read only, and what Visual Studio has beside.
//!
//! Source: "Expressions in the debugger" of Visual Studio's documentation, debugger intrinsic functions.

use outpost_base::Va;
use outpost_symbols::{Scalar, Value};

use crate::expr::{ExprError, Scope, builtin, number_value};

/// Longest text or memory that is looked at, in bytes.
const LENGTH_LIMIT: u64 = 1 << 16;
/// Bytes of a text that are read together.
const CHUNK: u64 = 256;

/// What a function of the library gives; `None` if it has none of that name.
pub(super) fn call(function: &str, arguments: &[Value], scope: &mut dyn Scope) -> Option<Result<Value, ExprError>> {
    let (name, count) = *FUNCTIONS.iter().find(|(name, _)| *name == function)?;
    if arguments.len() != count {
        let reason = format!("it takes {count} argument{}", if count == 1 { "" } else { "s" });
        return Some(Err(ExprError::Operand { operation: function.to_owned(), reason }));
    }
    let arguments: Result<Vec<Argument>, ExprError> =
        arguments.iter().map(|argument| Argument::of(argument, scope)).collect();
    Some(arguments.and_then(|arguments| carry_out(name, &arguments, scope)))
}

/// What a function is given.
enum Argument {
    /// A number, or the address of a text or memory.
    Number(u64),
    /// A text that is written in the expression.
    Text(Vec<u8>),
}

impl Argument {
    fn of(value: &Value, scope: &mut dyn Scope) -> Result<Argument, ExprError> {
        let unreadable = |reason| crate::model::unreadable(value, reason);
        if value.value_type().element().is_some() {
            return match value.address() {
                Some(at) => Ok(Argument::Number(at.0)),
                None => value.bytes(scope.memory()).map(Argument::Text).map_err(unreadable),
            };
        }
        match value.scalar(scope.memory()) {
            Ok(Scalar::Pointer(at)) => Ok(Argument::Number(at.0)),
            Ok(scalar) => Ok(Argument::Number(scalar.as_u64())),
            Err(reason) => Err(unreadable(reason)),
        }
    }
}

/// Names and numbers of arguments.
const FUNCTIONS: &[(&str, usize)] = &[
    ("strlen", 1),
    ("strnlen", 2),
    ("wcslen", 1),
    ("wcsnlen", 2),
    ("strcmp", 2),
    ("strncmp", 3),
    ("stricmp", 2),
    ("_stricmp", 2),
    ("strnicmp", 3),
    ("_strnicmp", 3),
    ("wcscmp", 2),
    ("wcsncmp", 3),
    ("wcsicmp", 2),
    ("_wcsicmp", 2),
    ("wcsnicmp", 3),
    ("_wcsnicmp", 3),
    ("memcmp", 3),
    ("memicmp", 3),
    ("_memicmp", 3),
    ("tolower", 1),
    ("toupper", 1),
    ("__log2", 1),
    ("__findnonnull", 2),
    ("__findNonNull", 2),
];

fn carry_out(name: &str, arguments: &[Argument], scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let argument = |at: usize| match arguments.get(at) {
        Some(Argument::Number(number)) => *number,
        _ => 0,
    };
    let mut units = |at: usize, limit: u64| match arguments.get(at) {
        Some(Argument::Number(address)) => units(*address, limit, name.contains("wcs"), scope),
        Some(Argument::Text(text)) => {
            let text = String::from_utf8_lossy(text);
            let letters = text.chars().map(u32::from).take_while(|letter| *letter != 0);
            Ok(letters.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
        }
        None => Ok(Vec::new()),
    };
    let fold = name.contains("icmp");
    let limit = argument(2);
    let length = |text: Vec<u32>| number_value(text.len() as u64);
    match name {
        "strlen" | "wcslen" => units(0, LENGTH_LIMIT).map(length),
        "strnlen" | "wcsnlen" => units(0, argument(1)).map(length),
        "tolower" => Ok(int(i32::from_le_bytes(lower(argument(0) as u32).to_le_bytes()))),
        "toupper" => {
            let letter = argument(0) as u32;
            let upper = u8::try_from(letter).map_or(letter, |letter| u32::from(letter.to_ascii_uppercase()));
            Ok(int(i32::from_le_bytes(upper.to_le_bytes())))
        }
        "__log2" => Ok(int(argument(0).checked_ilog2().map_or(-1, |log| log as i32))),
        "__findnonnull" | "__findNonNull" => {
            for at in 0..argument(1).min(LENGTH_LIMIT) {
                let at_pointer = Va(argument(0).wrapping_add(8 * at));
                if scope.memory().read_u64(at_pointer).ok_or(ExprError::Memory { at: at_pointer })? != 0 {
                    return Ok(int(at as i32));
                }
            }
            Ok(int(-1))
        }
        "memcmp" | "memicmp" | "_memicmp" => {
            let count = limit.min(LENGTH_LIMIT) as usize;
            let mut read = |at: usize| match arguments.get(at) {
                Some(Argument::Number(at)) => {
                    let mut bytes = vec![0; count];
                    let readable = scope.memory().read(Va(*at), &mut bytes);
                    let missing = Va(at.wrapping_add(readable as u64));
                    if readable < bytes.len() { Err(ExprError::Memory { at: missing }) } else { Ok(bytes) }
                }
                Some(Argument::Text(text)) => Ok(text.iter().copied().take(count).collect()),
                None => Ok(Vec::new()),
            };
            // Both are asked for before either is looked at.
            let (left, right) = (read(0), read(1));
            let widened = |bytes: Vec<u8>| bytes.into_iter().map(u32::from).collect();
            Ok(compared(widened(left?), widened(right?), fold))
        }
        _ => {
            let limit = if name.contains("ncmp") || name.contains("nicmp") { limit } else { LENGTH_LIMIT };
            let (left, right) = (units(0, limit), units(1, limit));
            Ok(compared(left?, right?, fold))
        }
    }
}

fn int(number: i32) -> Value {
    Value::from_bytes(builtin("int"), number.to_le_bytes().to_vec())
}

fn lower(unit: u32) -> u32 {
    u8::try_from(unit).map_or(unit, |unit| u32::from(unit.to_ascii_lowercase()))
}

/// Less than, equal to or greater than, as C has it.
fn compared(left: Vec<u32>, right: Vec<u32>, fold: bool) -> Value {
    let folded = |text: Vec<u32>| if fold { text.into_iter().map(lower).collect() } else { text };
    int(folded(left).cmp(&folded(right)) as i32)
}

/// The units of a text up to its NUL, `limit` at most; `wchar_t` has four bytes here.
fn units(at: u64, limit: u64, is_wide: bool, scope: &mut dyn Scope) -> Result<Vec<u32>, ExprError> {
    let unit = if is_wide { 4 } else { 1 };
    let limit = limit.min(LENGTH_LIMIT);
    let mut text = Vec::new();
    while (text.len() as u64) < limit {
        let at = at.wrapping_add(unit * text.len() as u64);
        let count = (limit - text.len() as u64).min(CHUNK / unit);
        let mut bytes = vec![0; (count * unit) as usize];
        let readable = scope.memory().read(Va(at), &mut bytes);
        for letter in bytes[..readable].chunks_exact(unit as usize) {
            let letter = letter.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
            if letter == 0 {
                return Ok(text);
            }
            text.push(letter);
        }
        if readable < bytes.len() {
            return Err(ExprError::Memory { at: Va(at.wrapping_add(readable as u64)) });
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use outpost_base::SliceMemory;
    use outpost_symbols::BatchMemory;

    use super::*;
    use crate::Engine;
    use crate::expr::EngineScope;

    #[test]
    fn functions_of_the_library_are_as_in_c() {
        let mut bytes = b"Main\0main\0".to_vec();
        bytes.resize(16, 0);
        bytes.extend([0; 8].into_iter().chain(0x1000u64.to_le_bytes()));
        bytes.extend("ab".chars().flat_map(|letter| u32::from(letter).to_le_bytes()));
        bytes.resize(0x400, 0);
        let check = |function: &str, arguments: &[u64], expected: i64| {
            let mut engine = Engine::new();
            let mut memory = SliceMemory { start: Va(0x1000), bytes: &bytes };
            let mut scope = EngineScope::over(&mut engine, &mut memory);
            let arguments: Vec<Value> = arguments.iter().map(|number| number_value(*number)).collect();
            let found = call(function, &arguments, &mut scope).unwrap().unwrap();
            let found = found.scalar(&mut BatchMemory::new()).unwrap().as_u64() as i64;
            assert_eq!(found, expected, "{function} {arguments:?}");
        };
        check("strlen", &[0x1000], 4);
        check("strnlen", &[0x1000, 3], 3);
        check("wcslen", &[0x1020], 2);
        check("strcmp", &[0x1000, 0x1005], -1);
        check("strcmp", &[0x1005, 0x1000], 1);
        check("_stricmp", &[0x1000, 0x1005], 0);
        check("strncmp", &[0x1001, 0x1006, 2], 0);
        check("memcmp", &[0x1000, 0x1005, 4], -1);
        check("_memicmp", &[0x1000, 0x1005, 4], 0);
        check("toupper", &[97], 65);
        check("tolower", &[65], 97);
        check("tolower", &[300], 300);
        check("__log2", &[40], 5);
        check("__log2", &[0], -1);
        check("__findnonnull", &[0x1010, 2], 1);
        check("__findnonnull", &[0x1010, 1], -1);
        let mut engine = Engine::new();
        let mut memory = SliceMemory { start: Va(0x1000), bytes: &bytes[..4] };
        let mut scope = EngineScope::over(&mut engine, &mut memory);
        let missing = call("strlen", &[number_value(0x1000)], &mut scope).unwrap();
        assert_eq!(missing.unwrap_err(), ExprError::Memory { at: Va(0x1004) });
        assert!(call("strlen", &[], &mut scope).unwrap().is_err());
        assert!(call("system", &[number_value(0x1000)], &mut scope).is_none());
    }
}
