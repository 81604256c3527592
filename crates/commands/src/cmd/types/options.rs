//! The words behind `dt`.

use outpost_base::Va;

use super::Style;
use super::rows::Opening;
use crate::language::Arguments;
use crate::{CommandError, Debugger};

/// All that was said.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    /// Type, variable, pattern or address.
    pub(super) name: String,
    /// It is the beginning of a name (`-y`).
    pub(super) name_begins: bool,
    /// It is an address and no name.
    pub(super) name_is_address: bool,
    /// Fields, and maybe an address that looks like one.
    pub(super) rest: Vec<Word>,
    /// An address that cannot be taken for a field.
    pub(super) address: Option<Va>,
    /// What of the fields is opened.
    pub(super) opening: Opening,
    pub(super) style: Style,
    pub(super) verbose: bool,
    pub(super) types_only: bool,
    /// Only types of this size (`-s`).
    pub(super) size: Option<u64>,
    /// Types that match a pattern are shown, not only named (`-d`).
    pub(super) show_matches: bool,
    /// The field that leads to the next element (`-l`).
    pub(super) list: Option<String>,
}

/// A word behind the name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// It was said to be a field (`-n`, `-y`).
    pub(super) is_field: bool,
    /// It is the beginning of one (`-y`).
    pub(super) begins: bool,
    /// So many elements of an array are shown on their own (`-a` right before it).
    pub(super) elements: Option<u64>,
}

impl Word {
    pub(super) fn field(text: &str) -> Word {
        Word { text: text.to_owned(), is_field: true, ..Word::default() }
    }
}

/// What options say of the word that comes next.
#[derive(Default)]
struct Next {
    is_name: bool,
    begins: bool,
    elements: Option<u64>,
}

/// Reads everything; whether a word is a field or an address is known only when the type is.
pub(super) fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Words, CommandError> {
    let mut words = Words::default();
    let mut next = Next::default();
    while !arguments.is_empty() {
        if let Some(option) = arguments.take_option() {
            letters(option, &mut words, &mut next, arguments, debugger)?;
            continue;
        }
        let said = std::mem::take(&mut next);
        if words.name.is_empty() {
            words.name_is_address = !said.is_name && looks_like_address(arguments.rest());
            words.name = match words.name_is_address {
                true => arguments.expression_text(debugger)?.to_owned(),
                false => type_word(arguments),
            };
            words.name_begins = said.begins;
            words.opening.elements = said.elements;
            continue;
        }
        let is_field = said.is_name || said.begins;
        if !is_field && looks_like_address(arguments.rest()) {
            words.address = Some(arguments.address(debugger)?);
        } else if let Some(text) = arguments.word() {
            words.rest.push(Word { text: text.to_owned(), is_field, begins: said.begins, elements: said.elements });
        }
    }
    if words.name.is_empty() {
        return Err(arguments.usage("the name is missing"));
    }
    let texts = std::iter::once(&words.name).chain(words.rest.iter().map(|word| &word.text));
    if let Some(digits) = texts
        .filter_map(|text| text.split_once('['))
        .map(|(_, behind)| behind)
        .find(|digits| digits.trim_start().to_ascii_lowercase().starts_with("0x"))
    {
        let digits = digits.split(']').next().unwrap_or_default();
        return Err(CommandError::invalid(format!("'{digits}' is no decimal number of an element")));
    }
    Ok(words)
}

/// Letters of one option, which may stand together: `-ny`, `-r2v`.
fn letters(
    option: &str,
    words: &mut Words,
    next: &mut Next,
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
) -> Result<(), CommandError> {
    let mut rest = option;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: Option<u64> = rest[..digits].parse().ok();
        match letter {
            'r' => {
                words.opening =
                    Opening { depth: number.map_or(Opening::DEEPEST, |depth| depth as usize), ..Opening::FOLLOWING }
            }
            'b' => words.opening = Opening::BLOCKS,
            'a' => next.elements = Some(number.unwrap_or(u64::MAX)),
            'v' => words.verbose = true,
            'c' => words.style.compact = true,
            'o' => words.style.hide_offsets = true,
            'i' => words.style.flat = true,
            't' | 'e' => words.types_only = true,
            'd' => words.show_matches = true,
            'n' => next.is_name = true,
            'y' => next.begins = true,
            's' => {
                let word = arguments.word().ok_or_else(|| arguments.usage("-s needs a size"))?;
                words.size = Some(crate::cmd::threads::number(word, debugger)?);
                words.types_only = true;
            }
            'l' => {
                let field = arguments.word().ok_or_else(|| arguments.usage("-l needs a field"))?;
                words.list = Some(field.to_owned());
            }
            'p' => {
                return Err(CommandError::unsupported("dt -p", "physical addresses need a kernel target"));
            }
            other => return Err(arguments.usage(format!("unknown option -{other}"))),
        }
        if matches!(letter, 'r' | 'a') {
            rest = &rest[digits..];
        }
    }
    Ok(())
}

/// Whether a word can only be an address: a number, a register, something in parentheses.
fn looks_like_address(rest: &str) -> bool {
    let word = rest.split_whitespace().next().unwrap_or_default();
    let starts = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '@' | '(' | '`' | '$'));
    let hexadecimal = word.chars().all(|c| c.is_ascii_hexdigit() || c == '`') && word.len() > 3;
    let operator = ["poi(", "by(", "wo(", "dwo(", "qwo("].iter().any(|name| word.starts_with(name));
    starts && !word.starts_with("@!") || hexadecimal || operator
}

/// The first word, with template arguments and pointers: `std::vector<int, x>`, `struct node *`.
fn type_word(arguments: &mut Arguments<'_>) -> String {
    if let Some(quoted) = arguments.quoted() {
        return quoted;
    }
    arguments.take("@!");
    if let Some(quoted) = arguments.quoted() {
        return quoted;
    }
    let mut name = String::new();
    for keyword in ["struct", "class", "union", "enum"] {
        if arguments.take_word(keyword) {
            break;
        }
    }
    let mut open = 0i32;
    while let Some(word) = arguments.rest().split_whitespace().next() {
        arguments.take(word);
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(word);
        open += word.matches('<').count() as i32 - word.matches('>').count() as i32 + word.matches("->").count() as i32;
        let unsigned =
            matches!(name.as_str(), "unsigned" | "signed" | "long" | "short" | "unsigned long" | "long long");
        let more_words = matches!(arguments.rest().split_whitespace().next(), Some("int" | "long" | "char" | "short"));
        // `*a*` is a pattern of fields, `**` belongs to the type.
        let following = arguments.rest().split_whitespace().next().unwrap_or_default();
        let stars = !following.is_empty() && following.chars().all(|c| c == '*');
        if open <= 0 && !(unsigned && more_words) && !stars {
            break;
        }
    }
    name
}
