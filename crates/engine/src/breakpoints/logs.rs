//! Breakpoints whose hits the target writes down: what it is told of them, and what becomes of what it tells.

use std::rc::Rc;

use outpost_base::Va;
use outpost_target::{BreakpointId, LogArgument, LogPlan, LogRecord, LogValue};

use super::table::CompiledCondition;
use crate::expr::Expr;
use crate::{BreakpointNumber, Engine};

/// Hits that the target has written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logged {
    /// Oldest first.
    pub hits: Vec<LoggedHit>,
    /// How many more there were that could not be kept.
    pub dropped: Vec<(BreakpointNumber, u64)>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedHit {
    /// The breakpoint, which may be gone by now.
    pub number: BreakpointNumber,
    /// Its commands at the time.
    pub commands: Rc<str>,
    /// A value for each that they show.
    pub values: Vec<LogValue>,
}

impl Engine {
    /// What the target is to write down at each of the places; or nothing and why not.
    pub(super) fn compile_logs(
        &mut self,
        number: BreakpointNumber,
        places: &[Va],
        condition: &CompiledCondition,
    ) -> (Vec<LogPlan>, String) {
        let Some(request) = self.breakpoints.find(number).map(|known| &known.request) else {
            return Default::default();
        };
        let Some(log) = request.log.clone() else { return Default::default() };
        if condition.is_here() {
            return (Vec::new(), "the debugger has to look at its condition first".to_owned());
        }
        if let Some(why) = log.hindrance {
            return (Vec::new(), why);
        }
        let plans = places.iter().map(|at| self.compile_log(&log, *at)).collect::<Result<Vec<_>, String>>();
        match plans {
            Ok(plans) => (plans, String::new()),
            Err(why) => (Vec::new(), why),
        }
    }

    fn compile_log(&mut self, log: &super::LogRequest, at: Va) -> Result<LogPlan, String> {
        let mut plan = LogPlan::default();
        let texts = log.arguments.iter().filter(|argument| argument.is_text).count().max(1);
        let longest = usize::from(LogPlan::MAX_TEXT).min(LogPlan::MAX_TEXTS / texts) as u16;
        for argument in &log.arguments {
            let expr = self.condition_expr(&argument.expression).map_err(|error| error.to_string())?;
            let value = self.compile_expression(&Expr::Cpp(expr), at).map_err(|error| error.to_string())?;
            plan.arguments.push(LogArgument { value, text: if argument.is_text { longest } else { 0 } });
        }
        if plan.is_sound() { Ok(plan) } else { Err("it shows too many values".to_owned()) }
    }

    /// Remembers whose hits the target will tell by these numbers.
    pub(super) fn note_logged(&mut self, told: &[BreakpointId]) {
        let table = &mut self.breakpoints;
        for known in &table.breakpoints {
            for location in known.locations.iter().filter(|location| location.log.is_some()) {
                if told.contains(&location.shown.id) {
                    let commands = known.request.commands.as_str().into();
                    table.logged.insert(location.shown.id, (known.number, commands));
                }
            }
        }
    }

    /// What a target has told, as it is to be shown.
    pub(crate) fn logged(&self, records: Vec<LogRecord>, dropped: Vec<(BreakpointId, u64)>) -> Logged {
        let known = |id: &BreakpointId| self.breakpoints.logged.get(id);
        let hit = |record: LogRecord| {
            let (number, commands) = known(&record.breakpoint)?.clone();
            Some(LoggedHit { number, commands, values: record.values })
        };
        let dropped = dropped.into_iter().filter_map(|(id, count)| Some((known(&id)?.0, count))).collect();
        Logged { hits: records.into_iter().filter_map(hit).collect(), dropped }
    }
}
