//! Asking about breakpoints.

use outpost_base::Va;

use super::table::{Breakpoint, CompiledCondition};
use super::{BreakpointInfo, BreakpointPlace, LogPlace};
use crate::{BreakpointNumber, Engine, EngineError};

impl Engine {
    /// All breakpoints, by number (`bl`). Call [`Engine::flush_breakpoints`] first to learn what targets make of new
    /// ones.
    #[doc(alias = "GetBreakpointByIndex2")]
    pub fn breakpoints(&self) -> Vec<BreakpointInfo> {
        let mut all: Vec<_> =
            self.breakpoints.breakpoints.iter().filter(|known| known.request.event.is_none()).map(info).collect();
        all.sort_by_key(|info| info.number);
        all
    }

    /// One breakpoint.
    ///
    /// # Errors
    /// [`EngineError::NoBreakpoint`].
    #[doc(alias = "GetBreakpointById2")]
    pub fn breakpoint(&self, number: BreakpointNumber) -> Result<BreakpointInfo, EngineError> {
        self.breakpoints.find(number).map(info).ok_or(EngineError::NoBreakpoint { number })
    }

    /// The first address of a breakpoint (`$bpN`).
    pub(crate) fn breakpoint_address(&self, number: BreakpointNumber) -> Result<Va, EngineError> {
        let info = self.breakpoint(number)?;
        info.locations.first().map(|location| location.address).ok_or_else(|| EngineError::RegisterUnavailable {
            name: format!("$bp{number}"),
            reason: "the breakpoint is deferred".into(),
        })
    }
}

pub(super) fn remaining(breakpoint: &Breakpoint) -> u64 {
    breakpoint.request.passes.saturating_sub(breakpoint.hits).max(1)
}

fn info(breakpoint: &Breakpoint) -> BreakpointInfo {
    let request = &breakpoint.request;
    BreakpointInfo {
        number: breakpoint.number,
        process: breakpoint.process,
        enabled: breakpoint.enabled,
        deferred: breakpoint.locations.is_empty(),
        symbolic: request.symbolic,
        access: request.access,
        locations: breakpoint.locations.iter().map(|location| location.shown.clone()).collect(),
        expression: match &request.place {
            // A breakpoint that waits for the restart of its process has nothing else to show.
            BreakpointPlace::Address(at) if breakpoint.locations.is_empty() => at.to_string(),
            BreakpointPlace::Address(_) => String::new(),
            BreakpointPlace::Expression(text) => text.clone(),
        },
        thread: request.thread,
        condition: request.condition.clone().unwrap_or_default(),
        implies_condition: request.implied.is_some(),
        condition_on_target: breakpoint.condition == CompiledCondition::Target,
        condition_here: match &breakpoint.condition {
            CompiledCondition::Here { because } => because.clone(),
            CompiledCondition::None | CompiledCondition::Target => String::new(),
        },
        depth: request.depth,
        passes: request.passes,
        remaining: remaining(breakpoint),
        hits: breakpoint.hits,
        one_shot: request.one_shot,
        commands: request.commands.clone(),
        log: match (&request.log, breakpoint.no_log.as_str()) {
            (None, _) => LogPlace::None,
            (Some(_), "") => LogPlace::Target,
            (Some(_), because) => LogPlace::Debugger { because: because.to_owned() },
        },
    }
}
