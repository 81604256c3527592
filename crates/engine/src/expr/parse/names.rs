//! Names as C, C++ and Rust have them.

use super::{Parser, quoted};
use crate::expr::cursor::is_word_char;
use crate::expr::{ExprError, Name};

impl Parser<'_, '_> {
    /// A name with module and scopes at the cursor; `None` (nothing taken) if none starts here.
    ///
    /// `@!"any text"` and `module!"any text"` are names that no grammar could tell apart from operators.
    pub(super) fn name(&mut self) -> Result<Option<Name>, ExprError> {
        self.cursor.skip_spaces();
        if self.cursor.take("@!") {
            let text = quoted(&mut self.cursor, false)?;
            return Ok(Some(split_module(&text)));
        }
        if self.cursor.rest().starts_with("$!") {
            self.cursor.advance(2);
            let text = self.scoped_name(&None);
            return match text.is_empty() {
                true => Err(self.cursor.syntax()),
                false => Ok(Some(Name { module: None, text, local: true })),
            };
        }
        let first = self.scoped_name(&None);
        if first.is_empty() {
            return Ok(None);
        }
        let mut after = self.cursor.rest().chars();
        let separator =
            after.next() == Some('!') && after.next().is_some_and(|c| starts_name(c) || matches!(c, '"' | '<'));
        if !separator {
            return Ok(Some(Name::plain(&first)));
        }
        self.cursor.advance(1);
        let module = Some(first);
        let text = match self.cursor.peek() {
            Some('"') => quoted(&mut self.cursor, false)?,
            _ => self.scoped_name(&module),
        };
        Ok(Some(Name { module, text, local: false }))
    }

    /// A name with its scopes and template arguments; empty (nothing taken) if none starts here.
    fn scoped_name(&mut self, module: &Option<String>) -> String {
        let start = self.cursor.position();
        if self.cursor.rest().starts_with("::") {
            self.cursor.advance(2);
        }
        let mut text = self.qualified_self();
        loop {
            let part = self.name_part();
            if part.is_empty() {
                break;
            }
            text.push_str(&part);
            if let Some(arguments) = self.template_arguments(module, &text) {
                text.push_str(&arguments);
            }
            let rest = self.cursor.rest();
            // `a::b`; Rust's turbofish `a::<T>` leads to the same name as `a<T>`.
            match rest.strip_prefix("::") {
                Some(next) if next.starts_with(|c| starts_name(c) || matches!(c, '~' | '{')) => {
                    self.cursor.advance(2);
                    text.push_str("::");
                }
                _ => break,
            }
        }
        if text.is_empty() || text.ends_with("::") {
            self.cursor.rewind(start);
            return String::new();
        }
        text
    }

    /// What a path of Rust begins with that names a method of a trait: `<Type as Trait>::`, and `<Type>::`. Empty (nothing
    /// taken) if none is here; in no language an operand begins with `<` otherwise.
    fn qualified_self(&mut self) -> String {
        let rest = self.cursor.rest();
        let whole = balanced(rest).filter(|part| rest[part.len()..].starts_with("::")).unwrap_or_default();
        if whole.is_empty() {
            return String::new();
        }
        self.cursor.advance(whole.len() + 2);
        format!("{whole}::")
    }

    /// One part between `::`: a word, `~word`, `{closure#0}`, `operator==`. Dots are part of a word when another word
    /// character follows (`main.cold`), as compilers name clones.
    fn name_part(&mut self) -> String {
        let rest = self.cursor.rest();
        if rest.starts_with('{') {
            let end = rest.find('}').filter(|&end| !rest[..end].contains([' ', ';', '"']));
            let part = end.map_or("", |end| &rest[..=end]);
            self.cursor.advance(part.len());
            return part.to_owned();
        }
        let tilde = usize::from(rest.starts_with('~'));
        if !rest[tilde..].starts_with(starts_name) {
            return String::new();
        }
        let mut len = tilde;
        for (at, c) in rest.char_indices().skip(tilde) {
            let goes_on = is_word_char(c) && !rest[at..].starts_with("@@")
                || c == '.' && self.dots_in_names && rest[at + 1..].starts_with(|next: char| next.is_alphanumeric());
            if !goes_on {
                break;
            }
            len = at + c.len_utf8();
        }
        let mut part = rest[..len].to_owned();
        self.cursor.advance(len);
        if part == "operator" {
            part.push_str(self.operator_symbol());
        }
        part
    }

    /// What follows `operator` in a function's name.
    fn operator_symbol(&mut self) -> &'static str {
        const SYMBOLS: &[&str] = &[
            "<<=", ">>=", "<=>", "->*", "==", "!=", "<=", ">=", "&&", "||", "++", "--", "+=", "-=", "*=", "/=", "%=",
            "&=", "|=", "^=", "<<", ">>", "->", "()", "[]", "+", "-", "*", "/", "%", "=", "<", ">", "!", "&", "|", "^",
            "~", ",",
        ];
        let rest = self.cursor.rest();
        let found = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)).copied().unwrap_or_default();
        self.cursor.advance(found.len());
        found
    }

    /// `<...>` after `name`, if that makes a name that is known; otherwise the `<` is an operator and nothing is taken.
    fn template_arguments(&mut self, module: &Option<String>, name: &str) -> Option<String> {
        let rest = self.cursor.rest();
        let arguments = balanced(rest)?;
        let base = Name { module: module.clone(), text: format!("{name}{arguments}"), local: false };
        let mut known = self.known.is_type(&base) || self.known.is_symbol(&base);
        // `Outer<int>::member`: the scope itself need not be a type that the debug info lists.
        if let (false, Some(next)) = (known, rest[arguments.len()..].strip_prefix("::")) {
            let len = next.find(|c| !is_word_char(c)).unwrap_or(next.len());
            let text = format!("{name}{arguments}::{}", &next[..len]);
            let longer = Name { module: module.clone(), text, local: false };
            known = self.known.is_type(&longer) || self.known.is_symbol(&longer);
        }
        if !known {
            return None;
        }
        self.cursor.advance(arguments.len());
        Some(arguments.to_owned())
    }
}

/// Splits `module!name`; names made of operators (`operator!`) have no module.
fn split_module(text: &str) -> Name {
    match text.split_once('!') {
        Some((module, name)) if !module.is_empty() && !name.is_empty() && !module.ends_with("operator") => {
            Name { module: Some(module.to_owned()), text: name.to_owned(), local: false }
        }
        _ => Name::plain(text),
    }
}

/// The bracketed text at the start of `text`, brackets included, if it is balanced.
fn balanced(text: &str) -> Option<&str> {
    if !text.starts_with('<') {
        return None;
    }
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            // What a function returns.
            '>' if text[..at].ends_with('-') => {}
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return (c == '>').then(|| &text[..=at]);
                }
            }
            ';' | '"' => return None,
            _ => {}
        }
    }
    None
}

fn starts_name(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '?')
}
