//! What the engine and the targets give.

use outpost_base::{Arch, BuildId, LoadBias, ProcessId, RegisterContext, RegisterValue, ThreadId, Va, VaRange};
use outpost_engine::disassembly::{Flow, Instruction};
use outpost_engine::target::{
    Attachability, BreakpointId, ConditionPlace, HandleInfo, HardwareAccess, KillSafety, LinkStatistics, OsProcess,
    ProcessOrigin, Region, RegionUsage, ServerSession, TargetKind, ThreadRunState,
};
use outpost_engine::values::{
    BitField, FieldRole, FieldRow, SymbolKind, Value as TypedValue, ValueLocation, VariableKind,
};
use outpost_engine::{
    BreakpointAccess, BreakpointInfo, BreakpointLocation, BreakpointNumber, DepthLimit, FrameKind, FrameRegisters,
    FrameTrust, FrameVariable, LogPlace, ModuleSummary, ProcessOrdinal, ProcessSummary, SourceLocation, StackFrame,
    SymbolAt, SymbolState, SystemOrdinal, SystemSummary, ThreadOrdinal, ThreadStack, ThreadSummary,
};

use super::{Json, Value, fields, json, names, object, word};

impl Json for Va {
    fn json(&self) -> Value {
        word(self.0)
    }
}

impl Json for LoadBias {
    fn json(&self) -> Value {
        word(self.0)
    }
}

impl Json for BuildId {
    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

/// Numbers by another name.
macro_rules! numbered {
    ($($type:ty),*) => {
        $(impl Json for $type {
            fn json(&self) -> Value {
                json!(self.0)
            }
        })*
    };
}

numbered!(ProcessId, ThreadId, SystemOrdinal, ProcessOrdinal, ThreadOrdinal, BreakpointNumber, BreakpointId);

fields!(VaRange { start, end });

names!(
    Flow,
    HardwareAccess,
    KillSafety,
    ProcessOrigin,
    RegionUsage,
    TargetKind,
    ThreadRunState,
    SymbolKind,
    FieldRole,
    VariableKind,
    FrameKind,
    FrameTrust,
    SymbolState,
);

fields!(ThreadStack { thread, frames, problem });
fields!(StackFrame {
    index,
    kind,
    physical,
    instruction,
    lookup_address,
    sp,
    cfa,
    return_address,
    module,
    function,
    displacement,
    source,
    trust,
    is_signal_frame,
    is_tail_call,
});
fields!(SourceLocation { file, line, column, is_statement });
fields!(SymbolAt { module, name, start, size, displacement });
fields!(ModuleSummary { name, range, bias, path, build_id, status, symbol_file, problems, is_main });
fields!(ThreadSummary {
    ordinal,
    process,
    process_id,
    id,
    name,
    state,
    suspend_count,
    is_frozen,
    teb,
    is_current,
    is_event,
});
fields!(ProcessSummary {
    ordinal,
    system,
    id,
    parent,
    origin,
    executable,
    arguments,
    threads,
    is_current,
    is_event,
    start_time_us,
});
fields!(SystemSummary { ordinal, kind, name, host, os, processors, is_current, is_event, is_running });
fields!(BreakpointInfo {
    number,
    process,
    enabled,
    deferred,
    symbolic,
    access,
    locations,
    expression,
    thread,
    condition,
    implies_condition,
    condition_on_target,
    condition_here,
    depth,
    passes,
    remaining,
    hits,
    one_shot,
    commands,
    log,
});
fields!(BreakpointLocation { id, address, hits, safety, reason, condition, by_pages });

impl Json for LogPlace {
    fn json(&self) -> Value {
        match self {
            LogPlace::None => Value::Null,
            LogPlace::Target => json!({ "by": "target" }),
            LogPlace::Debugger { because } => json!({ "by": "debugger", "because": because }),
        }
    }
}

impl Json for ConditionPlace {
    fn json(&self) -> Value {
        match self {
            ConditionPlace::Debuggee => json!({ "place": "debuggee", "because": null }),
            ConditionPlace::Target { because } => json!({ "place": "target", "because": because }),
        }
    }
}

fields!(Region { range, read, write, execute, shared, file_offset, device, inode, name, usage });
fields!(HandleInfo { number, target, kind, flags, position });
fields!(LinkStatistics { messages_sent, messages_received, bytes_sent, bytes_received, round_trips, resumes });
fields!(OsProcess {
    id,
    parent,
    name,
    executable,
    arguments,
    uid,
    user,
    threads,
    state,
    container,
    tracer,
    tracer_name,
    start_time_us,
    attachability,
});
fields!(BitField { offset, size });
fields!(FieldRow { depth, offset, bits, name, role, type_name, value_text, value });

impl Json for Instruction {
    fn json(&self) -> Value {
        let Self { at, bytes, text, flow, target } = self;
        let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "at": at.json(), "bytes": bytes, "text": text, "flow": flow.json(), "target": target.json(),
        })
    }
}

impl Json for ServerSession {
    fn json(&self) -> Value {
        let Self { number, user, host, peer, opened_us, held, processes, own } = self;
        json!({
            "number": number, "user": user, "host": host, "peer": peer, "opened_us": opened_us,
            "held_us": held.map(|held| held.as_micros() as u64), "processes": processes.json(), "own": own,
        })
    }
}

impl Json for Attachability {
    fn json(&self) -> Value {
        match self {
            Attachability::Yes => json!({ "possible": true }),
            Attachability::No { reason, remedy } => json!({ "possible": false, "reason": reason, "remedy": remedy }),
        }
    }
}

impl Json for BreakpointAccess {
    fn json(&self) -> Value {
        match self {
            BreakpointAccess::Code => json!({ "kind": "code" }),
            BreakpointAccess::Hardware { access, len } => json!({ "kind": access.json(), "len": len }),
        }
    }
}

impl Json for DepthLimit {
    fn json(&self) -> Value {
        match self {
            DepthLimit::Below(frames) => json!({ "below": frames }),
            DepthLimit::Above(frames) => json!({ "above": frames }),
        }
    }
}

impl Json for RegisterValue {
    /// Its bytes as one number, as many digits as it has.
    fn json(&self) -> Value {
        let digits: String = self.bytes().iter().rev().map(|byte| format!("{byte:02x}")).collect();
        json!(format!("0x{digits}"))
    }
}

/// Registers by their names, those of the table's own storage: `eax` is in `rax`.
fn registers(arch: Arch, value: impl Fn(outpost_base::RegisterId) -> Option<RegisterValue>) -> Value {
    let rows = arch.registers().iter().filter_map(|row| Some((row.name, arch.register_by_name(row.name)?)));
    Value::Object(rows.filter_map(|(name, id)| Some((name.to_owned(), value(id)?.json()))).collect())
}

impl Json for RegisterContext {
    fn json(&self) -> Value {
        registers(self.arch, |id| self.get(id))
    }
}

impl Json for FrameRegisters {
    fn json(&self) -> Value {
        registers(self.arch(), |id| self.get(id))
    }
}

impl Json for TypedValue {
    /// Where it is and of which type; its text is told by whoever has read it.
    fn json(&self) -> Value {
        object([
            ("type", json!(self.value_type().to_string())),
            ("size", self.value_type().size().json()),
            ("address", self.address().json()),
            ("location", self.location().json()),
        ])
    }
}

impl Json for ValueLocation {
    fn json(&self) -> Value {
        match self {
            ValueLocation::Address(at) => json!({ "kind": "address", "address": at.json() }),
            ValueLocation::Register { dwarf, bit } => json!({ "kind": "register", "dwarf": dwarf, "bit": bit }),
            ValueLocation::Bytes(bytes) => json!({ "kind": "bytes", "len": bytes.len() }),
            ValueLocation::Pieces(pieces) => json!({ "kind": "pieces", "count": pieces.len() }),
            ValueLocation::ImplicitPointer { .. } => json!({ "kind": "implicit_pointer" }),
            ValueLocation::OptimizedOut { reason } => json!({ "kind": "unavailable", "reason": reason.to_string() }),
            _ => json!({ "kind": "other" }),
        }
    }
}

impl Json for FrameVariable {
    fn json(&self) -> Value {
        let Self { name, kind, value, artificial, shadowed, declared } = self;
        let declared = declared.as_ref().map(|declared| json!({ "file": declared.file, "line": declared.line }));
        json!({
            "name": name, "kind": kind.json(), "value": value.json(), "artificial": artificial, "shadowed": shadowed,
            "declared": declared,
        })
    }
}
