//! Judging hits: whose they are, whether they count, whether they stop.

use outpost_base::Va;
use outpost_target::BreakpointId;
use outpost_target::condition::Condition;

use super::DepthLimit;
use super::table::CompiledCondition;
use crate::events::BreakpointHit;
use crate::expr::{CompileError, Cpp, Expr, ExprError};
use crate::{BreakpointNumber, Engine, EngineError, SystemOrdinal, ThreadOrdinal};

/// What a breakpoint stop comes to.
#[derive(Debug, Default)]
pub(crate) struct HitVerdict {
    /// The user's breakpoints that stop.
    pub(crate) hits: Vec<BreakpointHit>,
    /// A temporary breakpoint of `g` was there.
    pub(crate) at_temporary: bool,
    /// The filter of the event that one of them is there for.
    pub(crate) event: Option<&'static str>,
}

impl Engine {
    /// Notes hits that targets counted since the last stop.
    pub(crate) fn count_hits(&mut self, _system: SystemOrdinal, hits: &[(BreakpointId, u64)]) {
        for (id, count) in hits {
            for known in &mut self.breakpoints.breakpoints {
                let counted_here = known.condition.is_here();
                let Some(location) = known.locations.iter_mut().find(|location| location.shown.id == *id) else {
                    continue;
                };
                location.shown.hits += count;
                if !counted_here {
                    known.hits += count;
                }
            }
        }
    }

    /// Which of the breakpoints that a target stopped for the user wants to see. The target could not evaluate the conditions
    /// of those in `undecided`.
    pub(crate) fn judge_hits(
        &mut self,
        thread: ThreadOrdinal,
        ids: &[BreakpointId],
        undecided: &[BreakpointId],
    ) -> Result<HitVerdict, EngineError> {
        let at_temporary = self.breakpoints.temporaries.iter().any(|temporary| ids.contains(&temporary.id));
        let mut verdict = HitVerdict { hits: Vec::new(), at_temporary, event: None };
        let owners: Vec<_> = self
            .breakpoints
            .breakpoints
            .iter()
            .filter_map(|known| {
                let location = known.locations.iter().find(|location| ids.contains(&location.shown.id))?;
                Some((known.number, location.shown.id))
            })
            .collect();
        for (number, location) in owners {
            let Some(known) = self.breakpoints.find(number) else { continue };
            if known.request.event.is_some() {
                verdict.event = known.request.event;
                continue;
            }
            let mut condition_problem = None;
            if known.condition.is_here() {
                let (text, depth) = (known.request.whole_condition(), known.request.depth);
                match self.counts_here(thread, text.as_deref(), depth) {
                    Ok(false) => continue,
                    Ok(true) => {}
                    // A condition that cannot be evaluated stops, so that the user learns of it.
                    Err(error) => condition_problem = Some(error.to_string()),
                }
                if let Some(known) = self.breakpoints.find_mut(number) {
                    known.hits += 1;
                }
            } else if undecided.contains(&location) {
                let text = known.request.whole_condition();
                match self.counts_here(thread, text.as_deref(), None) {
                    // The debugger knows of ways that the target has not: it was no hit.
                    Ok(false) => {
                        self.uncount_hit(number, location);
                        continue;
                    }
                    Ok(true) => {}
                    Err(error) => condition_problem = Some(error.to_string()),
                }
            }
            let Some(known) = self.breakpoints.find(number) else { continue };
            if known.hits < known.request.passes {
                continue;
            }
            let (commands, one_shot) = (known.request.commands.clone(), known.request.one_shot);
            verdict.hits.push(BreakpointHit { number, location, commands, condition_problem });
            if one_shot {
                self.remove_breakpoint(number);
            }
        }
        Ok(verdict)
    }

    /// Takes a hit back that the target counted.
    fn uncount_hit(&mut self, number: BreakpointNumber, id: BreakpointId) {
        let Some(known) = self.breakpoints.find_mut(number) else { return };
        known.hits = known.hits.saturating_sub(1);
        if let Some(location) = known.locations.iter_mut().find(|location| location.shown.id == id) {
            location.shown.hits = location.shown.hits.saturating_sub(1);
        }
    }

    /// A condition as the target would evaluate it, if it can be compiled for all places, with the code for each.
    pub(super) fn compile_condition(
        &mut self,
        number: BreakpointNumber,
        places: &[Va],
    ) -> (CompiledCondition, Vec<Condition>) {
        let none = (CompiledCondition::None, Vec::new());
        let here = |because: String| (CompiledCondition::Here { because }, Vec::new());
        let Some(request) = self.breakpoints.find(number).map(|known| &known.request) else { return none };
        if request.depth.is_some() {
            return here("a target cannot tell how deep the stack is".to_owned());
        }
        let Some(text) = request.whole_condition() else { return none };
        let expr = match self.condition_expr(&text) {
            Ok(expr) => Expr::Cpp(expr),
            Err(error) => return here(error.to_string()),
        };
        let mut codes = Vec::new();
        for &at in places {
            match self.compile_expression(&expr, at) {
                Ok(code) => codes.push(code),
                Err(CompileError::Beside { what, reason }) => return here(format!("{what} {reason}")),
                Err(error) => return here(error.to_string()),
            }
        }
        // A deferred one is compiled when it has places.
        let condition = if codes.is_empty() { here(String::new()).0 } else { CompiledCondition::Target };
        (condition, codes)
    }

    /// A condition is anything that `dx` takes.
    pub(super) fn condition_expr(&mut self, text: &str) -> Result<Cpp, EngineError> {
        let wrong = |reason: String| EngineError::Expression { text: text.to_owned(), position: None, reason };
        let (expr, used) = self.parse_object(text).map_err(|error| wrong(error.to_string()))?;
        match text[used..].trim() {
            "" => Ok(expr),
            _ => Err(EngineError::Expression {
                text: text.to_owned(),
                position: Some(used),
                reason: "syntax error".into(),
            }),
        }
    }

    /// Whether a hit is one by the breakpoint's condition and depth.
    fn counts_here(
        &mut self,
        thread: ThreadOrdinal,
        condition: Option<&str>,
        depth: Option<DepthLimit>,
    ) -> Result<bool, EngineError> {
        if let Some(depth) = depth {
            let (limit, wanted) = match depth {
                DepthLimit::Below(frames) => (frames, false),
                DepthLimit::Above(frames) => (frames.saturating_add(1), true),
            };
            // What lies further out than the limit does not matter, so it is not unwound.
            let physical = self.physical_stacks(&[thread], limit as usize)?.pop();
            let Some(physical) = physical.transpose()? else { return Ok(true) };
            let frames = self.describe_stack(thread, &physical, limit as usize)?.frames.len();
            if (frames >= limit as usize) != wanted {
                return Ok(false);
            }
        }
        condition.map_or(Ok(true), |text| self.evaluate_condition(thread, text))
    }

    /// Evaluates a condition in the innermost frame of a stopped thread.
    fn evaluate_condition(&mut self, thread: ThreadOrdinal, text: &str) -> Result<bool, EngineError> {
        // The stop is not the user's yet, so what is current stays what it was.
        let before = self.current.replace(thread);
        self.reset_scope();
        let holds = self.condition_expr(text).and_then(|expr| {
            let wrong = |error: ExprError| EngineError::Expression {
                text: text.to_owned(),
                position: None,
                reason: error.to_string(),
            };
            self.condition_holds(expr).map_err(wrong)
        });
        self.current = before;
        self.reset_scope();
        holds
    }
}
