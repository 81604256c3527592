//! Finding types by name.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, OnceLock};

use gimli::Reader;

use crate::index::last_component;
use crate::{DebugInfo, DieRef, DwarfUnit};

/// An index of types by name.
pub trait TypeNames: Send + Sync {
    /// DIEs of types whose qualified name may be `qualified`; wrong and repeated ones do no harm.
    fn types_named(&self, qualified: &str) -> Vec<DieRef>;

    /// The scopes around the type of a DIE, joined by `::`; `None` if the index does not know it.
    fn scope_of(&self, die: DieRef) -> Option<String>;
}

/// An index made by reading all units at the first search: a hash of each type's own name and its place.
///
/// Costs 16 bytes for each type. An image's own index ([`crate::Module`]) makes it unnecessary; images without one
/// (a vdso, a test) have few units.
pub(crate) struct ScannedNames {
    info: Arc<DebugInfo>,
    by_hash: OnceLock<HashMap<u64, Vec<DieRef>>>,
}

impl ScannedNames {
    pub(crate) fn new(info: Arc<DebugInfo>) -> ScannedNames {
        ScannedNames { info, by_hash: OnceLock::new() }
    }

    fn scan(&self) -> HashMap<u64, Vec<DieRef>> {
        let mut found: HashMap<u64, Vec<DieRef>> = HashMap::new();
        for index in self.info.units() {
            let Ok(unit) = self.info.unit(index) else { continue };
            let unit_ref = self.info.unit_ref(index, &unit);
            for_each_named_type(&unit, |offset, value| {
                let Ok(name) = unit_ref.attr_string(value) else { return };
                let (Ok(name), Some(die)) = (name.to_slice(), self.info.die(index, offset)) else { return };
                found.entry(hash(&name)).or_default().push(die);
            });
        }
        found
    }
}

impl TypeNames for ScannedNames {
    fn types_named(&self, qualified: &str) -> Vec<DieRef> {
        let by_hash = self.by_hash.get_or_init(|| self.scan());
        by_hash.get(&hash(last_component(qualified).as_bytes())).cloned().unwrap_or_default()
    }

    fn scope_of(&self, _die: DieRef) -> Option<String> {
        None
    }
}

fn hash(name: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(name)
}

/// Calls `visit` with the place and name of each named type that the unit defines; damage ends it.
fn for_each_named_type(
    unit: &DwarfUnit,
    mut visit: impl FnMut(gimli::UnitOffset, gimli::AttributeValue<crate::DwarfReader>),
) {
    let Ok(mut entries) = unit.entries_raw(None) else { return };
    let mut completions = Vec::new();
    while !entries.is_empty() {
        let offset = entries.next_offset();
        let Ok(abbreviation) = entries.read_abbreviation() else { return };
        let Some(abbreviation) = abbreviation else { continue };
        if !is_named_type(abbreviation.tag()) {
            if entries.skip_attributes(abbreviation.attributes()).is_err() {
                return;
            }
            continue;
        }
        let (mut name, mut declaration) = (None, false);
        for specification in abbreviation.attributes() {
            let Ok(attribute) = entries.read_attribute(*specification) else { return };
            match attribute.name() {
                gimli::DW_AT_name => name = Some(attribute.value()),
                gimli::DW_AT_declaration => declaration = true,
                gimli::DW_AT_specification => completions.push((offset, attribute.value())),
                _ => {}
            }
        }
        if let Some(name) = name.filter(|_| !declaration) {
            visit(offset, name);
        }
    }
    // `struct A::B {}`: the name is at the declaration within A.
    for (offset, declaration) in completions {
        let gimli::AttributeValue::UnitRef(declaration) = declaration else { continue };
        let Ok(entry) = unit.entry(declaration) else { continue };
        if let Some(name) = entry.attr_value(gimli::DW_AT_name) {
            visit(offset, name);
        }
    }
}

fn is_named_type(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_structure_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_interface_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_typedef
            | gimli::DW_TAG_template_alias
            | gimli::DW_TAG_base_type
            | gimli::DW_TAG_unspecified_type
    )
}
