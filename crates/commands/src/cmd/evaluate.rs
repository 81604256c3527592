//! `?`, `??`, `.formats`, `n`, `.expr`: expressions.

use outpost_engine::expr::{Evaluated, Evaluator, Radix};
use outpost_engine::values::{Scalar, TypeKind, Value as TargetValue};

use super::types::{FieldListing, TypeData};
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json, names, word};
use crate::language::Arguments;
use crate::text::{double, hex64, line, put, single, values};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["?"],
        syntax: "? [Expression]",
        summary: "Evaluate an expression",
        details: "By the default evaluator, as a number in decimal and hexadecimal. Without an expression: the list of \
                  commands. A C++ expression may call functions, see .call.",
        example: "? @rsp + 10*8; ? poi(head)",
        group: Group::Symbols,
        eats_line: false,
        run: evaluate_command,
    },
    CommandEntry {
        names: &["??"],
        syntax: "?? Expression",
        summary: "Evaluate a C++ expression",
        details: "Shows its type and value, of structures the fields. Assignments change the debuggee. In brackets stands \
                  the index of an array, vector or other sequence, or the key of a map. -> and * go through smart pointers and \
                  optional values as through pointers. Functions are called as by .call. Characters and texts have C++'s \
                  forms and Rust's b'x'; 'ab' is an int, and 'é' the code of the character. Strings, pointers to \
                  characters and arrays of them are compared with a text by what they say, whatever the encoding. \
                  @$teb and @$thread point to the thread's struct pthread, @$peb and @$proc to the auxiliary vector, \
                  where debug information of the C library is found; to MASM they are numbers.",
        example: "?? head->next->value; ?? total = 5; ?? ages[\"ann\"]; ?? title == L\"b\\u00e4r\"; ?? (int)puts(\"hello\"); ?? @$teb->tid",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<EvaluateCpp>,
    },
    CommandEntry {
        names: &[".formats"],
        syntax: ".formats Expression",
        summary: "Show a number in all formats",
        details: "Hexadecimal, decimal, octal, binary, as characters, as a time, as float and double.",
        example: ".formats @rax",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Formats>,
    },
    CommandEntry {
        names: &["n"],
        syntax: "n [8|10|16]",
        summary: "Show or set the base of plain numbers",
        details: "For MASM expressions; 16 at first. Ordinals and source lines are always decimal.",
        example: "n 10",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<SetRadix>,
    },
    CommandEntry {
        names: &[".expr"],
        syntax: ".expr [/s masm|c++]",
        summary: "Show or choose the default evaluator",
        details: "@@( ) in an expression switches to the other one, @@masm( ) and @@c++( ) to either.",
        example: ".expr /s c++",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ChooseEvaluator>,
    },
];

fn evaluate_command(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn crate::Output,
) -> Result<(), CommandError> {
    match arguments.is_empty() {
        true => debugger.one_command(".help", out),
        false => carry_out::<Evaluate>(arguments, debugger, out),
    }
}

/// Evaluates by the default evaluator.
#[derive(Debug, Clone)]
pub struct Evaluate {
    value: Evaluated,
}

/// A number or a value's text.
#[derive(Debug, Clone)]
pub enum EvaluatedText {
    /// MASM's number.
    Number(Number),
    /// C++'s, as `??` shows it.
    Value(TypedValue),
}

impl Json for EvaluatedText {
    fn json(&self) -> Value {
        match self {
            EvaluatedText::Number(number) => number.json(),
            EvaluatedText::Value(value) => value.json(),
        }
    }
}

/// 64 bits.
#[derive(Debug, Clone, Copy)]
pub struct Number(pub u64);

impl Json for Number {
    fn json(&self) -> Value {
        json!({ "value": word(self.0), "signed": (self.0 as i64).to_string() })
    }
}

/// What `??` gives.
#[derive(Debug, Clone)]
pub struct TypedValue {
    /// The value.
    pub value: TargetValue,
    /// The number it is, if it is an integer or a pointer.
    pub number: Option<u64>,
    /// It in one line.
    pub text: String,
    /// Its fields, or those of what it points to.
    pub fields: Option<FieldListing>,
}

impl Json for TypedValue {
    fn json(&self) -> Value {
        let mut shown = self.value.json();
        shown["number"] = self.number.map(word).unwrap_or_default();
        shown["text"] = json!(self.text);
        shown["fields"] = self.fields.as_ref().map(|listing| listing.rows.json()).unwrap_or_default();
        shown
    }
}

impl Command for Evaluate {
    type Data = EvaluatedText;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Evaluate, CommandError> {
        Ok(Evaluate { value: debugger.calling(|debugger| arguments.evaluated(debugger))? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<EvaluatedText, CommandError> {
        Ok(match self.value {
            Evaluated::Number(number) => {
                debugger.engine.recent_values().expression = number;
                EvaluatedText::Number(Number(number))
            }
            Evaluated::Value(value) => match number_of(&value, debugger) {
                Some(number) => {
                    debugger.engine.recent_values().expression = number;
                    EvaluatedText::Number(Number(number))
                }
                None => EvaluatedText::Value(typed(value, debugger)),
            },
        })
    }

    fn render(data: &EvaluatedText, text: &mut String) {
        match data {
            EvaluatedText::Number(Number(number)) => {
                line!(text, "Evaluate expression: {} = {}", *number as i64, hex64(*number))
            }
            EvaluatedText::Value(value) => EvaluateCpp::render(value, text),
        }
    }
}

/// The number of an integer or pointer.
pub(crate) fn number_of(value: &TargetValue, debugger: &mut Debugger) -> Option<u64> {
    let mut memory = values::ValueMemory(debugger.engine.memory().ok());
    match value.scalar(&mut memory).ok()? {
        Scalar::Float(_) | Scalar::Complex(..) => None,
        scalar => Some(scalar.as_u64()),
    }
}

/// Evaluates a C++ expression.
#[derive(Debug, Clone)]
pub struct EvaluateCpp {
    value: TargetValue,
}

impl Command for EvaluateCpp {
    type Data = TypedValue;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<EvaluateCpp, CommandError> {
        if arguments.is_empty() {
            return Err(arguments.usage("the expression is missing"));
        }
        Ok(EvaluateCpp { value: debugger.calling(|debugger| arguments.value(debugger))? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<TypedValue, CommandError> {
        // What a function that returns nothing has returned is nowhere.
        if matches!(self.value.value_type().resolved().kind(), TypeKind::Void) && self.value.address().is_some() {
            return Err(CommandError::invalid("it has no type; cast its address, as in ?? *(int *)&name"));
        }
        let shown = typed(self.value, debugger);
        if let Some(number) = shown.number {
            debugger.engine.recent_values().expression = number;
        }
        Ok(shown)
    }

    fn render(data: &TypedValue, text: &mut String) {
        line!(text, "{} {}", data.value.value_type(), data.text);
        if let Some(fields) = &data.fields {
            let data = TypeData::Fields(vec![fields.clone()], super::types::Style::default());
            super::types::DisplayType::render(&data, text);
        }
    }
}

/// Whether values of a type are shown by what they mean.
fn has_view(of: &outpost_engine::values::Type, debugger: &mut Debugger) -> bool {
    of.view_kind().is_some() || debugger.engine.has_view(of)
}

/// Type and value; the fields of a structure, and of one that is pointed to.
pub(super) fn typed(value: TargetValue, debugger: &mut Debugger) -> TypedValue {
    let number = number_of(&value, debugger);
    let text = values::one_line(debugger, &value);
    let fields = opened(&value, debugger).map(|object| {
        let amount = values::Amount { depth: 1, ..values::Amount::usual(&debugger.settings) };
        let object_type = object.value_type().clone();
        let rows = values::fields_of(&mut debugger.engine, &object_type, Some(&object), 0, amount);
        FieldListing { heading: String::new(), rows }
    });
    TypedValue { value, number, text, fields }
}

/// The structure whose fields are shown with a value.
fn opened(value: &TargetValue, debugger: &mut Debugger) -> Option<TargetValue> {
    let of = value.value_type();
    let is_record = |of: &outpost_engine::values::Type| matches!(of.resolved().kind(), TypeKind::Record(_));
    let mut memory = values::ValueMemory(debugger.engine.memory().ok());
    // Types that mean something are shown by it, not by how their library builds them.
    match of.target().filter(|target| is_record(target)) {
        Some(target) if !has_view(&target, debugger) => value.deref(&mut memory).ok(),
        Some(_) => None,
        None => Some(value.clone()).filter(|_| is_record(of) && !has_view(of, debugger)),
    }
}

/// Shows a number in all formats.
#[derive(Debug, Clone)]
pub struct Formats {
    value: u64,
}

impl Command for Formats {
    type Data = Number;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Formats, CommandError> {
        Ok(Formats { value: arguments.number(debugger)? })
    }

    fn run(self, _: &mut Debugger) -> Result<Number, CommandError> {
        Ok(Number(self.value))
    }

    fn render(data: &Number, text: &mut String) {
        let value = data.0;
        line!(text, "Evaluate expression:");
        line!(text, "  Hex:     {}", hex64(value));
        line!(text, "  Decimal: {}", value as i64);
        if (value as i64) < 0 {
            line!(text, "  Unsigned: {value}");
        }
        line!(text, "  Octal:   {value:022o}");
        let bytes: Vec<String> = value.to_be_bytes().iter().map(|byte| format!("{byte:08b}")).collect();
        line!(text, "  Binary:  {}", bytes.join(" "));
        let printable = |byte: u8| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' };
        let letters: String = value.to_be_bytes().iter().map(|&byte| printable(byte)).collect();
        line!(text, "  Chars:   {letters}");
        line!(text, "  Time:    {}", super::time::date_of(value));
        let low = f32::from_bits(value as u32);
        let high = f32::from_bits((value >> 32) as u32);
        line!(text, "  Float:   low {} high {}", single(low), single(high));
        line!(text, "  Double:  {}", double(f64::from_bits(value)));
    }
}

/// Shows or sets the radix.
#[derive(Debug, Clone)]
pub struct SetRadix {
    radix: Option<Radix>,
}

impl Command for SetRadix {
    type Data = u32;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<SetRadix, CommandError> {
        // In any base the bases are written in decimal, or nobody would find back.
        let radix = match arguments.take_rest() {
            "" => None,
            "8" => Some(Radix::Octal),
            "10" => Some(Radix::Decimal),
            "16" => Some(Radix::Hexadecimal),
            other => return Err(arguments.usage(format!("'{other}' is no base"))),
        };
        Ok(SetRadix { radix })
    }

    fn run(self, debugger: &mut Debugger) -> Result<u32, CommandError> {
        if let Some(radix) = self.radix {
            debugger.settings.radix = radix;
        }
        Ok(debugger.settings.radix.value())
    }

    fn render(data: &u32, text: &mut String) {
        line!(text, "base is {data}");
    }
}

/// Shows or chooses the evaluator.
#[derive(Debug, Clone)]
pub struct ChooseEvaluator {
    evaluator: Option<Evaluator>,
}

names!(Evaluator);

impl Command for ChooseEvaluator {
    type Data = Evaluator;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<ChooseEvaluator, CommandError> {
        if !arguments.take_word("/s") {
            return Ok(ChooseEvaluator { evaluator: None });
        }
        let evaluator = match arguments.take_rest().to_ascii_lowercase().as_str() {
            "masm" => Evaluator::Masm,
            "c++" => Evaluator::Cpp,
            other => return Err(arguments.usage(format!("unknown evaluator '{other}'"))),
        };
        Ok(ChooseEvaluator { evaluator: Some(evaluator) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Evaluator, CommandError> {
        if let Some(evaluator) = self.evaluator {
            debugger.settings.evaluator = evaluator;
        }
        Ok(debugger.settings.evaluator)
    }

    fn render(data: &Evaluator, text: &mut String) {
        put!(text, "Current expression evaluator: ");
        match data {
            Evaluator::Masm => line!(text, "MASM - Microsoft Assembler expressions"),
            Evaluator::Cpp => line!(text, "C++ - C++ source expressions"),
        }
    }
}
