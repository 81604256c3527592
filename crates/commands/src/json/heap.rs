//! The C library's heap and tokio's tasks.

use outpost_engine::triage::{AwaitFrame, Chunk, ChunkState, ChunkTotal, HeapFinding, HeapProblem, Task, TaskState};

use super::{Json, Value, fields, json, names, object};

names!(TaskState);
fields!(ChunkTotal { count, bytes });
fields!(HeapProblem { at, before, text });
fields!(HeapFinding { pointer, chunk, before, text, problems });
fields!(AwaitFrame { depth, function, place, state, joins });
fields!(Task { at, id, state, frames });

impl Json for ChunkState {
    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

impl Json for Chunk {
    fn json(&self) -> Value {
        object([
            ("at", self.at.json()),
            ("size", self.size.json()),
            ("user", self.user().json()),
            ("state", self.state.json()),
        ])
    }
}
