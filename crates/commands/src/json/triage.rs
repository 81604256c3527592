//! What the engine finds out about failures and standstills.

use outpost_engine::target::ThreadTimes;
use outpost_engine::triage::{
    AccessKind, AddressNote, Analysis, FaultAccess, FaultClass, Hang, HangClass, Lock, LockKind, OriginStep,
    OtherProcess, ProcessBlock, ProcessPart, ProgramMessage, Recursion, SignalWords, ThreadBlock, ThreadWait,
    WaitedFile, Waiting,
};

use super::{Json, Value, fields, json, names, object, word};

names!(FaultClass, HangClass, LockKind, ProcessPart, AccessKind);
fields!(SignalWords { name, code, meaning });
fields!(FaultAccess { kind, address, size, expression });
fields!(OriginStep { at, text });
fields!(ProgramMessage { source, text, place });
fields!(Recursion { cycle, bytes_per_round, rounds });
fields!(Lock { at, kind, name, state, owner });
fields!(WaitedFile { number, handle, other_end });
fields!(OtherProcess { process, name, part, waiting, is_single });
fields!(ThreadWait { thread, id, name, waiting, stack, own, is_timed, others, leads_back });
fields!(ThreadTimes { id, start_time_us, user_time_us, system_time_us });
fields!(Hang { process_id, class, cause, threads, involved, blamed, bucket, times });
fields!(Analysis {
    thread,
    process_id,
    thread_id,
    class,
    cause,
    signal,
    instruction_at,
    instruction,
    access,
    address,
    origin,
    messages,
    heap,
    recursion,
    stack,
    blamed,
    bucket,
    notes,
});

impl Json for AddressNote {
    fn json(&self) -> Value {
        json!({ "at": self.at.json(), "note": self.to_string() })
    }
}

impl Json for Waiting {
    fn json(&self) -> Value {
        match self {
            Waiting::No => Value::Null,
            Waiting::Lock(lock) => json!({ "for": "lock", "lock": lock.json() }),
            Waiting::Condition { at, name } => json!({ "for": "condition", "at": at.json(), "name": name }),
            Waiting::Semaphore { at, name } => json!({ "for": "semaphore", "at": at.json(), "name": name }),
            Waiting::Join(thread) => json!({ "for": "thread", "thread": thread.json() }),
            Waiting::Wakeup { at, what } => json!({ "for": "wakeup", "at": at.json(), "what": what }),
            Waiting::File { call, files } => json!({ "for": "file", "call": call, "files": files.json() }),
            Waiting::Sleep => json!({ "for": "time" }),
            Waiting::Child(id) => json!({ "for": "child", "id": id }),
            Waiting::Signal => json!({ "for": "signal" }),
            Waiting::Call(call) => json!({ "for": "call", "call": call }),
            other => json!({ "for": "other", "words": format!("{other:?}") }),
        }
    }
}

impl Json for ProcessBlock {
    fn json(&self) -> Value {
        let Self { id, parent, executable, arguments, environment, auxv } = self;
        let auxv = auxv.iter().map(|(name, value)| (name.clone(), word(*value))).collect();
        json!({
            "id": id.json(), "parent": parent.json(), "executable": executable, "arguments": arguments,
            "environment": environment, "auxv": Value::Object(auxv),
        })
    }
}

impl Json for ThreadBlock {
    fn json(&self) -> Value {
        object([
            ("thread", self.thread.json()),
            ("id", self.id.json()),
            ("name", self.name.json()),
            ("at", self.at.json()),
            ("own_address", self.own_address.json()),
            ("dtv", self.dtv.json()),
            ("stack_guard", self.stack_guard.map_or(Value::Null, word)),
            ("pointer_guard", self.pointer_guard.map_or(Value::Null, word)),
            ("library_id", self.library_id.json()),
            ("start_routine", self.start_routine.json()),
            ("stack", self.stack.json()),
            ("sp", self.sp.json()),
            ("errno", self.errno.json()),
        ])
    }
}
