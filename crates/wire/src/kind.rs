//! The table of messages: which number in a frame's header means which message.

use crate::WireError;

/// Set in the kind of a reply; the rest is the request's kind.
const REPLY: u16 = 0x8000;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame carries. Requests are answered by a frame of kind `number | 0x8000`, or by [`Kind::Failed`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind that has a number of its own.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            fn from_number(number: u16) -> Option<Kind> {
                match number {
                    $($number => Some(Kind::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// `ClientHello`
    ClientHello = 0x0001,
    /// `ServerHello`
    ServerHello = 0x0002,
    /// `Authenticate`
    Authenticate = 0x0003,
    /// `Authenticated`
    Authenticated = 0x0004,
    /// `OpenSession`
    OpenSession = 0x0005,
    /// `SessionOpened`
    SessionOpened = 0x0006,
    /// `Refusal`
    Refusal = 0x0007,
    /// `ResumeSession`
    ResumeSession = 0x0008,
    /// `SessionResumed`
    SessionResumed = 0x0009,
    /// `Empty`; never answered: only the header's `seen` counts
    Seen = 0x000a,
    /// `Empty`; never answered: the client ends the session
    Goodbye = 0x000b,
    /// `QueryServers`
    QueryServers = 0x0010,
    /// `ServersReply`
    Servers = 0x0011,

    /// `Empty` -> `ProcessesReply`
    Processes = 0x0101,
    /// `ProcessRequest` -> `ThreadsReply`
    Threads = 0x0102,
    /// `ProcessRequest` -> `ModulesReply`
    Modules = 0x0103,
    /// `ProcessRequest` -> `RegionsReply`
    Regions = 0x0104,
    /// `ReadRequest` -> `ReadReply`
    Read = 0x0105,
    /// `RegistersRequest` -> `RegistersReply`
    Registers = 0x0106,
    /// `SearchRequest` -> `SearchReply`
    Search = 0x0107,
    /// `ProcessRequest` -> `ThreadTimesReply`
    ThreadTimes = 0x0108,

    /// `AttachRequest` -> `AttachReply`
    Attach = 0x0201,
    /// `CreateRequest` -> `CreateReply`
    Create = 0x0202,
    /// `Plan` -> `Empty`
    Resume = 0x0203,
    /// `WriteRequest` -> `WriteReply`
    Write = 0x0204,
    /// `SetRegistersRequest` -> `Empty`
    SetRegisters = 0x0205,
    /// `AdjustSuspendRequest` -> `AdjustSuspendReply`
    AdjustSuspend = 0x0206,
    /// `ThreadRequest` -> `PendingSignalReply`
    PendingSignal = 0x0207,
    /// `DetachRequest` -> `Empty`
    Detach = 0x0208,
    /// `ProcessRequest` -> `Empty`
    Kill = 0x0209,
    /// `SetDetachOnExitRequest` -> `Empty`
    SetDetachOnExit = 0x020a,
    /// `Empty`; never answered: the stop is the answer
    BreakIn = 0x020b,

    /// `ChangeBreakpointsRequest` -> `ChangeBreakpointsReply`
    ChangeBreakpoints = 0x0301,
    /// `Empty` -> `BreakpointStatesReply`
    BreakpointStates = 0x0302,

    /// `ListProcessesRequest` -> `ListProcessesReply`
    ListProcesses = 0x0401,
    /// `WaitForProcessRequest` -> `Empty`
    WaitForProcess = 0x0402,
    /// `OpenFileRequest` -> `OpenFileReply`
    OpenFile = 0x0403,
    /// `ReadFileRequest` -> `ReadReply`
    ReadFile = 0x0404,
    /// `CloseFileRequest` -> `Empty`
    CloseFile = 0x0405,
    /// `ListDirectoryRequest` -> `ListDirectoryReply`
    ListDirectory = 0x0406,
    /// `ProcessRequest` -> `HandlesReply`
    Handles = 0x0407,
    /// `WriteStdinRequest` -> `Empty`
    WriteStdin = 0x0408,
    /// `Empty` -> `ClockReply`
    Clock = 0x0409,
    /// `Empty` -> `Empty`
    EndServer = 0x040a,
    /// `Empty` -> `SessionsReply`
    Sessions = 0x040b,
    /// `ResizeTerminalRequest` -> `Empty`
    ResizeTerminal = 0x040c,

    /// `StopBundle`
    Stopped = 0x4001,
    /// `TraceEvent`
    Trace = 0x4002,
    /// `StopRecord`
    Noticed = 0x4003,
    /// `OutputEvent`
    Output = 0x4004,
    /// `ProcessAppearedEvent`
    ProcessAppeared = 0x4005,
    /// `ServerEndingEvent`
    ServerEnding = 0x4006,
    /// `LoggedEvent`
    Logged = 0x4007,

    /// `Failure`; answers any request
    Failed = 0x8000,
}

impl Kind {
    /// The number in a frame's header.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The number of the frame that answers this request.
    pub const fn reply_number(self) -> u16 {
        self as u16 | REPLY
    }

    /// The kind of a frame that is no reply (or is [`Kind::Failed`]).
    ///
    /// # Errors
    /// [`WireError::UnexpectedKind`] for every other number.
    pub fn of(number: u16) -> Result<Kind, WireError> {
        Kind::from_number(number).ok_or(WireError::UnexpectedKind { kind: number })
    }

    /// Whether this is something that happened, not an answer: it has an event number.
    pub fn is_event(self) -> bool {
        self.number() & 0xc000 == 0x4000
    }

    /// Whether a request changes something. Such requests must not be carried out twice, so a worker keeps the reply
    /// of each until the client has seen it; all others may be sent again after a drop.
    pub fn is_acting(self) -> bool {
        use Kind::*;
        matches!(
            self,
            Attach
                | Create
                | Resume
                | Write
                | SetRegisters
                | AdjustSuspend
                | Detach
                | Kill
                | SetDetachOnExit
                | BreakIn
                | ChangeBreakpoints
                | WaitForProcess
                | OpenFile
                | CloseFile
                | WriteStdin
                | ResizeTerminal
                | EndServer
        )
    }
}
