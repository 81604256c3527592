//! Values of ours beside gdb's.

use std::collections::BTreeSet;

use outpost_base::MemoryReader;
use outpost_symbols::{Language, Type, TypeKind, Unavailable, Value};

use super::explained::{Explained, Tally};
use super::facts::{Fact, Part, VariableFacts};

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
    let all = wanted;
    for wanted in all {
        // Several of one name: gdb and we list them innermost first, but gdb may have some in between.
        let mut same = (0..ours.len()).filter(|at| !taken[*at] && ours[*at].0 == wanted.name);
        let first = same.clone().next();
        let is_wanted = |at: &usize| wanted.value_type.as_ref().is_some_and(|(gdb, ..)| may_be(gdb, &ours[*at].1));
        // Where gdb has more of them, what has no value is none of ours by its name alone; the unit type has none.
        let is_bare = wanted.value_type.as_ref().is_some_and(|(_, size, _)| *size == 0) || has_no_value(wanted);
        let theirs = all.iter().filter(|other| other.name == wanted.name).count();
        let is_extra = is_bare && theirs > ours.iter().filter(|(name, _)| *name == wanted.name).count();
        let found = same.find(is_wanted).or(first.filter(|_| !is_extra));
        let Some(found) = found else {
            if is_bare {
                let example = format!("{function}: gdb lists {} without a value", wanted.name);
                tally.explain(Explained::AbstractBlock, example);
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

/// Whether a value of ours may be what gdb has under a type of this name.
fn may_be(gdb: &str, value: &Value) -> bool {
    let spelled = value.value_type().to_string();
    let is_pointer = matches!(value.value_type().resolved().kind(), TypeKind::Pointer { .. });
    match value.value_type().language() {
        Language::Rust => spelled == gdb || gdb.starts_with("*mut ") && is_pointer,
        _ => without_arguments(&spelled) == without_arguments(gdb),
    }
}

/// Whether a value at entry is not told since the function may have been entered again by a tail call.
fn is_entered_again(reason: &Unavailable) -> bool {
    matches!(reason, Unavailable::EntryValue { why } if why.contains("entered itself"))
}

/// Whether gdb says of no part of a variable what it is.
fn has_no_value(variable: &VariableFacts) -> bool {
    variable.parts.iter().all(|part| !matches!(part.fact, Fact::Integer(_) | Fact::Float(_)))
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
            self.size(*size, *declared, value.value_type());
        }
        let mut inactive = Vec::new();
        for part in &wanted.parts {
            if inactive.iter().any(|path: &String| part.path.starts_with(path)) {
                continue;
            }
            if let Some(why) = self.is_inactive(value, part, &wanted.parts) {
                self.explained(why, &format!("gdb lists {}", part.path));
                inactive.push(format!("{}/", part.path));
                continue;
            }
            let part_value = match follow(value, &part.path, self.memory) {
                Ok(value) => value,
                Err(_) if matches!(part.fact, Fact::Gone(_) | Fact::Error(_)) => continue,
                // No variant of an enum that is gone is the active one; gdb walks through all of them.
                Err(reason)
                    if reason.is_optimized_out() && matches!(part.fact, Fact::Field { .. } | Fact::Count(_)) =>
                {
                    continue;
                }
                // Of an enum, whose discriminant gdb takes to be there.
                Err(Unavailable::Register { dwarf }) if !is_preserved(dwarf) => {
                    self.explained(Explained::Destroyed, &format!("path {}: register {dwarf} is unknown", part.path));
                    inactive.push(format!("{}/", part.path));
                    continue;
                }
                Err(_) if is_in_declared(value, &part.path, self.memory) => {
                    self.explained(Explained::OtherImage, &format!("gdb has {}", part.path));
                    continue;
                }
                Err(reason) if is_entered_again(&reason) => {
                    self.explained(Explained::EnteredAgain, &format!("gdb has {}", part.path));
                    continue;
                }
                Err(reason) => {
                    self.differs(&format!("path {}", part.path), reason.to_string());
                    continue;
                }
            };
            self.part((wanted, value), part, &part_value);
            self.layout(value, part);
        }
    }

    /// Why gdb lists a variant of an enum that is not the active one, if it does.
    fn is_inactive(&mut self, value: &Value, part: &Part, all: &[Part]) -> Option<Explained> {
        let (Fact::Field { name, .. }, Some((parent, number))) = (&part.fact, part.path.rsplit_once("/#")) else {
            return None;
        };
        let second = format!("{parent}/#2");
        let parent = follow(value, parent, self.memory).ok()?;
        if number == "0" && parent.value_type().discriminant().is_some() {
            return None;
        }
        let active = match parent.variant(self.memory) {
            Ok((active, _)) => Some(active),
            Err(Unavailable::WrongType) => return None,
            // Which is active is not known to us either.
            Err(_) => None,
        };
        if parent.value_type().discriminant().is_none() {
            return (active.as_ref() != Some(name)).then_some(Explained::OnlyVariant);
        }
        // It cannot choose where it has no address to read the discriminant at.
        let lists_all = all.iter().any(|other| other.path == second) && value.address().is_none();
        (lists_all && active.as_ref() != Some(name)).then_some(Explained::EveryVariant)
    }

    /// Whether a part is a member that, by the debug info, lies where its record has ended already.
    fn is_behind_the_end(&mut self, whole: &Value, part: &Part) -> bool {
        let Some((parent, number)) = part.path.rsplit_once("/#") else { return false };
        let Ok(parent) = follow(whole, parent, self.memory) else { return false };
        let field =
            number.parse::<usize>().ok().and_then(|number| parent.value_type().fields().into_iter().nth(number));
        let end = field.and_then(|field| Some(field.offset + field.field_type.size()?));
        end.zip(parent.value_type().size()).is_some_and(|(end, size)| end > size)
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

    /// The size, which gdb also computes anew for each value.
    fn size(&mut self, size: u64, declared: u64, value_type: &Type) {
        let ours = value_type.size();
        if ours == Some(size) {
            return;
        }
        let how = format!("size of {value_type}: gdb {size}, declared as {declared}, we {ours:?}");
        match value_type.resolved().kind() {
            _ if ours == Some(declared) => self.explained(Explained::ActiveSize, &how),
            TypeKind::Unspecified => self.explained(Explained::NoSize, &how),
            _ if ours.is_none() && size == 0 => self.explained(Explained::NoSize, &how),
            _ => self.differs("size", how),
        }
    }

    /// Compares what gdb says of a part of a variable with `value`, which is ours of it.
    fn part(&mut self, (wanted, whole): (&VariableFacts, &Value), part: &Part, value: &Value) {
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
                Ok(scalar) if scalar.as_i128() == *expected => {}
                Ok(scalar) => {
                    let how = format!("{what}: gdb {expected}, we {}", scalar.as_i128());
                    if wanted.at_entry {
                        self.explained(Explained::EntryOfInlined, &how);
                    } else {
                        self.differs("integer", how);
                    }
                }
                Err(reason) => {
                    let how = format!("{what}: gdb {expected}, we: {reason}");
                    match reason {
                        Unavailable::OptimizedOut if *expected == 0 => self.explained(Explained::ZeroFill, &how),
                        Unavailable::Register { dwarf } if !is_preserved(dwarf) => {
                            self.explained(Explained::Destroyed, &how);
                        }
                        _ if is_entered_again(&reason) => self.explained(Explained::EnteredAgain, &how),
                        _ if self.is_behind_the_end(whole, part) => {
                            self.explained(Explained::BehindTheEnd, &how);
                        }
                        _ => self.differs("integer", how),
                    }
                }
            },
            Fact::Float(expected) => match value.scalar(self.memory) {
                // Python tells no NaN from another.
                Ok(scalar) if expected.is_nan() && scalar.as_f64().is_nan() => {}
                Ok(scalar) => self.same(&what, &expected.to_bits(), &scalar.as_f64().to_bits()),
                Err(Unavailable::Register { dwarf }) if !is_preserved(dwarf) => {
                    self.explained(
                        Explained::Destroyed,
                        &format!("{what}: gdb {expected}, we: register {dwarf} is unknown"),
                    );
                }
                Err(reason) if is_entered_again(&reason) => self.explained(Explained::EnteredAgain, &what),
                Err(reason) => self.differs(&what, reason.to_string()),
            },
            Fact::Gone(why) => {
                self.tally.gone += 1;
                if let Ok(scalar) = value.scalar(self.memory) {
                    let how = format!("{what}: gdb has none ({why}), we have {scalar:?}");
                    let computed = [
                        "DWARF block resolving requires known frame",
                        "but the called frame is for",
                        "failed to find function name for address",
                    ];
                    match why.as_str() {
                        _ if why.contains("DW_AT_call_target is not specified") => {
                            self.explained(Explained::OriginOfOrigin, &how);
                        }
                        _ if why.contains("Cannot find function") => self.explained(Explained::CName, &how),
                        _ if computed.iter().any(|words| why.contains(words)) => {
                            self.explained(Explained::ComputedTarget, &how);
                        }
                        _ => self.differs("gone", how),
                    }
                }
            }
            Fact::Synthetic => {
                // gdb also calls a pointer so that no piece of the location has.
                if !value.is_implicit_pointer() && value.missing().is_none() {
                    self.differs(&what, "is no implicit pointer".to_owned());
                }
            }
            Fact::Error(text) if text.starts_with("Cannot access memory") => match value.scalar(self.memory) {
                Err(Unavailable::Memory { .. }) => self.tally.gone += 1,
                _ if matches!(value.bytes(self.memory), Err(Unavailable::Memory { .. })) => self.tally.gone += 1,
                _ if matches!(value.missing(), Some(Unavailable::Register { dwarf }) if !is_preserved(*dwarf)) => {
                    self.explained(Explained::Destroyed, &format!("{what}: gdb: {text}, we: {:?}", value.missing()));
                }
                // The whole variable, because of the discriminant of an enum in it, read as if it were at address 0.
                _ if part.path.is_empty() && value.address().is_none() && is_within(text, value.value_type()) => {
                    self.explained(Explained::NoAddress, &format!("{what}: {text}"));
                }
                ours => self.differs("integer", format!("{what}: gdb: {text}, we {ours:?}")),
            },
            Fact::Error(text) => self.explained(Explained::NotTold, &format!("{what}: {text}")),
        }
    }

    /// Types are spelled alike, but for what gdb is known to do otherwise.
    fn spelling(&mut self, what: &str, gdb: &str, ours: &Type) {
        self.tally.types += 1;
        let spelled = ours.to_string();
        if spelled == gdb {
            return;
        }
        let how = format!("{what}: gdb {gdb:?}, we {spelled:?}");
        let why = match ours.language() {
            Language::Rust => (gdb.starts_with("*mut ") && ours.size() == Some(8)).then_some(Explained::RustPointer),
            _ => {
                let (plain, plain_gdb) = (without_arguments(&spelled), without_arguments(gdb));
                let is_local = |full: &str| full.strip_suffix(gdb).is_some_and(|scope| scope.ends_with("::"));
                let methods = spelled.contains("::*)(") && gdb.contains("::*)(");
                match () {
                    () if plain == plain_gdb => Some(Explained::TemplateArguments),
                    () if is_local(&spelled) => Some(Explained::LocalType),
                    () if plain == usual(&plain_gdb) || methods => Some(Explained::Spelling),
                    () if spelled == "int (**)(...)" && gdb == "int (**)(void)" => Some(Explained::Spelling),
                    () => None,
                }
            }
        };
        match why {
            Some(why) => self.explained(why, &how),
            None => self.differs("type", how),
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, gdb: &T, ours: &T) {
        if gdb != ours {
            self.differs(what, format!("gdb {gdb:?}, we {ours:?}"));
        }
    }

    fn explained(&mut self, why: Explained, how: &str) {
        self.tally.explain(why, format!("{}: {how}", self.place));
    }

    fn differs(&mut self, what: &str, how: String) {
        self.tally.differences.push(format!("{}: {what}: {how}", self.place));
    }
}

/// Whether the address in gdb's complaint is one within a value that begins at 0.
fn is_within(complaint: &str, value_type: &Type) -> bool {
    let address = complaint.rsplit_once("0x").and_then(|(_, digits)| u64::from_str_radix(digits, 16).ok());
    address.zip(value_type.size()).is_some_and(|(address, size)| address < size)
}

/// Whether a path leads into a type that its image only declares.
fn is_in_declared(value: &Value, path: &str, memory: &mut dyn MemoryReader) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.filter_map(|end| follow(value, &path[..end], memory).ok())
        .any(|part| part.value_type().resolved().record().is_some_and(|record| record.declaration))
}

/// Whether called functions preserve a register (System V ABI, AMD64, 3.2.1; DWARF numbers from 3.6.2).
fn is_preserved(register: u16) -> bool {
    matches!(register, 3 | 6 | 7 | 12..=15)
}

/// gdb 13 has two spellings for one type, and no space before the brackets of constant pointers.
fn usual(spelled: &str) -> String {
    let spelled = spelled
        .replace("unsigned int __int128", "unsigned __int128")
        .replace("const[", "const [")
        .replace("const&", "const &");
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
