//! Programs started together with the server (`-c`, `-cs`); nobody debugs them until a client attaches.

use std::process::Command;

use anyhow::Context;
use outpost_base::ProcessId;

use crate::options::Program;

/// Starts it; gives its process id.
pub(crate) fn create(program: &Program) -> anyhow::Result<ProcessId> {
    let (name, arguments) = program.words.split_first().context("no program")?;
    if program.suspended {
        return outpost_live::create_suspended(name, arguments).with_context(|| format!("cannot start {name}"));
    }
    // Its end is noticed by the guardian, which collects every child.
    let child = Command::new(name).args(arguments).spawn().with_context(|| format!("cannot start {name}"))?;
    Ok(ProcessId(child.id()))
}
