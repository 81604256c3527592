//! `~`, `|`, `||` with what they name and what is done with it.

use std::fmt::Write;

use outpost_engine::{EngineError, ThreadOrdinal, ThreadSummary};

use crate::context::Context;
use crate::line::{Prefix, ThreadSpec, ThreadVerb};
use crate::{CommandError, Output, OutputKind};

/// The threads of the current process that a prefix names; all if it names none.
pub(crate) fn threads(context: &mut Context, prefix: &Prefix<'_>) -> Result<Vec<ThreadOrdinal>, CommandError> {
    let engine = &context.engine;
    let all = engine.threads(engine.current_process()?)?;
    let chosen: Vec<ThreadOrdinal> = match &prefix.which {
        None | Some(ThreadSpec::All) => all.iter().map(|thread| thread.ordinal).collect(),
        Some(ThreadSpec::Current) => vec![engine.current_thread()?],
        Some(ThreadSpec::Event) => engine.event_thread().into_iter().collect(),
        Some(ThreadSpec::Ordinal(number)) => vec![ThreadOrdinal(*number)],
        Some(ThreadSpec::SystemId(text) | ThreadSpec::Expression(text)) => {
            return Err(CommandError::Usage { reason: format!("'{text}' is no thread"), usage: "~[.|#|*|N]" });
        }
    };
    match chosen.iter().find(|chosen| !all.iter().any(|thread| thread.ordinal == **chosen)) {
        Some(unknown) => Err(EngineError::NoThread { ordinal: *unknown }.into()),
        None => Ok(chosen),
    }
}

/// Carries out a prefix that is a command by itself.
pub(crate) fn execute(
    context: &mut Context,
    sign: &str,
    prefix: &Prefix<'_>,
    output: &mut dyn Output,
) -> Result<(), CommandError> {
    if sign != "~" {
        return Err(super::unknown(sign));
    }
    let chosen = threads(context, prefix)?;
    match prefix.verb {
        ThreadVerb::List => {
            let all = context.engine.threads(context.engine.current_process()?)?;
            let mut text = String::new();
            all.iter().filter(|thread| chosen.contains(&thread.ordinal)).for_each(|thread| row(thread, &mut text));
            output.write(OutputKind::Normal, &text);
        }
        ThreadVerb::Select => context.engine.select_thread(*chosen.first().ok_or_else(|| super::bad_prefix(sign))?)?,
        ThreadVerb::Freeze => context.engine.freeze(&chosen, true)?,
        ThreadVerb::Unfreeze => context.engine.freeze(&chosen, false)?,
        ThreadVerb::Suspend => context.engine.adjust_suspend(&chosen, 1)?,
        ThreadVerb::Resume => context.engine.adjust_suspend(&chosen, -1)?,
        ThreadVerb::Each | ThreadVerb::Command => return Err(super::bad_prefix(sign)),
    }
    Ok(())
}

/// A thread as `~` lists it.
fn row(thread: &ThreadSummary, text: &mut String) {
    let mark = match (thread.is_current, thread.is_event) {
        (true, _) => '.',
        (false, true) => '#',
        (false, false) => ' ',
    };
    let frozen = if thread.is_frozen { "Frozen" } else { "Unfrozen" };
    let _ = write!(
        text,
        "{mark} {:2}  Id: {:x}.{:x} Suspend: {} Teb: {} {frozen}",
        thread.ordinal.0, thread.process_id.0, thread.id.0, thread.suspend_count, thread.teb
    );
    let _ = match thread.name.as_str() {
        "" => writeln!(text),
        name => writeln!(text, " \"{name}\""),
    };
}
