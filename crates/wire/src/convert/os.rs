//! The machine's processes, their creation, attaching.

use std::time::Duration;

use outpost_base::ProcessId;
use outpost_target::{
    AttachMode, Attachability, CreateSpec, DetachMode, DirectoryEntry, NameMatch, OsProcess, ProcessQuery,
    ServerSession, StdioSpec,
};

use super::{enumeration, required};
use crate::{WireError, proto};

enumeration!(detach_number, detach_mode, DetachMode, proto::detach_request::Mode, "mode":
    Deliver = Deliver,
    Swallow = Swallow,
    LeaveStopped = LeaveStopped,
);

pub(crate) fn attach_number(mode: AttachMode) -> i32 {
    use proto::attach_request::Mode;
    let mode = match mode {
        AttachMode::Invasive { break_in: false } => Mode::Invasive,
        AttachMode::Invasive { break_in: true } => Mode::InvasiveBreakIn,
        AttachMode::Noninvasive { suspend: false } => Mode::Noninvasive,
        AttachMode::Noninvasive { suspend: true } => Mode::NoninvasiveSuspend,
        AttachMode::Existing => Mode::Existing,
    };
    mode as i32
}

pub(crate) fn attach_mode(number: i32) -> Result<AttachMode, WireError> {
    use proto::attach_request::Mode;
    match Mode::try_from(number) {
        Ok(Mode::Invasive) => Ok(AttachMode::Invasive { break_in: false }),
        Ok(Mode::InvasiveBreakIn) => Ok(AttachMode::Invasive { break_in: true }),
        Ok(Mode::Noninvasive) => Ok(AttachMode::Noninvasive { suspend: false }),
        Ok(Mode::NoninvasiveSuspend) => Ok(AttachMode::Noninvasive { suspend: true }),
        Ok(Mode::Existing) => Ok(AttachMode::Existing),
        Ok(Mode::Unspecified) | Err(_) => Err(WireError::Field { field: "mode" }),
    }
}

/// The bundle request is the caller's to add.
impl From<CreateSpec> for proto::CreateRequest {
    fn from(spec: CreateSpec) -> proto::CreateRequest {
        use proto::create_request::{Files, Pty, Stdio};
        let stdio = match spec.stdio {
            StdioSpec::Client => Stdio::Client(proto::Empty {}),
            StdioSpec::Server => Stdio::Server(proto::Empty {}),
            StdioSpec::Pty { columns, rows } => Stdio::Pty(Pty { columns: u32::from(columns), rows: u32::from(rows) }),
            StdioSpec::Files { stdin, stdout, stderr } => Stdio::Files(Files { stdin, stdout, stderr }),
        };
        let set = |(name, value)| proto::Variable { name, value: Some(value) };
        let change = |(name, value)| proto::Variable { name, value };
        proto::CreateRequest {
            program: spec.program,
            arguments: spec.arguments,
            replace_environment: spec.environment.is_some(),
            environment: spec.environment.unwrap_or_default().into_iter().map(set).collect(),
            environment_changes: spec.environment_changes.into_iter().map(change).collect(),
            directory: spec.directory,
            stdio: Some(stdio),
            randomize: spec.randomize,
            break_in: spec.break_in,
            bundle: None,
        }
    }
}

impl TryFrom<proto::CreateRequest> for CreateSpec {
    type Error = WireError;

    fn try_from(request: proto::CreateRequest) -> Result<CreateSpec, WireError> {
        use proto::create_request::{Files, Pty, Stdio};
        let size = |value: u32| u16::try_from(value).map_err(|_| WireError::Field { field: "pty" });
        let stdio = match required(request.stdio, "stdio")? {
            Stdio::Client(_) => StdioSpec::Client,
            Stdio::Server(_) => StdioSpec::Server,
            Stdio::Pty(Pty { columns, rows }) => StdioSpec::Pty { columns: size(columns)?, rows: size(rows)? },
            Stdio::Files(Files { stdin, stdout, stderr }) => StdioSpec::Files { stdin, stdout, stderr },
        };
        let set = |variable: proto::Variable| Ok((variable.name, required(variable.value, "environment")?));
        let environment = request.environment.into_iter().map(set).collect::<Result<Vec<_>, WireError>>()?;
        let change = |variable: proto::Variable| (variable.name, variable.value);
        Ok(CreateSpec {
            program: request.program,
            arguments: request.arguments,
            environment: request.replace_environment.then_some(environment),
            environment_changes: request.environment_changes.into_iter().map(change).collect(),
            directory: request.directory,
            stdio,
            randomize: request.randomize,
            break_in: request.break_in,
        })
    }
}

impl From<OsProcess> for proto::OsProcess {
    fn from(process: OsProcess) -> proto::OsProcess {
        let attachability = process.attachability.map(|answer| match answer {
            Attachability::Yes => proto::Attachability { yes: true, ..Default::default() },
            Attachability::No { reason, remedy } => proto::Attachability { yes: false, reason, remedy },
        });
        proto::OsProcess {
            id: process.id.0,
            parent: process.parent.0,
            name: process.name,
            executable: process.executable,
            arguments: process.arguments,
            uid: process.uid,
            user: process.user,
            threads: process.threads,
            state: u32::from(process.state),
            container: process.container,
            tracer: process.tracer.0,
            tracer_name: process.tracer_name,
            start_time_us: process.start_time_us,
            attachability,
        }
    }
}

impl TryFrom<proto::OsProcess> for OsProcess {
    type Error = WireError;

    fn try_from(process: proto::OsProcess) -> Result<OsProcess, WireError> {
        let attachability = process.attachability.map(|answer| match answer.yes {
            true => Attachability::Yes,
            false => Attachability::No { reason: answer.reason, remedy: answer.remedy },
        });
        Ok(OsProcess {
            id: ProcessId(process.id),
            parent: ProcessId(process.parent),
            name: process.name,
            executable: process.executable,
            arguments: process.arguments,
            uid: process.uid,
            user: process.user,
            threads: process.threads,
            state: required(char::from_u32(process.state), "state")?,
            container: process.container,
            tracer: ProcessId(process.tracer),
            tracer_name: process.tracer_name,
            start_time_us: process.start_time_us,
            attachability,
        })
    }
}

pub(crate) fn from_query(query: ProcessQuery, with_attachability: bool) -> proto::ListProcessesRequest {
    use proto::list_processes_request::Query;
    let query = match query {
        ProcessQuery::All => Query::All(proto::Empty {}),
        ProcessQuery::Id(process) => Query::Id(process.0),
        ProcessQuery::Name { name, how: NameMatch::FileName } => Query::FileName(name),
        ProcessQuery::Name { name, how: NameMatch::FullPath } => Query::FullPath(name),
    };
    proto::ListProcessesRequest { query: Some(query), with_attachability }
}

pub(crate) fn to_query(request: proto::ListProcessesRequest) -> Result<(ProcessQuery, bool), WireError> {
    use proto::list_processes_request::Query;
    let query = match required(request.query, "query")? {
        Query::All(_) => ProcessQuery::All,
        Query::Id(process) => ProcessQuery::Id(ProcessId(process)),
        Query::FileName(name) => ProcessQuery::Name { name, how: NameMatch::FileName },
        Query::FullPath(name) => ProcessQuery::Name { name, how: NameMatch::FullPath },
    };
    Ok((query, request.with_attachability))
}

impl From<DirectoryEntry> for proto::DirectoryEntry {
    fn from(entry: DirectoryEntry) -> proto::DirectoryEntry {
        proto::DirectoryEntry { name: entry.name, is_directory: entry.is_directory }
    }
}

impl From<proto::DirectoryEntry> for DirectoryEntry {
    fn from(entry: proto::DirectoryEntry) -> DirectoryEntry {
        DirectoryEntry { name: entry.name, is_directory: entry.is_directory }
    }
}

impl From<ServerSession> for proto::ServerSession {
    fn from(session: ServerSession) -> proto::ServerSession {
        proto::ServerSession {
            number: session.number,
            user: session.user,
            host: session.host,
            peer: session.peer,
            opened_us: session.opened_us,
            held_seconds: session.held.map(|left| u32::try_from(left.as_secs()).unwrap_or(u32::MAX)),
            processes: session.processes.into_iter().map(|process| process.0).collect(),
            own: session.own,
        }
    }
}

impl From<proto::ServerSession> for ServerSession {
    fn from(session: proto::ServerSession) -> ServerSession {
        ServerSession {
            number: session.number,
            user: session.user,
            host: session.host,
            peer: session.peer,
            opened_us: session.opened_us,
            held: session.held_seconds.map(|left| Duration::from_secs(left.into())),
            processes: session.processes.into_iter().map(ProcessId).collect(),
            own: session.own,
        }
    }
}
