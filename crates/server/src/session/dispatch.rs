//! Requests, carried out on a target.

use outpost_base::{ProcessId, Va};
use outpost_target::{AttachMode, Breakpoints, Live, Os, SignalAction, StopBundle, Target, TargetError};
use outpost_wire::{Reply, Request};

use super::Superior;
use crate::Record;

/// Most bytes one read may ask for; clients split larger ones, so that an event never waits behind them for long.
const MAX_READ: u64 = 8 << 20;
/// Most ranges one read may have.
const MAX_RANGES: usize = 64 << 10;
/// Room in a frame for everything that is not the bytes read.
const OVERHEAD: u64 = 1 << 10;

/// The answer to a request; `None` if it has none. `frame_limit`: longest frame the client takes.
pub(super) fn carry_out(
    target: &mut dyn Target,
    superior: &mut dyn Superior,
    request: Request,
    frame_limit: usize,
) -> Option<Reply> {
    let allowed = superior.access().check(&request);
    if let Request::BreakIn = request {
        match (allowed, target.as_live()) {
            (Err(error), _) => {
                superior.log(format_args!("{error}"));
                superior.audit(Record::new("breakin").field("error", error));
            }
            (Ok(()), Some(live)) => live.interrupter().break_in(),
            (Ok(()), None) => {}
        }
        return None;
    }
    let (deed, record) = (deed(&request), audited(&request));
    let result = allowed.and_then(|()| answer(target, superior, request, frame_limit));
    if let Some(deed) = deed {
        match &result {
            Ok(Reply::Created(process, _)) => superior.log(format_args!("{deed} as process {process}")),
            Ok(_) => superior.log(format_args!("{deed}")),
            Err(error) => superior.log(format_args!("{deed}: refused: {error}")),
        }
    }
    if let Some(record) = record {
        superior.audit(match &result {
            Ok(Reply::Created(process, _)) => record.field("process", process),
            Ok(_) => record,
            Err(error) => record.field("error", error),
        });
    }
    Some(result.unwrap_or_else(Reply::Failed))
}

/// What goes into the log, for requests that begin or end something.
fn deed(request: &Request) -> Option<String> {
    match request {
        Request::Attach { process, .. } => Some(format!("attach to process {process}")),
        Request::Create { spec, .. } => Some(format!("create {}", spec.program.escape_debug())),
        Request::Detach { process, .. } => Some(format!("detach from process {process}")),
        Request::Kill { process } => Some(format!("end process {process}")),
        Request::EndServer => Some("end the server".into()),
        _ => None,
    }
}

/// What goes into the audit log: all that changes a debuggee or the machine. Arguments of programs do not, since
/// secrets are passed in them.
fn audited(request: &Request) -> Option<Record> {
    let of = |event, process: &ProcessId| Record::new(event).field("process", process);
    Some(match request {
        Request::Attach { process, mode, .. } => {
            let mode = match mode {
                AttachMode::Invasive { .. } => "invasive",
                AttachMode::Noninvasive { .. } => "noninvasive",
                AttachMode::Existing => "existing",
            };
            // As it is called now; what it is allowed to be is another matter.
            let program = std::fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
            of("attach", process).field("mode", mode).field("program", program.display())
        }
        Request::Create { spec, .. } => Record::new("create").field("program", &spec.program),
        Request::Detach { process, .. } => of("detach", process),
        Request::Kill { process } => of("kill", process),
        Request::EndServer => Record::new("endserver"),
        Request::Write { space, writes } => {
            let bytes: usize = writes.iter().map(|write| write.bytes.len()).sum();
            let at = writes.first().map_or(Va(0), |write| write.at);
            Record::new("write").field("space", space.0).field("at", at).field("bytes", bytes)
        }
        Request::SetRegisters { thread, .. } => Record::new("registers").field("thread", thread),
        Request::Resume { plan } => {
            let own = plan.threads.iter().map(|part| (Some(part.thread), &part.signal));
            let replaced = own.chain([(None, &plan.others_signal)]).find_map(|(thread, signal)| match signal {
                SignalAction::Replace(info) => Some((thread, info.signo)),
                SignalAction::Deliver | SignalAction::Swallow => None,
            });
            let (thread, signal) = replaced?;
            let record = Record::new("signal").field("signal", signal);
            thread.into_iter().fold(record, |record, thread| record.field("thread", thread))
        }
        Request::ChangeBreakpoints { changes } => Record::new("breakpoints").field("changes", changes.len()),
        Request::WriteStdin { process, bytes } => of("input", process).field("bytes", bytes.len()),
        _ => return None,
    })
}

fn answer(
    target: &mut dyn Target,
    superior: &mut dyn Superior,
    request: Request,
    frame_limit: usize,
) -> Result<Reply, TargetError> {
    Ok(match request {
        Request::Processes => Reply::Processes(target.processes()?),
        Request::Threads { process } => Reply::Threads(target.threads(process)?),
        Request::ThreadTimes { process } => Reply::ThreadTimes(target.thread_times(process)?),
        Request::Modules { process } => Reply::Modules(target.modules(process)?),
        Request::Regions { process } => Reply::Regions(target.regions(process)?),
        Request::Read { space, reads } => {
            check_read(reads.iter().map(|read| read.len), frame_limit)?;
            Reply::Read(target.read_many(space, &reads)?)
        }
        Request::Registers { threads, sets } => Reply::Registers(target.registers_many(&threads, sets)?),
        Request::Search { space, request } => Reply::Search(target.search(space, &request)?),

        Request::Attach { process, mode, bundle } => Reply::Attached(live(target)?.attach(process, mode, &bundle)?),
        Request::Create { spec, bundle } => {
            let (process, stop): (_, Option<StopBundle>) = live(target)?.create(&spec, &bundle)?;
            Reply::Created(process, stop)
        }
        Request::Resume { plan } => done(live(target)?.resume(&plan))?,
        Request::Write { space, writes } => Reply::Written(live(target)?.write_many(space, &writes)?),
        Request::SetRegisters { thread, context } => done(live(target)?.set_registers(thread, &context))?,
        Request::AdjustSuspend { threads, delta } => {
            Reply::SuspendCounts(live(target)?.adjust_suspend(&threads, delta)?)
        }
        Request::PendingSignal { thread } => Reply::PendingSignal(live(target)?.pending_signal(thread)?),
        Request::Detach { process, mode } => done(live(target)?.detach(process, mode))?,
        Request::Kill { process } => done(live(target)?.kill(process))?,
        Request::SetDetachOnExit { detach } => done(live(target)?.set_detach_on_exit(detach))?,
        Request::BreakIn => Reply::Done,

        Request::ChangeBreakpoints { changes } => {
            Reply::BreakpointChanges(breakpoints(target)?.change_breakpoints(&changes)?)
        }
        Request::BreakpointStates => Reply::BreakpointStates(breakpoints(target)?.breakpoint_states()?),

        Request::ListProcesses { query, with_attachability } => {
            Reply::OsProcesses(os(target)?.list_processes(&query, with_attachability)?)
        }
        Request::WaitForProcess { name } => done(os(target)?.wait_for_process(name.as_deref()))?,
        Request::OpenFile { process, path } => {
            let os = os(target)?;
            let (file, len) = os.open_file(process, &path)?;
            superior.access().check_file(os, file)?;
            Reply::FileOpened(file, len)
        }
        Request::ReadFile { file, ranges } => {
            check_read(ranges.iter().map(|&(_, len)| len), frame_limit)?;
            Reply::Read(os(target)?.read_file(file, &ranges)?)
        }
        Request::CloseFile { file } => done(os(target)?.close_file(file))?,
        Request::ListDirectory { path } => Reply::Directory(os(target)?.list_directory(&path)?),
        Request::Handles { process } => Reply::Handles(os(target)?.handles(process)?),
        Request::WriteStdin { process, bytes } => done(os(target)?.write_stdin(process, &bytes))?,
        Request::ResizeTerminal { process, columns, rows } => {
            done(os(target)?.resize_terminal(process, columns, rows))?
        }
        Request::Clock => {
            let (time_us, uptime_us) = os(target)?.clock()?;
            Reply::Clock { time_us, uptime_us }
        }
        Request::EndServer => done(superior.end_server())?,
        Request::Sessions => Reply::Sessions(superior.sessions()?),
    })
}

fn done(result: Result<(), TargetError>) -> Result<Reply, TargetError> {
    result.map(|()| Reply::Done)
}

fn check_read(lengths: impl ExactSizeIterator<Item = u64>, frame_limit: usize) -> Result<(), TargetError> {
    let ranges = lengths.len();
    let wanted = lengths.fold(0, u64::saturating_add);
    let overhead = OVERHEAD + ranges as u64 * 10;
    let most = MAX_READ.min((frame_limit as u64).saturating_sub(overhead));
    match wanted <= most && ranges <= MAX_RANGES {
        true => Ok(()),
        false => Err(TargetError::Invalid {
            reason: format!("{wanted} bytes in {ranges} ranges; at most {most} in {MAX_RANGES} are read at once"),
        }),
    }
}

fn unsupported(operation: &'static str, reason: &str) -> TargetError {
    TargetError::Unsupported { operation, reason: reason.into() }
}

fn live(target: &mut dyn Target) -> Result<&mut dyn Live, TargetError> {
    target.as_live().ok_or_else(|| unsupported("running", "this target does not run"))
}

fn breakpoints(target: &mut dyn Target) -> Result<&mut dyn Breakpoints, TargetError> {
    target.as_breakpoints().ok_or_else(|| unsupported("breaking", "this target takes no breakpoints"))
}

fn os(target: &mut dyn Target) -> Result<&mut dyn Os, TargetError> {
    target.as_os().ok_or_else(|| unsupported("access to the machine", "this target has no machine around it"))
}
