//! Objects as the class that they were made of, where the author of a base class says how that is told.

use outpost_base::MemoryReader;
use outpost_symbols::{TypeKind, Value};

use super::evaluate::{Context, deeper, evaluate, holds};
use super::is_senseless;
use crate::Engine;
use crate::expr::ExprError;

/// Classes that each say of which derived one an object is.
const STEP_LIMIT: usize = 8;

/// The object as its most derived class; whether its virtual table has no say. `None` if no view says of which it is.
pub(super) fn most_derived(engine: &mut Engine, value: &Value, memory: &mut dyn MemoryReader) -> Option<(Value, bool)> {
    let mut found: Option<(Value, bool)> = None;
    for _ in 0..STEP_LIMIT {
        let here = found.as_ref().map_or(value, |(value, _)| value).clone();
        let Some((next, is_final)) = deeper(engine, |engine| one_step(engine, &here, memory)).ok().flatten() else {
            break;
        };
        let (from, to) = (here.value_type().resolved(), next.value_type().resolved());
        if from.qualified_name() == to.qualified_name() {
            break;
        }
        found = Some((next, is_final));
        if is_final {
            break;
        }
    }
    found
}

fn one_step(
    engine: &mut Engine,
    value: &Value,
    memory: &mut dyn MemoryReader,
) -> Result<Option<(Value, bool)>, ExprError> {
    for (found, this) in engine.views.of_object(value, memory) {
        if found.view().derived.is_empty() {
            continue;
        }
        let context = Context { found: found.clone(), this, names: Vec::new(), name: None };
        context.read(memory);
        if !holds(engine, &context, &found.view().guard, memory)? {
            continue;
        }
        for derived in &found.view().derived {
            // A class that the program does not have is another's branch.
            match holds(engine, &context, &derived.value.guard, memory) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) if is_senseless(&error) => {
                    engine.views.note_failure(&found, value.value_type(), &error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            let (object, _) = match evaluate(engine, &context, &derived.value.value, memory) {
                Err(error) if is_senseless(&error) => {
                    engine.views.note_failure(&found, value.value_type(), &error);
                    continue;
                }
                other => other?,
            };
            let object = match object.value_type().is_pointer() {
                true => object.deref(memory).map_err(|reason| crate::model::unreadable(&object, reason))?,
                false => object,
            };
            if matches!(object.value_type().resolved().kind(), TypeKind::Record(_)) {
                return Ok(Some((object, derived.is_final)));
            }
        }
    }
    Ok(None)
}
