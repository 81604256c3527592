//! Rows for functions that ended by a tail call.

use std::collections::HashMap;
use std::rc::Rc;

use outpost_base::{ImageOffset, Va};
use outpost_symbols::{CaseRule, TailCallFrame, TailCallee};
use outpost_unwind::{FrameAddress, FrameTrust, Stack};

use super::{FrameKind, StackFrame};
use crate::{Engine, EngineError, ProcessOrdinal};

/// What was found for one stack: by return address, and address in what was reached. Recursion comes by the same again.
pub(super) type TailCalls = HashMap<(Va, Va), Rc<[TailCall]>>;

/// Where a function ended by a tail call: behind the instruction, and inside it.
#[derive(Clone, Copy)]
pub(super) struct TailCall {
    address: Va,
    lookup_address: Va,
}

impl Engine {
    /// Rows for the functions that ended by tail calls between a physical frame and its caller, innermost first. Debug
    /// info tells them, the target is not asked.
    pub(super) fn tail_rows(
        &mut self,
        process: ProcessOrdinal,
        stack: &Stack,
        physical: usize,
        known: &mut TailCalls,
    ) -> Result<Vec<StackFrame>, EngineError> {
        let (Some(callee), Some(caller)) = (stack.frames.get(physical), stack.frames.get(physical + 1)) else {
            return Ok(Vec::new());
        };
        // What was interrupted did not call, and what is a guess need not have.
        let FrameAddress::ReturnAddress(returns) = caller.address else { return Ok(Vec::new()) };
        if callee.is_signal_frame || caller.trust == FrameTrust::Scan {
            return Ok(Vec::new());
        }
        let place = (returns, callee.address.lookup_address());
        let calls = match known.get(&place) {
            Some(calls) => calls.clone(),
            None => {
                let calls: Rc<[TailCall]> = self.tail_calls(process, returns, place.1)?.into();
                known.insert(place, calls.clone());
                calls
            }
        };
        let row = |call: &TailCall| StackFrame {
            index: 0,
            kind: FrameKind::TailCall,
            physical: physical as u32 + 1,
            instruction: call.address,
            lookup_address: call.lookup_address,
            sp: caller.registers.at_tail_call(call.address, callee.cfa).sp(),
            cfa: callee.cfa,
            return_address: Some(returns),
            module: String::new(),
            function: String::new(),
            displacement: 0,
            source: None,
            trust: caller.trust,
            is_signal_frame: false,
            is_tail_call: true,
        };
        Ok(calls.iter().map(row).collect())
    }

    fn tail_calls(&mut self, process: ProcessOrdinal, returns: Va, callee: Va) -> Result<Vec<TailCall>, EngineError> {
        let caller = Va(returns.0.saturating_sub(1));
        let Some((caller, caller_symbols)) = self.module_symbols(process, caller)? else { return Ok(Vec::new()) };
        let Some(variables) = caller_symbols.variables() else { return Ok(Vec::new()) };
        let Some((module, symbols)) = self.module_symbols(process, callee)? else { return Ok(Vec::new()) };
        let at = callee.to_image(module.info.bias);
        let own = symbols.variables();
        let mut entry: Option<Option<ImageOffset>> = None;
        let mut is_named = |name: &str| {
            let Some(symbols) = symbols.module() else { return false };
            let entry = entry.get_or_insert_with(|| symbols.symbol_at(at).map(|found| found.symbol.address));
            entry.is_some_and(|entry| {
                symbols.symbols_named(name, CaseRule::Exact).iter().any(|symbol| symbol.address == entry)
            })
        };
        let mut callee = TailCallee { variables: own.as_deref(), at, is_named: &mut is_named };
        let found = variables.tail_calls(returns.to_image(caller.info.bias), &mut callee);
        let in_process = |frame: TailCallFrame| {
            let bias = if frame.in_callee_image { module.info.bias } else { caller.info.bias };
            TailCall { address: frame.address.to_va(bias), lookup_address: frame.lookup_address.to_va(bias) }
        };
        Ok(found.into_iter().map(in_process).collect())
    }
}
