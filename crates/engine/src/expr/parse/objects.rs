//! What expressions of the object model have beyond C++: methods, functions as values, objects without a type.

use super::Parser;
use crate::expr::cursor::is_word_char;
use crate::expr::{Cpp, ExprError, Lambda, Name};

/// Arguments of a method, parameters of a function and members of an object at most.
const LIST_LIMIT: usize = 32;

impl Parser<'_, '_> {
    /// `(arguments)` behind `of.method`.
    pub(super) fn call(&mut self, of: Box<Cpp>, method: String) -> Result<Cpp, ExprError> {
        self.cursor.expect("(")?;
        self.cursor.node()?;
        let arguments = self.parenthesised(Parser::arguments)?;
        Ok(Cpp::Call { of, method, arguments })
    }

    /// `(arguments)` behind `function`.
    pub(super) fn apply(&mut self, function: Name) -> Result<Cpp, ExprError> {
        self.cursor.expect("(")?;
        self.cursor.node()?;
        let arguments = self.parenthesised(Parser::arguments)?;
        Ok(Cpp::Apply { function, arguments })
    }

    /// Arguments up to the closing parenthesis, which is taken.
    fn arguments(&mut self) -> Result<Vec<Cpp>, ExprError> {
        let mut arguments = Vec::new();
        if self.cursor.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.assignment()?);
            if !self.cursor.take(",") {
                self.cursor.expect(")")?;
                return Ok(arguments);
            }
            if arguments.len() == LIST_LIMIT {
                return Err(ExprError::TooComplex);
            }
        }
    }

    /// A function, if it comes next.
    pub(super) fn lambda(&mut self) -> Result<Option<Cpp>, ExprError> {
        let start = self.cursor.position();
        let parameters = self.parameters();
        if parameters.is_empty() || !self.cursor.take("=>") {
            self.cursor.rewind(start);
            return Ok(None);
        }
        self.cursor.node()?;
        let body = Box::new(self.assignment()?);
        let text = self.cursor.read().get(start..).unwrap_or_default().trim().to_owned();
        Ok(Some(Cpp::Lambda(Lambda { parameters, body, text })))
    }

    /// `(arguments)` behind what gives a function of the object model.
    pub(super) fn invoke(&mut self, function: Cpp) -> Result<Cpp, ExprError> {
        self.cursor.expect("(")?;
        self.cursor.node()?;
        let arguments = self.parenthesised(Parser::arguments)?;
        Ok(Cpp::Invoke { function: Box::new(function), arguments })
    }

    /// `x`, `(x, y)`; empty if neither comes next.
    fn parameters(&mut self) -> Vec<String> {
        let parenthesised = self.cursor.take("(");
        let mut parameters = Vec::new();
        loop {
            let name = self.word();
            if name.is_empty() || parameters.len() == LIST_LIMIT {
                return Vec::new();
            }
            parameters.push(name);
            if !parenthesised {
                return parameters;
            }
            if !self.cursor.take(",") {
                return if self.cursor.take(")") { parameters } else { Vec::new() };
            }
        }
    }

    /// `new { Name = expression, expression.Name }`, if it comes next.
    pub(super) fn anonymous(&mut self) -> Result<Option<Cpp>, ExprError> {
        let start = self.cursor.position();
        if !self.cursor.take_word("new") || !self.cursor.take("{") {
            self.cursor.rewind(start);
            return Ok(None);
        }
        self.cursor.node()?;
        self.parenthesised(Parser::members).map(|members| Some(Cpp::Anonymous(members)))
    }

    fn members(&mut self) -> Result<Vec<(String, Cpp)>, ExprError> {
        let mut members = Vec::new();
        while !self.cursor.take("}") {
            if members.len() == LIST_LIMIT {
                return Err(ExprError::TooComplex);
            }
            members.push(self.object_member()?);
            if !self.cursor.take(",") {
                self.cursor.expect("}")?;
                break;
            }
        }
        Ok(members)
    }

    /// `Name = expression`; an expression that ends in a name needs none.
    fn object_member(&mut self) -> Result<(String, Cpp), ExprError> {
        let start = self.cursor.position();
        let name = self.word();
        let is_named = !name.is_empty() && self.cursor.take("=") && !self.cursor.rest().starts_with('=');
        if is_named {
            return Ok((name, self.assignment()?));
        }
        self.cursor.rewind(start);
        match self.assignment()? {
            Cpp::Member { of, member, arrow } => Ok((member.clone(), Cpp::Member { of, member, arrow })),
            Cpp::Name(name) => Ok((name.text.clone(), Cpp::Name(name))),
            _ => {
                self.cursor.rewind(start);
                Err(self.cursor.syntax())
            }
        }
    }

    fn word(&mut self) -> String {
        self.cursor.skip_spaces();
        if self.cursor.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return String::new();
        }
        self.cursor.take_while(|c| is_word_char(c) && !matches!(c, '@' | '$' | '?')).to_owned()
    }
}
