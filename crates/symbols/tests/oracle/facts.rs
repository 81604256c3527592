//! Facts about a variable as gdb's side of the comparison (`values.py`) writes them.

/// One variable as gdb shows it.
#[derive(Default)]
pub(crate) struct VariableFacts {
    pub(crate) name: String,
    /// Spelling, size as gdb computes it here, and size as declared.
    pub(crate) value_type: Option<(String, u64, u64)>,
    pub(crate) parts: Vec<Part>,
    /// Whether it is a value at entry in the frame of an inlined function.
    pub(crate) at_entry: bool,
}

/// A fact about a part of a variable, and the path to the part.
pub(crate) struct Part {
    pub(crate) path: String,
    pub(crate) fact: Fact,
}

pub(crate) enum Fact {
    Field {
        name: String,
        spelling: String,
        bit_offset: u64,
        bit_size: u64,
    },
    Count(u64),
    Integer(i128),
    Float(f64),
    /// What gdb says of the values at entry that it did not find, if it is by one.
    Gone(String),
    Synthetic,
    /// gdb could not say, and why.
    Error(String),
}

impl VariableFacts {
    /// A variable of this name, nothing known of it yet.
    pub(crate) fn new(name: &str) -> VariableFacts {
        VariableFacts { name: name.to_owned(), ..VariableFacts::default() }
    }

    /// Takes a line about the variable: its words, which tabs separate.
    pub(crate) fn take(&mut self, words: &[&str]) {
        let number = |at: usize| words[at].parse::<u64>().unwrap_or_else(|_| panic!("{words:?}"));
        let fact = match words[0] {
            "TYPE" => {
                self.value_type = Some((words[1].to_owned(), number(2), words[3].parse().unwrap_or(0)));
                return;
            }
            "ENTRY" => {
                self.at_entry = true;
                return;
            }
            "FIELD" => Fact::Field {
                name: words[2].to_owned(),
                spelling: words[3].to_owned(),
                bit_offset: number(4),
                bit_size: number(5),
            },
            "COUNT" => Fact::Count(number(2)),
            "LEAF" => match words[2] {
                "int" => Fact::Integer(words[3].parse().expect("integer")),
                "hex" => Fact::Integer(u128::from_str_radix(&words[3][2..], 16).expect("hex") as i128),
                "float" => Fact::Float(hex_float(words[3])),
                "gone" => Fact::Gone(words[3..].join(" ")),
                "synthetic" => Fact::Synthetic,
                _ => Fact::Error(words[3..].join(" ")),
            },
            _ => return,
        };
        self.parts.push(Part { path: words[1].to_owned(), fact });
    }
}

/// Python's `float.hex`: `-0x1.8p+1`.
fn hex_float(text: &str) -> f64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let Some((mantissa, exponent)) = digits.strip_prefix("0x").and_then(|digits| digits.split_once('p')) else {
        return sign * digits.parse::<f64>().expect("inf or nan");
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let bits = u64::from_str_radix(fraction, 16).expect("hex") as f64 / 16f64.powi(fraction.len() as i32);
    let exponent: i32 = exponent.parse().expect("exponent");
    let value = whole.parse::<f64>().expect("digit") + bits;
    sign * value * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
}
