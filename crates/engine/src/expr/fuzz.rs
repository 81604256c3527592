//! The body of the fuzz target for expressions.

use outpost_base::{Arch, MemoryReader, RegisterId, RegisterValue, Va};
use outpost_symbols::{Store, Type, Value};

use super::{
    Evaluator, ExprError, KnownNames, Lookup, Name, Place, PlaceKind, Radix, Scope, SourceLine, compile,
    evaluate_value, number_value, parse, parse_object_prefix,
};

/// Parses `data` as an expression, evaluates and compiles it: none of it may panic, overflow the stack or take long.
///
/// The first byte chooses evaluator, radix and what names mean; the rest is the text.
pub fn fuzz_expression(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let evaluator = if choice & 1 == 0 { Evaluator::Masm } else { Evaluator::Cpp };
    let radix = [Radix::Hexadecimal, Radix::Decimal, Radix::Octal][usize::from(choice >> 1) % 3];
    let mut scope = Invented { types: choice & 0x40 != 0 };
    let Ok(expr) = parse(&text, evaluator, radix, &mut scope) else { return };
    // What it gives does not matter here; that it gives something does.
    let _ = evaluate_value(&expr, &mut scope);
    let _ = compile(&expr, &mut scope);
}

/// Parses `data` as an expression of the object model and evaluates it without a debuggee: none of it may panic, overflow
/// the stack or take long.
pub fn fuzz_object_expression(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut scope = Invented { types: false };
    let Ok((expr, used)) = parse_object_prefix(&text, &mut scope) else { return };
    assert!(text.is_char_boundary(used), "an expression ends between characters");
    let mut engine = crate::Engine::new();
    let Ok(object) = engine.evaluate_object(&expr, &mut scope) else { return };
    // As above.
    let limits = outpost_symbols::ViewLimits { count: 10, ..Default::default() };
    let _ = engine.object_parts(&object, &limits, false, &mut scope);
}

/// A scope where every name means something and all memory is there.
struct Invented {
    /// Names of even length are types.
    types: bool,
}

impl KnownNames for Invented {
    fn is_type(&mut self, name: &Name) -> bool {
        self.types && name.text.len().is_multiple_of(2)
    }

    fn is_symbol(&mut self, name: &Name) -> bool {
        name.text.len().is_multiple_of(3)
    }
}

impl MemoryReader for Invented {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        buf.fill(at.0 as u8);
        buf.len()
    }
}

impl Scope for Invented {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn memory(&mut self) -> &mut dyn MemoryReader {
        self
    }

    fn register(&mut self, id: RegisterId) -> Option<RegisterValue> {
        Some(RegisterValue::from_u64(u64::from(id.0) << 32, self.arch().register(id)?.bits))
    }

    fn pseudo_register(&mut self, name: &str) -> Result<Value, ExprError> {
        Ok(number_value(name.len() as u64))
    }

    fn addresses(&mut self, name: &Name) -> Result<Vec<Va>, ExprError> {
        Ok(vec![Va(0x1000 * name.text.len() as u64)])
    }

    fn line_addresses(&mut self, line: &SourceLine) -> Result<Vec<Va>, ExprError> {
        Ok(line.line.map(|line| Va(u64::from(line))).into_iter().collect())
    }

    fn variable(&mut self, name: &Name, _: Lookup) -> Result<Option<Value>, ExprError> {
        let place = self.place(name);
        Ok(place.map(|place| Value::in_memory(place.value_type, Va(0x1000))))
    }

    fn named_type(&mut self, name: &Name) -> Option<Type> {
        let names = ["int", "double", "char", "unsigned __int128"];
        self.is_type(name).then(|| super::eval::builtin(names[name.text.len() % names.len()]))
    }

    fn entry_point(&mut self, base: Va) -> Option<Va> {
        Some(base)
    }

    fn write(&mut self, _: &[Store]) -> Result<(), ExprError> {
        Ok(())
    }

    fn place(&mut self, name: &Name) -> Option<Place> {
        let of = super::eval::builtin(if name.text.len() % 2 == 1 { "int" } else { "long" });
        let value_type = if name.text.starts_with('p') { super::eval::pointer_to(&of) } else { of };
        let at = match name.text.len() % 4 {
            0 => return None,
            1 => PlaceKind::Fixed(Va(0x1000)),
            2 => PlaceKind::Based(self.arch().sp(), -8),
            _ => PlaceKind::Register(self.arch().return_value()),
        };
        Some(Place { value_type, at })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn expressions_made_of_tokens(choice: u8, tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..40)) {
            let mut data = vec![choice];
            tokens.iter().for_each(|token| data.extend_from_slice(token.as_bytes()));
            fuzz_expression(&data);
        }

        #[test]
        fn expressions_made_of_anything(choice: u8, text in ".{0,60}") {
            let mut data = vec![choice];
            data.extend_from_slice(text.as_bytes());
            fuzz_expression(&data);
        }
    }

    proptest! {
        #[test]
        fn object_expressions_made_of_tokens(
            tokens in prop::collection::vec(prop::sample::select(OBJECT_TOKENS), 0..30),
        ) {
            fuzz_object_expression(tokens.concat().as_bytes());
        }

        #[test]
        fn object_expressions_made_of_anything(text in ".{0,60}") {
            fuzz_object_expression(text.as_bytes());
        }
    }

    const OBJECT_TOKENS: &[&str] = &[
        "Debugger",
        ".Sessions",
        ".Where(",
        ".Select(",
        ".First()",
        ".Count()",
        ".OrderBy(",
        ".Take(",
        ".Sum()",
        "x => ",
        "(x, y) =>",
        "x",
        ".x",
        "new {",
        "A = ",
        "}",
        ")",
        "(",
        ",",
        "[",
        "]",
        "1",
        "\"text\"",
        ".Contains(",
        ".Length",
        " == ",
        " + ",
        " && ",
        "!",
        "@$curprocess",
        "@$x",
        " = ",
        ".ToDisplayString()",
        "?",
        ":",
        "\u{e9}",
    ];

    const TOKENS: &[&str] = &[
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        "->",
        ".",
        "::",
        "!",
        "@",
        "@@(",
        "@@c++(",
        "@@masm(",
        "@!\"",
        "\"",
        "`",
        "'",
        "$",
        "$t0",
        "$!",
        "@rax",
        "@xmm0",
        "name",
        "p",
        "poi",
        "by ",
        " and ",
        "not ",
        "sizeof",
        "(int)",
        "(node *)",
        "struct ",
        "0x",
        "1",
        "9e9",
        "ffff`ffff",
        "1.5",
        "=",
        "+=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "&",
        "&&",
        "?",
        ":",
        ",",
        " as ",
        "static_cast<",
        "~",
        "{impl#0}",
        "operator",
        "#FIELD_OFFSET(",
        "$scmp(",
        "0n",
        "\u{e9}",
        "\\",
    ];
}
