//! Scanning units for names: every DIE is looked at, few attributes are read, nothing is built of the rest.

mod addresses;
mod entries;
mod skip;

use gimli::{DebugStrOffsetsIndex, Dwarf, Section};

use super::abbrev::{AbbrevKey, AbbrevTable, Class, Compiled, Slot, Step};
use super::chunk::{Chunk, CrossReference, Entry, EntryKind, NO_ENTRY, pack_die};
use super::cursor::{Cursor, Value};
use super::files;
use super::strings::{Source, StringId, string_at};
use crate::debug_info::{UnitSpan, die_ranges, unit_header};
use crate::dwarf_sections::DwarfSlice;
use crate::hash::IntMap;
use crate::split::Piece;
use crate::{DieSection, ImageRange, Problem};
use skip::{pass_over, skip_children};

/// Deepest nesting of DIEs that is followed; compilers reach some dozens.
const MAX_DEPTH: usize = 4096;
/// Longest chain of specifications and abstract origins that is followed; DWARF needs two.
const MAX_ALIASES: usize = 8;
/// What anonymous namespaces are called, as gdb and the C++ demanglers do.
const ANONYMOUS_NAMESPACE: &[u8] = b"(anonymous namespace)";

/// What all units of a scan share.
pub(super) struct Scan<'a> {
    pub(super) dwarf: &'a Dwarf<DwarfSlice<'a>>,
    /// Addresses that hold code; functions elsewhere were discarded by the linker.
    pub(super) text: &'a [ImageRange],
    /// Type DIEs of type units by signature, as [`pack_die`] packs them.
    pub(super) signatures: &'a IntMap<u64, u64>,
    /// Most ranges of code that are believed, against lists that many DIEs share.
    pub(super) max_ranges: usize,
    /// The piece of split DWARF that `dwarf` is, if it is one.
    pub(super) piece: Option<ScannedPiece<'a>>,
}

/// What units of a piece of split DWARF need besides its own sections.
#[derive(Clone, Copy)]
pub(super) struct ScannedPiece<'a> {
    pub(super) piece: &'a Piece,
    /// The program's own sections.
    pub(super) program: &'a Dwarf<DwarfSlice<'a>>,
    /// The skeletons in them, by what the units here have in common with them.
    pub(super) skeletons: &'a IntMap<u64, UnitSpan>,
}

/// A DIE that gives others their name.
#[derive(Clone, Copy)]
enum Named {
    Name(Name, u32),
    Alias(u64),
}

/// Where a name lies; interned only when an entry needs it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Missing,
    At(u64),
}

/// Sections of strings, in the upper bits of [`Name::At`].
const IN_STR: u64 = 0;
const IN_LINE_STR: u64 = 1 << 60;
const IN_ALT: u64 = 2 << 60;
const IN_UNIT: u64 = 3 << 60;
const OFFSET_MASK: u64 = (1 << 60) - 1;

#[derive(Clone, Copy)]
struct Scope {
    parent: u32,
    in_function: bool,
}

/// The attributes taken of one DIE.
struct Die<'a> {
    name: Name,
    sibling: Option<u64>,
    low: Option<Value<'a>>,
    high: Option<Value<'a>>,
    ranges: Option<Value<'a>>,
    origin: Option<Value<'a>>,
    location: Option<Value<'a>>,
    declaration: bool,
    inlined: bool,
    enum_class: bool,
    signature: Option<u64>,
    size: u32,
}

/// A unit being scanned.
struct UnitScan<'a, 's, 'c> {
    scan: &'s Scan<'a>,
    dwarf: &'s Dwarf<DwarfSlice<'a>>,
    unit: gimli::Unit<DwarfSlice<'a>>,
    span: UnitSpan,
    bytes: &'a [u8],
    chunk: &'s mut Chunk<'c>,
    /// By offset in the unit, ascending.
    named: Vec<(u64, Named)>,
    /// Entries that have their scope, and mostly their name, from elsewhere.
    pending: Vec<(u32, u64)>,
    /// Functions of other units that are inlined in this one.
    inlined: IntMap<u64, ()>,
    number: u32,
}

/// DIEs of one unit that others get their name from, with entries of a chunk as scopes.
pub(super) struct NamedDies {
    dies: Vec<(u64, Option<(StringId, u32)>)>,
}

impl NamedDies {
    /// Name and scope of the DIE at `offset` of the unit.
    pub(super) fn get(&self, offset: u64) -> Option<(StringId, u32)> {
        let at = self.dies.binary_search_by_key(&offset, |die| die.0).ok()?;
        self.dies.get(at)?.1
    }
}

impl<'a> Scan<'a> {
    /// Scans one unit into `chunk`. What was read before damage is kept, and the damage reported.
    pub(super) fn unit(&self, number: u32, span: UnitSpan, table: &mut Option<AbbrevTable>, chunk: &mut Chunk<'_>) {
        if let Err(problem) = self.try_unit(number, span, table, chunk) {
            let what = format!("unit at {:#x}", span.start);
            chunk.problems.push(Problem::new(what, problem));
        }
    }

    fn try_unit(
        &self,
        number: u32,
        span: UnitSpan,
        table: &mut Option<AbbrevTable>,
        chunk: &mut Chunk<'_>,
    ) -> Result<(), String> {
        let mut scan = self.start(number, span, chunk)?;
        scan.root();
        scan.dies(table)?;
        scan.resolve();
        Ok(())
    }

    /// Scans a unit again for the names that other units refer to. Everything else goes into `chunk`, too.
    pub(super) fn named_dies(
        &self,
        span: UnitSpan,
        table: &mut Option<AbbrevTable>,
        chunk: &mut Chunk<'_>,
    ) -> Result<NamedDies, String> {
        let mut scan = self.start(u32::MAX, span, chunk)?;
        scan.dies(table)?;
        scan.resolve();
        let offsets: Vec<u64> = scan.named.iter().map(|named| named.0).collect();
        Ok(NamedDies { dies: offsets.into_iter().map(|offset| (offset, scan.lookup(offset))).collect() })
    }

    fn start<'s, 'c>(
        &'s self,
        number: u32,
        span: UnitSpan,
        chunk: &'s mut Chunk<'c>,
    ) -> Result<UnitScan<'a, 's, 'c>, String> {
        let dwarf = match span.section {
            DieSection::Alt => self.dwarf.sup().ok_or("the shared file is missing")?,
            DieSection::Info | DieSection::Types | DieSection::Split => self.dwarf,
        };
        let local = match (span.section, self.piece) {
            (DieSection::Split, Some(it)) => it.piece.local(&span),
            (DieSection::Split, None) => return Err("its file is missing".to_owned()),
            _ => span,
        };
        let section = match local.section {
            DieSection::Types => dwarf.debug_types.reader().slice(),
            _ => dwarf.debug_info.reader().slice(),
        };
        let header = unit_header(dwarf, &local).map_err(|error| error.to_string())?;
        let mut unit = dwarf.unit(header).map_err(|error| error.to_string())?;
        if let Some(it) = self.piece
            && let Some(skeleton) = span.dwo_id.and_then(|id| it.skeletons.get(&id))
        {
            let skeleton = unit_header(it.program, skeleton).and_then(|header| it.program.unit(header));
            unit.copy_relocated_attributes(&skeleton.map_err(|error| error.to_string())?);
        }
        let (start, end) = (local.start as usize, local.end as usize);
        let bytes = section.get(start..end.min(section.len())).ok_or("it lies outside its section")?;
        Ok(UnitScan {
            scan: self,
            dwarf,
            unit,
            span,
            bytes,
            chunk,
            named: Vec::new(),
            pending: Vec::new(),
            inlined: IntMap::default(),
            number,
        })
    }
}

impl<'a> UnitScan<'a, '_, '_> {
    /// Takes what the root says of the whole unit: language, addresses, files.
    fn root(&mut self) {
        let number = self.number;
        let mut entries = self.unit.entries();
        if let Ok(true) = entries.next_entry()
            && let Some(root) = entries.current()
        {
            if let Some(gimli::AttributeValue::Language(language)) = root.attr_value(gimli::DW_AT_language) {
                self.chunk.languages.push((number, language.0));
            }
            if matches!(root.tag(), gimli::DW_TAG_compile_unit | gimli::DW_TAG_skeleton_unit) {
                if let Some(program) = &self.unit.line_program {
                    files::collect(self.dwarf, &self.unit, program.header(), number, self.chunk);
                }
                if let Ok(mut ranges) = die_ranges(self.dwarf, &self.unit, root) {
                    while let Ok(Some(range)) = ranges.next() {
                        if self.chunk.unit_ranges.len() >= self.scan.max_ranges {
                            break;
                        }
                        let range = ImageRange::new(range.begin, range.end);
                        if self.is_text(range) {
                            self.chunk.unit_ranges.push((range, number));
                        }
                    }
                }
            }
        }
    }

    /// Goes through all DIEs.
    fn dies(&mut self, table: &mut Option<AbbrevTable>) -> Result<(), String> {
        let (encoding, abbreviations) = (self.unit.encoding(), self.unit.abbreviations.clone());
        let (is_alt, offset) = (self.span.section == DieSection::Alt, self.unit.header.debug_abbrev_offset().0);
        let piece = self.scan.piece.map(|it| it.piece.base);
        let key = AbbrevKey { piece, is_alt, offset, encoding };
        if table.as_ref().is_none_or(|table| table.key != key) {
            *table = Some(AbbrevTable::new(key, &abbreviations));
        }
        let Some(table) = table else { return Ok(()) };
        let root = self.unit.header.root_offset().0;
        let mut cursor = Cursor::new(self.bytes, root, encoding);
        let mut scopes: Vec<Scope> = Vec::new();
        let start = self.span.start;
        let cut = |at: usize| format!("a DIE at {:#x} is cut short or has no abbreviation", start + at as u64);
        while !cursor.is_at_end() {
            let offset = cursor.at;
            let code = cursor.uleb().ok_or_else(|| cut(offset))?;
            if code == 0 {
                scopes.pop();
                if scopes.is_empty() {
                    break;
                }
                continue;
            }
            let abbreviation = table.get(code, &abbreviations).ok_or_else(|| cut(offset))?;
            let scope = scopes.last().copied().unwrap_or(Scope { parent: NO_ENTRY, in_function: false });
            let (class, has_children) = (abbreviation.class, abbreviation.has_children);
            let inner = match class {
                Class::Skip => {
                    let sibling = pass_over(abbreviation, &mut cursor).ok_or_else(|| cut(offset))?;
                    if has_children {
                        skip_children(&mut cursor, table, &abbreviations, sibling).ok_or_else(|| cut(offset))?;
                    }
                    continue;
                }
                Class::Unit | Class::Transparent => {
                    pass_over(abbreviation, &mut cursor).ok_or_else(|| cut(offset))?;
                    Some(scope)
                }
                _ => {
                    let tag = abbreviation.tag;
                    let die = self.take(abbreviation, &mut cursor).ok_or_else(|| cut(offset))?;
                    let inner = self.visit(class, tag, offset as u64, scope, &die);
                    if inner.is_none() && has_children {
                        skip_children(&mut cursor, table, &abbreviations, die.sibling).ok_or_else(|| cut(offset))?;
                        continue;
                    }
                    inner
                }
            };
            if has_children {
                if scopes.len() >= MAX_DEPTH {
                    return Err(format!("DIEs nest deeper than {MAX_DEPTH}"));
                }
                scopes.push(inner.unwrap_or(scope));
            } else if scopes.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Reads the attributes that the scanner wants.
    fn take(&self, abbreviation: &Compiled, cursor: &mut Cursor<'a>) -> Option<Die<'a>> {
        let mut die = Die {
            name: Name::Missing,
            sibling: None,
            low: None,
            high: None,
            ranges: None,
            origin: None,
            location: None,
            declaration: false,
            inlined: false,
            enum_class: false,
            signature: None,
            size: 0,
        };
        for step in &abbreviation.steps {
            let (slot, value) = match *step {
                Step::Pass(pass) => {
                    cursor.pass(pass)?;
                    continue;
                }
                Step::Take(slot, form, constant) => (slot, cursor.value(form, constant)?),
            };
            match (slot, value) {
                (Slot::Name, value) => die.name = self.name(value),
                (Slot::Sibling, Value::UnitRef(offset)) => die.sibling = Some(offset),
                (Slot::LowPc, value) => die.low = Some(value),
                (Slot::HighPc, value) => die.high = Some(value),
                (Slot::Ranges, value) => die.ranges = Some(value),
                (Slot::Origin, value) => die.origin = Some(value),
                (Slot::Location, value) => die.location = Some(value),
                (Slot::Declaration, Value::Constant(flag)) => die.declaration = flag != 0,
                // DWARF 5, table 3.4: 1 and 3 say that it was inlined, 0 and 2 that it was not.
                (Slot::Inline, Value::Constant(how)) => die.inlined = how == 1 || how == 3,
                (Slot::EnumClass, Value::Constant(flag)) => die.enum_class = flag != 0,
                (Slot::Signature, Value::Signature(signature)) => die.signature = Some(signature),
                (Slot::ByteSize, Value::Constant(size)) => die.size = u32::try_from(size).unwrap_or(u32::MAX),
                _ => {}
            }
        }
        Some(die)
    }

    fn name(&self, value: Value<'a>) -> Name {
        match value {
            Value::StringOffset(offset) => Name::At(IN_STR | (offset & OFFSET_MASK)),
            Value::LineStringOffset(offset) => Name::At(IN_LINE_STR | (offset & OFFSET_MASK)),
            Value::AltStringOffset(offset) => Name::At(IN_ALT | (offset & OFFSET_MASK)),
            Value::InlineString(at, _) => Name::At(IN_UNIT | at as u64),
            Value::StringIndex(index) => {
                match self.dwarf.string_offset(&self.unit, DebugStrOffsetsIndex(index as usize)) {
                    Ok(offset) => Name::At(IN_STR | (offset.0 as u64 & OFFSET_MASK)),
                    Err(_) => Name::Missing,
                }
            }
            _ => Name::Missing,
        }
    }

    fn intern(&mut self, name: Name) -> Option<StringId> {
        let Name::At(place) = name else { return None };
        let offset = (place & OFFSET_MASK) as usize;
        let in_unit = place & !OFFSET_MASK == IN_UNIT;
        // Strings of the shared file have other offsets, depending on whose unit refers to them.
        let key = if self.span.section == DieSection::Alt { place | (1 << 63) } else { place };
        if !in_unit && let Some(&known) = self.chunk.by_offset.get(&key) {
            return Some(known);
        }
        let is_main = matches!(self.span.section, DieSection::Info | DieSection::Types);
        let strings = &mut self.chunk.strings;
        let id = match place & !OFFSET_MASK {
            IN_STR if is_main => strings.intern_at(Source::DebugStr, self.dwarf.debug_str.reader().slice(), offset)?,
            IN_STR => strings.intern(string_at(self.dwarf.debug_str.reader().slice(), offset)?),
            IN_LINE_STR => strings.intern(string_at(self.dwarf.debug_line_str.reader().slice(), offset)?),
            IN_ALT => strings.intern(string_at(self.dwarf.sup()?.debug_str.reader().slice(), offset)?),
            _ => strings.intern(string_at(self.bytes, offset)?),
        };
        if !in_unit {
            self.chunk.by_offset.insert(key, id);
        }
        Some(id)
    }

    fn entry(&self, offset: u64, kind: EntryKind, name: StringId, scope: Scope) -> Entry {
        let die = pack_die(self.span.section, self.span.start + offset);
        Entry { die, name, parent: scope.parent, kind, flags: 0, size: 0 }
    }

    fn named_as(&self, die: &Die<'a>, scope: Scope) -> Named {
        match die.origin {
            Some(Value::UnitRef(target)) => Named::Alias(target),
            _ => Named::Name(die.name, scope.parent),
        }
    }

    /// Notes that `number` has its name from the DIE that `die` refers to.
    fn defer(&mut self, number: u32, die: &Die<'a>) {
        match die.origin {
            Some(Value::UnitRef(target)) => self.pending.push((number, target)),
            Some(origin) => {
                let target = self.other_unit(origin);
                self.chunk.cross_references.extend(target.map(|target| CrossReference { entry: number, target }));
            }
            None => {}
        }
    }

    /// The DIE of another unit that a value refers to, packed.
    fn other_unit(&self, value: Value<'a>) -> Option<u64> {
        match value {
            Value::InfoRef(target) => {
                let (section, base) = match (self.span.section, self.scan.piece) {
                    (DieSection::Split, Some(it)) => (DieSection::Split, it.piece.base),
                    (DieSection::Alt, _) => (DieSection::Alt, 0),
                    _ => (DieSection::Info, 0),
                };
                Some(pack_die(section, base.checked_add(target)?))
            }
            Value::AltRef(target) => Some(pack_die(DieSection::Alt, target)),
            _ => None,
        }
    }

    /// Gives the entries that waited for it their name and scope.
    fn resolve(&mut self) {
        for (number, target) in std::mem::take(&mut self.pending) {
            match self.lookup(target) {
                Some((name, parent)) => {
                    if let Some(entry) = self.chunk.entries.get_mut(number as usize) {
                        // A function inside itself would make the scopes a circle.
                        if parent != number {
                            entry.parent = parent;
                        }
                        entry.name = name;
                    }
                }
                // Its name may in turn lie in another unit.
                None => {
                    let target = pack_die(self.span.section, self.span.start + target);
                    self.chunk.cross_references.push(CrossReference { entry: number, target });
                }
            }
        }
    }

    fn lookup(&mut self, offset: u64) -> Option<(StringId, u32)> {
        let mut offset = offset;
        for _ in 0..MAX_ALIASES {
            let at = self.named.binary_search_by_key(&offset, |named| named.0).ok()?;
            match self.named.get(at)?.1 {
                Named::Name(name, parent) => return self.intern(name).map(|name| (name, parent)),
                Named::Alias(target) => offset = target,
            }
        }
        None
    }
}
