//! Bounds of variable-length arrays, computed in the frame that owns them.

use gimli::{EndianReader, Expression, LittleEndian};

use super::die::Die;
use super::locate::Evaluator;
use crate::types::dwarf::die_of;
use crate::{ArrayBound, DynamicBound, DynamicSource, SectionData, Type, TypeKind};

/// `of` with the bounds that can be computed; through one pointer or reference, as C passes such arrays.
pub(super) fn with_computed_bounds(evaluator: &mut Evaluator<'_>, of: &Type) -> Type {
    let resolved = of.resolved();
    match resolved.kind() {
        TypeKind::Array { element, bounds, .. } if has_dynamic(bounds) => {
            let computed: Vec<ArrayBound> = bounds.iter().map(|bound| computed(evaluator, bound)).collect();
            resolved.table().array_of(*element, &computed)
        }
        TypeKind::Pointer { target, .. } => {
            let target = resolved.sibling(*target).resolved();
            match target.kind() {
                TypeKind::Array { bounds, .. } if has_dynamic(bounds) => {
                    let target = with_computed_bounds(evaluator, &target);
                    resolved.table().pointer_to(target.id())
                }
                _ => of.clone(),
            }
        }
        _ => of.clone(),
    }
}

fn has_dynamic(bounds: &[ArrayBound]) -> bool {
    bounds.iter().any(|bound| matches!(bound, ArrayBound::Dynamic(_)))
}

fn computed(evaluator: &mut Evaluator<'_>, bound: &ArrayBound) -> ArrayBound {
    let ArrayBound::Dynamic(bound) = bound else { return bound.clone() };
    count(evaluator, bound).map_or(ArrayBound::Unknown, ArrayBound::Count)
}

fn count(evaluator: &mut Evaluator<'_>, bound: &DynamicBound) -> Option<u64> {
    let info = &evaluator.variables.info;
    let number = match &bound.source {
        DynamicSource::Expression(bytes) => {
            let owner = Die::read(info, die_of(bound.owner)?)?;
            let reader = EndianReader::new(SectionData::from(bytes.clone()), LittleEndian);
            evaluator.number(&owner, Expression(reader)).ok()?
        }
        DynamicSource::Variable(die) => {
            let die = Die::read(info, die_of(*die)?)?;
            let value_type = evaluator.variables.types.get(die.type_id(info));
            let value = evaluator.value(&die, &value_type).ok()?;
            value.scalar(evaluator.frame.memory()).ok()?.as_u64()
        }
    };
    // An empty array has the last index -1.
    if bound.upper_bound { number.checked_add(1).or(Some(0)) } else { Some(number) }
}
