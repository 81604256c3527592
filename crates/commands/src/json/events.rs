//! Stops and what else has happened.

use std::time::{SystemTime, UNIX_EPOCH};

use outpost_engine::target::{ExitStatus, SigInfo, StopReason};
use outpost_engine::{BreakStatus, BreakpointHit, Chance, EventFilter, LastEvent, ReturnedValue, Stop, signal_name};

use super::{Json, Value, fields, json, name, names, object, word};

names!(Chance, BreakStatus);
fields!(EventFilter { code, description, status, handled, argument, commands });
fields!(BreakpointHit { number, location, commands, condition_problem });

/// Microseconds since the epoch.
fn since_epoch(time: SystemTime) -> Value {
    json!(time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64))
}

impl Json for SigInfo {
    fn json(&self) -> Value {
        let Self { signo, code, errno, address, sender, raw: _, fatal_by_default } = self;
        json!({
            "signal": signal_name(*signo), "signo": signo, "code": code,
            "code_name": outpost_engine::signal_code_name(*signo, *code), "errno": errno, "address": address.json(),
            "sender": sender.json(), "fatal_by_default": fatal_by_default,
        })
    }
}

impl Json for ExitStatus {
    fn json(&self) -> Value {
        match self {
            ExitStatus::Code(code) => json!({ "code": code }),
            ExitStatus::Signal { signo, core_dumped } => {
                json!({ "signal": signal_name(*signo), "core_dumped": core_dumped })
            }
            ExitStatus::Unknown => Value::Null,
        }
    }
}

impl Json for StopReason {
    fn json(&self) -> Value {
        let kind = |kind: &str| json!({ "kind": kind });
        match self {
            StopReason::Attached => kind("attached"),
            StopReason::Created => kind("created"),
            StopReason::Breakpoint { .. } => kind("breakpoint"),
            StopReason::Step { outcome } => json!({ "kind": "step", "outcome": name(outcome) }),
            StopReason::Signal(info) => json!({ "kind": "signal", "signal": info.json() }),
            StopReason::BreakIn => kind("break_in"),
            StopReason::ForeignTrap => kind("foreign_trap"),
            StopReason::ThreadStarted => kind("thread_started"),
            StopReason::ThreadExiting { status } => json!({ "kind": "thread_exiting", "status": status.json() }),
            StopReason::Forked { child, vfork, followed } => {
                json!({ "kind": "forked", "child": child.json(), "vfork": vfork, "followed": followed })
            }
            StopReason::Execed { executable, former_thread } => {
                json!({ "kind": "execed", "executable": executable, "former_thread": former_thread.json() })
            }
            StopReason::ModulesChanged => kind("modules_changed"),
            StopReason::Syscall { number, leaving } => {
                let call = outpost_engine::syscall_name(*number);
                json!({ "kind": "syscall", "number": number, "name": call, "leaving": leaving })
            }
            StopReason::Exited { status } => json!({ "kind": "exited", "status": status.json() }),
            StopReason::DumpOpened => kind("dump_opened"),
            other => json!({ "kind": "other", "words": outpost_engine::describe_event(other, None) }),
        }
    }
}

impl Json for LastEvent {
    fn json(&self) -> Value {
        let Self { process_id, thread_id, thread, reason, chance, breakpoints, time, pc, previous_pc, filter } = self;
        object([
            ("process_id", process_id.json()),
            ("thread_id", thread_id.json()),
            ("thread", thread.json()),
            ("reason", reason.json()),
            ("chance", chance.json()),
            ("breakpoints", breakpoints.json()),
            ("time_us", since_epoch(*time)),
            ("pc", pc.json()),
            ("previous_pc", previous_pc.json()),
            ("filter", filter.json()),
            ("description", json!(self.description())),
        ])
    }
}

impl Json for ReturnedValue {
    fn json(&self) -> Value {
        let Self { function, type_name, register, value } = self;
        json!({
            "function": function, "type": type_name, "register": word(*register), "value": value.json(),
        })
    }
}

impl Json for Stop {
    fn json(&self) -> Value {
        object([
            ("system", self.system.json()),
            ("process", self.process.json()),
            ("thread", self.thread.json()),
            ("process_id", self.process_id.json()),
            ("thread_id", self.thread_id.json()),
            ("reason", self.reason.json()),
            ("chance", self.chance.json()),
            ("breakpoints", self.breakpoints.json()),
            ("at_temporary", self.at_temporary.json()),
            ("ends_step", self.ends_step.json()),
            ("returned", self.returned.json()),
            ("pc", self.pc.json()),
            ("time_us", since_epoch(self.time)),
            ("unstoppable", self.unstoppable.json()),
            ("filter", self.filter.json()),
        ])
    }
}
