//! What objects are compared by: `==` of objects, `OrderBy`, `Distinct`, `Contains`.

use std::cmp::Ordering;

use outpost_symbols::{Scalar, Unavailable};

use super::{Model, Node, Object};
use crate::expr::ExprError;

/// What an object is to others.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Nothing,
    Integer(i128),
    Float(f64),
    Text(String),
    Node(Node),
}

impl Key {
    fn rank(&self) -> u8 {
        match self {
            Key::Nothing => 0,
            Key::Integer(_) | Key::Float(_) => 1,
            Key::Text(_) => 2,
            Key::Node(_) => 3,
        }
    }

    /// A total order: kinds one after the other, numbers by value, NaN last.
    pub(super) fn order(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Integer(one), Key::Integer(other)) => one.cmp(other),
            (Key::Integer(one), Key::Float(other)) => (*one as f64).total_cmp(other),
            (Key::Float(one), Key::Integer(other)) => one.total_cmp(&(*other as f64)),
            (Key::Float(one), Key::Float(other)) => one.total_cmp(other),
            (Key::Text(one), Key::Text(other)) => one.cmp(other),
            (Key::Node(one), Key::Node(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

/// As the operators have it: what differs in kind is not ordered.
impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        match (self, other) {
            (Key::Float(one), Key::Float(other)) => one.partial_cmp(other),
            _ => (self.rank() == other.rank()).then(|| self.order(other)),
        }
    }
}

impl Model<'_> {
    /// What an object is compared by: its text, its number, which thing it is; what else it is by all that is shown of it.
    pub(super) fn key_of(&mut self, object: &Object) -> Result<Key, ExprError> {
        Ok(match object {
            Object::Failed(error) => return Err(error.clone()),
            Object::Nothing => Key::Nothing,
            Object::Text(text) => Key::Text(text.clone()),
            Object::Node(node) => Key::Node(*node),
            Object::Value(value) => {
                if let Some(text) = self.text_of(object)? {
                    return Ok(Key::Text(text));
                }
                match value.scalar(self.memory) {
                    Ok(Scalar::Float(number)) => Key::Float(number),
                    Ok(scalar) => Key::Integer(scalar.as_i128()),
                    Err(Unavailable::WrongType) => Key::Text(self.display(object)?),
                    Err(reason) => return Err(unreadable(value, reason)),
                }
            }
            Object::MadeUp(_) | Object::Sequence(_) | Object::Record(_) | Object::Function(_) => {
                Key::Text(self.display(object)?)
            }
        })
    }

    /// The integer that an object is.
    pub(super) fn integer_of(&mut self, object: &Object) -> Result<i128, ExprError> {
        match self.key_of(object)? {
            Key::Integer(number) => Ok(number),
            _ => Err(ExprError::Operand { operation: "[]".to_owned(), reason: "the index is no integer".to_owned() }),
        }
    }
}

pub(crate) fn unreadable(value: &outpost_symbols::Value, reason: Unavailable) -> ExprError {
    match reason {
        Unavailable::Memory { at } => ExprError::Memory { at },
        reason => ExprError::Value { name: value.value_type().to_string(), reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_value_and_kinds_one_after_the_other() {
        let mut keys = [
            Key::Text("b".into()),
            Key::Float(1.5),
            Key::Integer(2),
            Key::Float(f64::NAN),
            Key::Nothing,
            Key::Text("a".into()),
            Key::Integer(-1),
        ];
        keys.sort_by(Key::order);
        let shown: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
        let expected =
            ["Nothing", "Integer(-1)", "Float(1.5)", "Integer(2)", "Float(NaN)", "Text(\"a\")", "Text(\"b\")"];
        assert_eq!(shown, expected);
        assert!(Key::Integer(1) == Key::Float(1.0) && Key::Integer(1) != Key::Text("1".into()));
        assert!(
            Key::Float(f64::NAN) != Key::Float(f64::NAN)
                && Key::Text("1".into()).partial_cmp(&Key::Integer(5)).is_none()
        );
    }
}
