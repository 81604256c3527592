//! Scanning units for names: every DIE is looked at, few attributes are read, nothing is built of the rest.

use gimli::{DebugAddrIndex, DebugStrOffsetsIndex, Dwarf, RawRangeListsOffset, Section};

use super::abbrev::{AbbrevKey, AbbrevTable, Class, Compiled, Slot, Step};
use super::chunk::{
    Chunk, CodeRange, CrossReference, DataAddress, Entry, EntryKind, HAS_CODE, IS_INLINED, NO_ENTRY, WAITS, pack_die,
};
use super::cursor::{Cursor, Value};
use super::files;
use super::strings::{Source, StringId, string_at};
use crate::debug_info::{UnitSpan, die_ranges, unit_header};
use crate::dwarf_sections::DwarfSlice;
use crate::hash::IntMap;
use crate::{DieSection, ImageRange, Problem};

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
    pub(super) signatures: IntMap<u64, u64>,
    /// Most ranges of code that are believed, against lists that many DIEs share.
    pub(super) max_ranges: usize,
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
            DieSection::Info | DieSection::Types => self.dwarf,
        };
        let section = match span.section {
            DieSection::Types => dwarf.debug_types.reader().slice(),
            DieSection::Info | DieSection::Alt => dwarf.debug_info.reader().slice(),
        };
        let header = unit_header(dwarf, &span).map_err(|error| error.to_string())?;
        let unit = dwarf.unit(header).map_err(|error| error.to_string())?;
        let (start, end) = (span.start as usize, span.end as usize);
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
            if root.tag() == gimli::DW_TAG_compile_unit {
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
        let key = AbbrevKey { is_alt, offset, encoding };
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
        let is_main = self.span.section != DieSection::Alt;
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

    /// Makes of a DIE what it deserves; the scope of its children, or `None` if they do not matter.
    fn visit(&mut self, class: Class, tag: gimli::DwTag, offset: u64, scope: Scope, die: &Die<'a>) -> Option<Scope> {
        match class {
            Class::Namespace => {
                let name = self.intern(die.name).unwrap_or_else(|| self.chunk.strings.intern(ANONYMOUS_NAMESPACE));
                let entry = self.entry(offset, EntryKind::Scope, name, scope);
                Some(Scope { parent: self.chunk.share(entry), in_function: false })
            }
            Class::Type => self.visit_type(tag, offset, scope, die),
            Class::LeafType => {
                // Those of a function are found by whoever stands in it.
                if !die.declaration
                    && !scope.in_function
                    && let Some(name) = self.intern(die.name)
                {
                    let entry = self.entry(offset, EntryKind::LeafType, name, scope);
                    self.chunk.share(Entry { size: die.size, ..entry });
                }
                None
            }
            Class::Enumerator => {
                if !scope.in_function
                    && let Some(name) = self.intern(die.name)
                {
                    let entry = self.entry(offset, EntryKind::Enumerator, name, scope);
                    self.chunk.share(entry);
                }
                None
            }
            Class::Function => self.visit_function(offset, scope, die),
            Class::Variable | Class::StaticMember => {
                self.visit_variable(class, offset, scope, die);
                None
            }
            Class::Inlined => {
                if let Some(target) = die.origin.and_then(|origin| self.other_unit(origin))
                    && self.inlined.insert(target, ()).is_none()
                {
                    self.chunk.inlined.push((target, self.number));
                }
                Some(scope)
            }
            Class::Skip | Class::Unit | Class::Transparent => None,
        }
    }

    fn visit_type(&mut self, tag: gimli::DwTag, offset: u64, scope: Scope, die: &Die<'a>) -> Option<Scope> {
        // What is left here of a class that lives in a type unit: its scope is there, and here it may have no name.
        if let Some(target) = die.signature.and_then(|signature| self.scan.signatures.get(&signature)) {
            let name = self.intern(die.name).unwrap_or_default();
            let entry = Entry { flags: WAITS, ..self.entry(offset, EntryKind::Scope, name, scope) };
            let number = self.chunk.push(entry);
            self.chunk.cross_references.push(CrossReference { entry: number, target: *target });
            self.named.push((offset, Named::Name(die.name, scope.parent)));
            return Some(Scope { parent: number, in_function: false });
        }
        // A class defined outside of what declares it has its scope, and sometimes its name, from there.
        let declared = match die.origin {
            Some(Value::UnitRef(target)) => self.lookup(target),
            _ => None,
        };
        let name = self.intern(die.name).or(declared.map(|(name, _)| name));
        let parent = declared.map_or(scope.parent, |(_, parent)| parent);
        // Members of a type without a name belong to what surrounds it.
        let Some(name) = name else { return Some(scope) };
        let scope = Scope { parent, ..scope };
        if die.declaration {
            self.named.push((offset, Named::Name(die.name, scope.parent)));
        }
        let kind = if die.declaration { EntryKind::Scope } else { EntryKind::Type };
        let entry = Entry { size: die.size, ..self.entry(offset, kind, name, scope) };
        let number = if die.origin.is_some() && declared.is_none() {
            // The declaration comes later, or in another unit.
            let number = self.chunk.push(Entry { flags: WAITS, ..entry });
            self.defer(number, die);
            number
        } else {
            self.chunk.share(entry)
        };
        // The constants of a plain enumeration belong to what surrounds it.
        let transparent = tag == gimli::DW_TAG_enumeration_type && !die.enum_class;
        Some(if transparent { scope } else { Scope { parent: number, in_function: false } })
    }

    fn visit_function(&mut self, offset: u64, scope: Scope, die: &Die<'a>) -> Option<Scope> {
        if die.declaration {
            let named = self.named_as(die, scope);
            self.named.push((offset, named));
            return None;
        }
        let name = self.intern(die.name);
        let entry = self.entry(offset, EntryKind::Function, name.unwrap_or_default(), scope);
        let number = self.chunk.push(entry);
        let named = self.named_as(die, scope);
        self.named.push((offset, named));
        self.defer(number, die);
        let has_code = self.code_ranges(number, die);
        if let Some(entry) = self.chunk.entries.last_mut() {
            entry.flags = if has_code { HAS_CODE } else { 0 } | if die.inlined { IS_INLINED } else { 0 };
        }
        Some(Scope { parent: number, in_function: true })
    }

    fn visit_variable(&mut self, class: Class, offset: u64, scope: Scope, die: &Die<'a>) {
        if class == Class::StaticMember || die.declaration {
            self.named.push((offset, Named::Name(die.name, scope.parent)));
            return;
        }
        let address = die.location.and_then(|location| self.static_address(location));
        let is_static = matches!(address, Some(Static::At(_) | Static::ThreadLocal));
        if scope.in_function && !is_static {
            // An inlined copy of a function may refer to it for the name of a static.
            if die.origin.is_none() && die.location.is_none() {
                self.named.push((offset, Named::Name(die.name, scope.parent)));
            }
            return;
        }
        let name = self.intern(die.name);
        let entry = self.entry(offset, EntryKind::Variable, name.unwrap_or_default(), scope);
        let number = self.chunk.push(entry);
        let named = self.named_as(die, scope);
        self.named.push((offset, named));
        self.defer(number, die);
        if let Some(Static::At(address)) = address {
            self.chunk.data.push(DataAddress { address, entry: number });
        }
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
                let alt = self.span.section == DieSection::Alt;
                Some(pack_die(if alt { DieSection::Alt } else { DieSection::Info }, target))
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

    fn is_text(&self, range: ImageRange) -> bool {
        if range.is_empty() {
            return false;
        }
        let after = self.scan.text.partition_point(|text| text.start <= range.start);
        let text = after.checked_sub(1).and_then(|at| self.scan.text.get(at));
        text.is_some_and(|text| range.start < text.end && range.end <= text.end)
    }

    fn address(&self, value: Value<'a>) -> Option<u64> {
        match value {
            Value::Address(address) => Some(address),
            Value::AddressIndex(index) => self.dwarf.address(&self.unit, DebugAddrIndex(index as usize)).ok(),
            _ => None,
        }
    }

    fn code_ranges(&mut self, entry: u32, die: &Die<'a>) -> bool {
        let before = self.chunk.code.len();
        if let Some(ranges) = die.ranges {
            let _ = self.listed_ranges(entry, ranges);
        } else if let (Some(low), Some(high)) = (die.low.and_then(|low| self.address(low)), die.high) {
            let end = match high {
                Value::Constant(size) => low.checked_add(size),
                other => self.address(other),
            };
            self.push_range(entry, ImageRange::new(low, end.unwrap_or(low)), true);
        }
        self.chunk.code.len() > before
    }

    fn listed_ranges(&mut self, entry: u32, ranges: Value<'a>) -> gimli::Result<()> {
        let offset = match ranges {
            // DWARF 2 and 3 have no form of its own for offsets.
            Value::SectionOffset(offset) | Value::Constant(offset) => {
                self.dwarf.ranges_offset_from_raw(&self.unit, RawRangeListsOffset(offset as usize))
            }
            Value::ListIndex(index) => {
                self.dwarf.ranges_offset(&self.unit, gimli::DebugRngListsIndex(index as usize))?
            }
            _ => return Ok(()),
        };
        let mut list = self.dwarf.ranges(&self.unit, offset)?;
        // The range listed first holds the entry, wherever the cold parts lie.
        let mut is_first = true;
        while let Some(range) = list.next()? {
            if !self.push_range(entry, ImageRange::new(range.begin, range.end), is_first) {
                break;
            }
            is_first = false;
        }
        Ok(())
    }

    /// Notes code of a function, unless the linker discarded it; `false` when there is no room for more.
    fn push_range(&mut self, entry: u32, range: ImageRange, is_first: bool) -> bool {
        if self.chunk.code.len() >= self.scan.max_ranges {
            return false;
        }
        if self.is_text(range) {
            self.chunk.code.push(CodeRange { range, entry, is_first });
        }
        true
    }

    /// Where a variable with static storage lies, if its location says just that.
    fn static_address(&self, location: Value<'a>) -> Option<Static> {
        let Value::Expression(bytes) = location else { return None };
        let mut cursor = Cursor::new(bytes, 0, self.unit.encoding());
        let address_size = usize::from(self.unit.encoding().address_size);
        // DWARF 5, 7.7.1: DW_OP_addr, DW_OP_addrx; their predecessors; constants are offsets for TLS.
        let address = match cursor.unsigned(1)? {
            0x03 => cursor.unsigned(address_size)?,
            0xa1 | 0xfb => self.address(Value::AddressIndex(cursor.uleb()?))?,
            0x0c | 0x0e | 0xa2 | 0xfc => return Some(Static::ThreadLocal),
            _ => return None,
        };
        match cursor.unsigned(1) {
            None => Some(Static::At(address)),
            // DW_OP_form_tls_address, DW_OP_GNU_push_tls_address
            Some(0x9b | 0xe0) => Some(Static::ThreadLocal),
            // DW_OP_plus_uconst: a variable inside another, as merged globals are.
            Some(0x23) => Some(Static::At(address.wrapping_add(cursor.uleb()?))),
            // The value is computed from the address, or lies there only in part.
            Some(_) => Some(Static::Elsewhere),
        }
    }
}

enum Static {
    At(u64),
    ThreadLocal,
    Elsewhere,
}

/// Passes over a DIE's attributes; the offset of its sibling, if it says so.
fn pass_over(abbreviation: &Compiled, cursor: &mut Cursor<'_>) -> Option<Option<u64>> {
    if !(abbreviation.has_sibling && abbreviation.has_children) {
        for pass in &abbreviation.skip {
            cursor.pass(*pass)?;
        }
        return Some(None);
    }
    let mut sibling = None;
    for step in &abbreviation.steps {
        match *step {
            Step::Pass(pass) => cursor.pass(pass)?,
            Step::Take(slot, form, constant) => {
                let value = cursor.value(form, constant)?;
                if let (Slot::Sibling, Value::UnitRef(offset)) = (slot, value) {
                    sibling = Some(offset);
                }
            }
        }
    }
    Some(sibling)
}

/// Passes over all DIEs below the one just read.
fn skip_children(
    cursor: &mut Cursor<'_>,
    table: &mut AbbrevTable,
    abbreviations: &gimli::Abbreviations,
    sibling: Option<u64>,
) -> Option<()> {
    if let Some(sibling) = sibling {
        return cursor.jump(sibling);
    }
    let mut depth = 1_usize;
    while depth > 0 {
        match cursor.uleb()? {
            0 => depth -= 1,
            code => {
                let abbreviation = table.get(code, abbreviations)?;
                let sibling = pass_over(abbreviation, cursor)?;
                if abbreviation.has_children {
                    match sibling {
                        Some(sibling) => cursor.jump(sibling)?,
                        None => depth += 1,
                    }
                }
            }
        }
    }
    Some(())
}
