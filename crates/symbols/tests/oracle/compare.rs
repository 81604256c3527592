//! Values of ours beside gdb's.

use std::collections::{BTreeMap, BTreeSet};

use outpost_base::MemoryReader;
use outpost_symbols::{Language, Type, TypeKind, Unavailable, Value};

use super::facts::{Fact, Part, VariableFacts};

/// How much was compared; a test that compares nothing proves nothing.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) frames: usize,
    pub(crate) variables: usize,
    pub(crate) parts: usize,
    pub(crate) gone: usize,
    /// Parts that gdb could not tell.
    pub(crate) untold: usize,
    pub(crate) differences: Vec<String>,
    /// Differences whose reason is known.
    pub(crate) explained: BTreeMap<Explained, usize>,
}

/// Why gdb 13 and we are known to differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Explained {
    /// A call site's `DW_AT_call_origin` is an entry without addresses that refers on to the function, as gcc's LTO
    /// writes it. gdb looks for addresses in the entry itself, so it does not know the callee nor what it was passed; we
    /// follow the reference.
    OriginOfOrigin,
    /// A location list that covers the call names a register that calls destroy. gdb shows what the innermost frame has
    /// in it, which is nothing of this function's; we say that it is unknown.
    Destroyed { register: u16 },
    /// gdb cannot tell the active variant of a Rust enum whose bytes are not all in memory, and lists all of them.
    EveryVariant,
    /// An abstract block that no concrete block names as its origin: gdb lists its variables and those of all blocks in it
    /// as optimized out, though the concrete blocks have them: a second time, or where their block was not entered.
    AbstractBlock,
}

/// Compares the variables that gdb lists in a frame with ours, both innermost block first.
pub(crate) fn compare_variables(
    function: &str,
    wanted: &[VariableFacts],
    ours: &[(String, Value)],
    memory: &mut dyn MemoryReader,
    tally: &mut Tally,
) {
    let names = |names: Vec<&String>| names.into_iter().cloned().collect::<BTreeSet<_>>();
    let our_names = names(ours.iter().map(|(name, _)| name).collect());
    let gdb_names = names(wanted.iter().map(|variable| &variable.name).collect());
    // gdb leaves out parameters without a name.
    let more: Vec<_> = our_names.difference(&gdb_names).filter(|name| !name.is_empty()).collect();
    if !more.is_empty() {
        tally.differences.push(format!("{function}: more {more:?}"));
    }
    let mut taken = vec![false; ours.len()];
    for wanted in wanted {
        // Several of one name: gdb and we list them innermost first.
        let found = (0..ours.len()).find(|at| !taken[*at] && ours[*at].0 == wanted.name);
        let Some(found) = found else {
            let is_gone = |part: &Part| !matches!(part.fact, Fact::Integer(_) | Fact::Float(_));
            if wanted.parts.iter().all(is_gone) {
                *tally.explained.entry(Explained::AbstractBlock).or_default() += 1;
            } else {
                tally.differences.push(format!("{function}: less {}", wanted.name));
            }
            continue;
        };
        taken[found] = true;
        tally.variables += 1;
        let place = format!("{function} {}", wanted.name);
        Comparison { place, memory: &mut *memory, tally: &mut *tally }.variable(wanted, &ours[found].1);
    }
}

/// A comparison of one variable.
pub(crate) struct Comparison<'a> {
    /// What to call it where it differs.
    pub(crate) place: String,
    /// The debuggee's memory.
    pub(crate) memory: &'a mut dyn MemoryReader,
    /// Where the outcome goes.
    pub(crate) tally: &'a mut Tally,
}

impl Comparison<'_> {
    /// Compares all that gdb tells of the variable.
    pub(crate) fn variable(&mut self, wanted: &VariableFacts, value: &Value) {
        if let Some((spelling, size, declared)) = &wanted.value_type {
            self.spelling("type", spelling, value.value_type());
            // gdb 13 gives a Rust struct that ends with an enum the size of its active variant, and nullptr_t none.
            let ours = value.value_type().size();
            let null = matches!(value.value_type().resolved().kind(), TypeKind::Unspecified);
            // A type that the program only declares has no size for us and none of zero bytes for gdb.
            let incomplete = ours.is_none() && *size == 0;
            if ours != Some(*declared) && !null && !incomplete {
                self.same("size", &Some(*size), &ours);
            }
        }
        let mut inactive = Vec::new();
        for part in &wanted.parts {
            if inactive.iter().any(|path: &String| part.path.starts_with(path)) {
                continue;
            }
            if self.is_inactive(value, part, &wanted.parts) {
                self.explained(Explained::EveryVariant);
                inactive.push(format!("{}/", part.path));
                continue;
            }
            let part_value = match follow(value, &part.path, self.memory) {
                Ok(value) => value,
                Err(_) if matches!(part.fact, Fact::Gone | Fact::Untargeted | Fact::Error) => continue,
                // No variant of an enum that is gone is the active one; gdb walks through all of them.
                Err(reason)
                    if reason.is_optimized_out() && matches!(part.fact, Fact::Field { .. } | Fact::Count(_)) =>
                {
                    continue;
                }
                Err(reason) => {
                    self.differs(&format!("path {}", part.path), reason.to_string());
                    continue;
                }
            };
            self.part(part, &part_value);
            self.layout(value, part);
        }
    }

    /// Whether gdb, unable to choose, lists a variant of an enum that is not the active one.
    fn is_inactive(&mut self, value: &Value, part: &Part, all: &[Part]) -> bool {
        let (Fact::Field { name, .. }, Some((parent, number))) = (&part.fact, part.path.rsplit_once("/#")) else {
            return false;
        };
        let second = format!("{parent}/#2");
        if number == "0" || !all.iter().any(|other| other.path == second) {
            return false;
        }
        let Ok(parent) = follow(value, parent, self.memory) else { return false };
        match parent.variant(self.memory) {
            Ok((active, _)) => active != *name,
            // Which is active is not known to us either, or it is no enum.
            Err(reason) => !matches!(reason, Unavailable::WrongType),
        }
    }

    /// Where a field lies in its record.
    fn layout(&mut self, value: &Value, part: &Part) {
        let Fact::Field { name, bit_offset, bit_size, .. } = &part.fact else { return };
        let (parent, number) = part.path.rsplit_once("/#").expect("fields have parents");
        let Ok(parent) = follow(value, parent, self.memory) else { return };
        // gdb moves the fields of a Rust enum's variants; those of plain records are what counts.
        if parent.value_type().discriminant().is_some() {
            return;
        }
        let fields = parent.value_type().fields();
        let Some(field) = fields.get(number.parse::<usize>().expect("number")) else { return };
        let ours = field.bits.map_or((8 * field.offset, 0), |bits| (bits.offset, bits.size));
        self.same(&format!("layout of {} {name}", part.path), &(*bit_offset, *bit_size), &ours);
        self.same(&format!("name of {}", part.path), &name.replace("None", ""), &field.name.replace("None", ""));
    }

    fn part(&mut self, part: &Part, value: &Value) {
        self.tally.parts += 1;
        let what = format!("value {}", part.path);
        match &part.fact {
            Fact::Field { name, spelling, .. } => {
                self.spelling(&format!("type of {} {name}", part.path), spelling, value.value_type());
            }
            Fact::Count(count) => {
                let ours = value.value_type().element().and_then(|(_, count)| count);
                self.same(&format!("count {}", part.path), &Some(*count), &ours);
            }
            // The unit type has no bytes; gdb shows it as 0.
            Fact::Integer(0) if value.value_type().size() == Some(0) => {}
            Fact::Integer(expected) => match value.scalar(self.memory) {
                Ok(scalar) => self.same(&what, expected, &scalar.as_i128()),
                // gdb shows zeros where the pieces of a location end before the value does.
                Err(Unavailable::OptimizedOut) if *expected == 0 => self.tally.untold += 1,
                Err(Unavailable::Register { dwarf }) if !is_preserved(dwarf) => {
                    self.explained(Explained::Destroyed { register: dwarf });
                }
                Err(reason) => self.differs(&what, reason.to_string()),
            },
            Fact::Float(expected) => match value.scalar(self.memory) {
                // Python tells no NaN from another.
                Ok(scalar) if expected.is_nan() && scalar.as_f64().is_nan() => {}
                Ok(scalar) => self.same(&what, &expected.to_bits(), &scalar.as_f64().to_bits()),
                Err(reason) => self.differs(&what, reason.to_string()),
            },
            Fact::Gone => {
                self.tally.gone += 1;
                if let Ok(scalar) = value.scalar(self.memory) {
                    self.differs(&what, format!("gdb has none, we have {scalar:?}"));
                }
            }
            Fact::Untargeted => {
                self.tally.gone += 1;
                if value.scalar(self.memory).is_ok() {
                    self.explained(Explained::OriginOfOrigin);
                }
            }
            Fact::Synthetic => {
                // gdb also calls a pointer so that no piece of the location has.
                if !value.is_implicit_pointer() && value.missing().is_none() {
                    self.differs(&what, "is no implicit pointer".to_owned());
                }
            }
            Fact::Error => self.tally.untold += 1,
        }
    }

    /// Types are spelled alike, but for what gdb is known to do otherwise.
    fn spelling(&mut self, what: &str, gdb: &str, ours: &Type) {
        let spelled = ours.to_string();
        let same = match ours.language() {
            // gdb does not tell Rust's pointers apart: all are `*mut T`.
            Language::Rust => spelled == gdb || gdb.starts_with("*mut ") && ours.size() == Some(8),
            // It spells template arguments anew (`int const` for `const int`), and `this` in types of methods.
            _ => {
                without_arguments(&spelled) == usual(&without_arguments(gdb))
                    // It leaves out the function that a type is local to.
                    || spelled.strip_suffix(gdb).is_some_and(|scope| scope.ends_with("::"))
                    || spelled.contains("::*)(") && gdb.contains("::*)(")
                    || spelled == "int (**)(...)" && gdb == "int (**)(void)"
            }
        };
        if !same {
            self.differs(what, format!("gdb {gdb:?}, we {spelled:?}"));
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, gdb: &T, ours: &T) {
        if gdb != ours {
            self.differs(what, format!("gdb {gdb:?}, we {ours:?}"));
        }
    }

    fn explained(&mut self, why: Explained) {
        *self.tally.explained.entry(why).or_default() += 1;
    }

    fn differs(&mut self, what: &str, how: String) {
        self.tally.differences.push(format!("{}: {what}: {how}", self.place));
    }
}

/// Whether called functions preserve a register (System V ABI, AMD64, 3.2.1; DWARF numbers from 3.6.2).
fn is_preserved(register: u16) -> bool {
    matches!(register, 3 | 6 | 7 | 12..=15)
}

/// gdb 13 has two spellings for one type, and no space before the brackets of constant pointers.
fn usual(spelled: &str) -> String {
    let spelled = spelled.replace("unsigned int __int128", "unsigned __int128").replace("const[", "const [");
    spelled.replace("__int128 unsigned", "unsigned __int128")
}

/// A C++ type without template arguments.
fn without_arguments(spelled: &str) -> String {
    let mut depth = 0;
    let mut kept = String::new();
    for letter in spelled.chars() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
    }
    kept
}

/// The part of `value` at a path of bases (`^n`), members (`#n`), elements (`[n]`) and what references refer to (`*`).
fn follow(value: &Value, path: &str, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
    let mut value = value.clone();
    for step in path.split('/').skip(1) {
        let (kind, rest) = step.split_at(1);
        let number = || rest.trim_end_matches(']').parse::<usize>().expect("number");
        value = match kind {
            "^" => value.base(number(), memory)?,
            "[" => value.index(number() as i64, memory)?,
            "*" => value.deref(memory)?,
            _ => member(&value, number(), memory)?,
        };
    }
    Ok(value)
}

/// Member `number`; gdb shows a Rust enum as its discriminant and its active variant.
fn member(value: &Value, number: usize, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
    let value_type: Type = value.value_type().resolved();
    let is_enum = matches!(value_type.kind(), TypeKind::Record(record) if record.variants.is_some());
    match (is_enum, value_type.discriminant(), number) {
        (true, Some(discriminant), 0) => Ok(value.field(&discriminant)),
        (true, _, _) => Ok(value.variant(memory)?.1),
        (false, _, _) => {
            let fields = value_type.fields();
            fields.get(number).map(|field| value.field(field)).ok_or(Unavailable::WrongType)
        }
    }
}
