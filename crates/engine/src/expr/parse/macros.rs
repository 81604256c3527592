//! The macros of C++ expressions: `#FIELD_OFFSET(type, member)` and its like.

use super::Parser;
use crate::expr::cursor::is_word_char;
use crate::expr::{Cpp, ExprError, FieldFact, TypeName};

impl Parser<'_, '_> {
    /// A macro at the `#`.
    pub(super) fn cpp_macro(&mut self) -> Result<Cpp, ExprError> {
        let text = self.cursor.rest();
        self.cursor.advance(1);
        let word = self.cursor.take_while(is_word_char);
        self.cursor.expect("(")?;
        let parsed = match word {
            "FIELD_OFFSET" => self.field(FieldFact::Offset)?,
            "RTL_FIELD_SIZE" => self.field(FieldFact::Size)?,
            "RTL_SIZEOF_THROUGH_FIELD" => self.field(FieldFact::End)?,
            "CONTAINING_RECORD" => {
                let address = self.assignment()?;
                self.cursor.expect(",")?;
                let of = self.macro_type()?;
                self.cursor.expect(",")?;
                Cpp::ContainingRecord(Box::new(address), of, self.member_path()?)
            }
            "RTL_CONTAINS_FIELD" => {
                let of = Box::new(self.assignment()?);
                self.cursor.expect(",")?;
                let size = Box::new(self.assignment()?);
                self.cursor.expect(",")?;
                Cpp::ContainsField { of, size, member: self.member_path()? }
            }
            "RTL_NUMBER_OF" => Cpp::NumberOf(Box::new(self.assignment()?)),
            _ => return Err(ExprError::Unsupported { what: text.to_owned(), reason: "no such macro" }),
        };
        self.cursor.expect(")")?;
        Ok(parsed)
    }

    fn field(&mut self, fact: FieldFact) -> Result<Cpp, ExprError> {
        let of = self.macro_type()?;
        self.cursor.expect(",")?;
        Ok(Cpp::Field(fact, of, self.member_path()?))
    }

    /// Here a name can only be a type's, also where a variable has the same one.
    fn macro_type(&mut self) -> Result<TypeName, ExprError> {
        if let Some(of) = self.type_name()? {
            return Ok(of);
        }
        let name = self.name()?.ok_or_else(|| self.cursor.syntax())?;
        Ok(TypeName { name, pointers: 0, bounds: Vec::new(), array_pointers: 0, function: None, reference: false })
    }

    /// `member.of.member`.
    fn member_path(&mut self) -> Result<String, ExprError> {
        let mut path = self.member_name()?;
        while self.cursor.take(".") {
            self.cursor.node()?;
            path.push('.');
            path += &self.member_name()?;
        }
        Ok(path)
    }
}
