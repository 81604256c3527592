//! Types as casts and `sizeof` write them.

use outpost_symbols::TypeTable;

use super::Parser;
use crate::expr::cursor::is_word_char;
use crate::expr::{ExprError, Name, Parameters, TypeName};

/// Words that make up the built-in types of C; the sized ones are Microsoft's, which views are written with.
const BASE_WORDS: &[&str] = &[
    "signed", "unsigned", "short", "long", "int", "char", "float", "double", "__int128", "__int64", "__int32",
    "__int16", "__int8",
];
/// Words that say nothing about layout.
const QUALIFIERS: &[&str] = &["const", "volatile", "restrict", "_Atomic", "typename"];
/// Words that say that a type's name follows.
const KEYWORDS: &[&str] = &["struct", "class", "union", "enum"];
/// Longest chain of `*` and `[]`.
const DERIVATION_LIMIT: usize = 8;

impl Parser<'_, '_> {
    /// A type at the cursor; `None` (nothing taken) if it is an expression.
    pub(super) fn type_name(&mut self) -> Result<Option<TypeName>, ExprError> {
        let start = self.cursor.position();
        match self.type_name_here()? {
            Some(name) => Ok(Some(name)),
            None => {
                self.cursor.rewind(start);
                Ok(None)
            }
        }
    }

    fn type_name_here(&mut self) -> Result<Option<TypeName>, ExprError> {
        let rust_pointers = self.rust_pointers();
        self.qualifiers();
        let keyword = KEYWORDS.iter().any(|word| self.cursor.take_word(word));
        let name = match self.base_words() {
            Some(words) if !keyword => Some(Name::plain(&words)),
            _ => self.name()?,
        };
        let Some(name) = name else { return Ok(None) };
        self.qualifiers();
        let mut pointers = usize::from(rust_pointers);
        while self.cursor.take("*") {
            pointers += 1;
            self.qualifiers();
        }
        let reference = self.cursor.take("&&") || self.cursor.take("&");
        let array_pointers = if reference { 0 } else { self.array_pointers() };
        let function = if array_pointers > 0 { self.function_parameters()? } else { None };
        let mut bounds = Vec::new();
        while function.is_none() && self.cursor.take("[") {
            self.cursor.skip_spaces();
            let digits = self.cursor.take_while(|c| c.is_ascii_digit());
            bounds.push(digits.parse().map_err(|_| self.cursor.syntax())?);
            self.cursor.expect("]")?;
        }
        if pointers + bounds.len() + usize::from(array_pointers) > DERIVATION_LIMIT {
            return Err(ExprError::TooComplex);
        }
        // `(name *)` cannot be an expression, so it is a type even if nobody knows it: the evaluator says so.
        self.cursor.skip_spaces();
        let derived = (pointers > 0 || reference || array_pointers > 0 || !bounds.is_empty())
            && self.cursor.rest().starts_with([')', '>', ',']);
        let builtin = name.module.is_none() && !TypeTable::builtin().named(&name.text).is_empty();
        let derived_by_star = derived && (function.is_some() || bounds.is_empty() || array_pointers > 0);
        if keyword || builtin || derived_by_star || rust_pointers > 0 || self.known.is_type(&name) {
            return Ok(Some(TypeName { name, pointers: pointers as u8, bounds, array_pointers, function, reference }));
        }
        Ok(None)
    }

    /// What is behind `(*)` of a pointer to a function: `(int, char *)`, `(void)`, `(...)`.
    fn function_parameters(&mut self) -> Result<Option<Parameters>, ExprError> {
        if !self.cursor.take("(") {
            return Ok(None);
        }
        self.cursor.enter()?;
        let mut parameters = Parameters::default();
        let start = self.cursor.position();
        let is_empty = self.cursor.take(")") || self.cursor.take_word("void") && self.cursor.take(")");
        if !is_empty {
            self.cursor.rewind(start);
            loop {
                self.cursor.node()?;
                if self.cursor.take("...") {
                    parameters.variadic = true;
                    self.cursor.expect(")")?;
                    break;
                }
                parameters.types.push(self.type_name()?.ok_or_else(|| self.cursor.syntax())?);
                if !self.cursor.take(",") {
                    self.cursor.expect(")")?;
                    break;
                }
            }
        }
        self.cursor.leave();
        Ok(Some(parameters))
    }

    /// `(*)` before the bounds of an array or the parameters of a function: how often that is pointed to.
    fn array_pointers(&mut self) -> u8 {
        let start = self.cursor.position();
        let mut count = 0;
        if self.cursor.take("(") {
            while count < DERIVATION_LIMIT as u8 && self.cursor.take("*") {
                count += 1;
                self.qualifiers();
            }
            if count > 0 && self.cursor.take(")") && self.cursor.rest().trim_start().starts_with(['[', '(']) {
                return count;
            }
        }
        self.cursor.rewind(start);
        0
    }

    fn qualifiers(&mut self) {
        while QUALIFIERS.iter().any(|word| self.cursor.take_word(word)) {}
    }

    /// Rust's prefixes: `*const`, `*mut`, `&mut`.
    fn rust_pointers(&mut self) -> u8 {
        let mut count = 0;
        loop {
            let start = self.cursor.position();
            let star = self.cursor.take("*");
            let taken = (star || self.cursor.take("&"))
                && ((star && self.cursor.take_word("const")) || self.cursor.take_word("mut"));
            if !taken || count == DERIVATION_LIMIT as u8 {
                self.cursor.rewind(start);
                return count;
            }
            count += 1;
        }
    }

    /// `unsigned long int` in any order, as the debug info spells it; `None` if no such word comes next.
    fn base_words(&mut self) -> Option<String> {
        let mut words: Vec<&str> = Vec::new();
        while words.len() < 5 {
            self.qualifiers();
            let Some(word) = BASE_WORDS.iter().find(|word| self.cursor.take_word(word)) else { break };
            words.push(word);
        }
        if words.is_empty() {
            return None;
        }
        debug_assert!(words.iter().all(|word| word.chars().all(is_word_char)));
        let has = |wanted: &str| words.contains(&wanted);
        let longs = words.iter().filter(|word| **word == "long").count();
        let size = match () {
            () if has("char") || has("__int8") => "char",
            () if has("double") => return Some(if longs > 0 { "long double" } else { "double" }.to_owned()),
            () if has("float") => return Some("float".to_owned()),
            () if has("__int128") => "__int128",
            () if has("short") || has("__int16") => "short",
            () if longs > 1 || has("__int64") => "long long",
            () if longs == 1 => "long",
            () => "int",
        };
        let sign = match () {
            () if has("unsigned") => "unsigned ",
            () if has("signed") && size == "char" => "signed ",
            () => "",
        };
        Some(format!("{sign}{size}"))
    }
}
