//! What a client may do, by the role that its password or certificate gave it. Decided in one place, in the server.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use outpost_base::ProcessId;
use outpost_target::{AttachMode, FileId, Os, TargetError};
use outpost_transport::{Credential, Password, Peer, Thumbprint, TransportError};
use outpost_wire::{Key, Request};

use crate::AllowList;

/// How an ELF image begins (elf(5)).
const ELF: [u8; 4] = *b"\x7fELF";

/// What a client may do; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look: lists, memory, files, attaching without stopping anything. No debuggee is changed or held up.
    Observe,
    /// Debug what runs: attach, stop, change, end.
    Control,
    /// Start programs, too.
    Launch,
    /// End the server, too.
    EndServer,
}

impl Role {
    const ALL: [Role; 4] = [Role::Observe, Role::Control, Role::Launch, Role::EndServer];

    /// The role of this name.
    pub fn of(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.to_string() == name)
    }

    /// Whether this role is enough for a request.
    ///
    /// # Errors
    /// [`TargetError::Permission`], which names the role and the one that is needed.
    fn check(self, request: &Request) -> Result<(), TargetError> {
        let needed = needed(request);
        if self < needed {
            return Err(self.lacks(&format!("{:?}", request.kind()), needed));
        }
        match request {
            Request::Attach { process, .. }
            | Request::Handles { process }
            | Request::OpenFile { process: Some(process), .. } => self.check_process(*process),
            _ => Ok(()),
        }
    }

    /// Whether this role may have the process that a request names: no lower one than the highest may look into a
    /// server, where the passwords of the others are.
    ///
    /// # Errors
    /// As [`Role::check`].
    fn check_process(self, process: ProcessId) -> Result<(), TargetError> {
        let file = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let theirs = file(Path::new(&format!("/proc/{process}/exe")));
        match self == Role::EndServer || theirs.is_none() || theirs != file(Path::new("/proc/self/exe")) {
            true => Ok(()),
            false => Err(self.lacks("attaching to a debugging server", Role::EndServer)),
        }
    }

    fn lacks(self, what: &str, needed: Role) -> TargetError {
        TargetError::Permission {
            what: format!("{what} in the role {self}"),
            remedy: format!("the role {needed} is needed; connect with a password or certificate that gives it"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Observe => "observe",
            Role::Control => "control",
            Role::Launch => "launch",
            Role::EndServer => "end-server",
        })
    }
}

/// What a session's client may do.
#[derive(Debug, Clone)]
pub struct Access {
    /// By what it proved.
    pub(crate) role: Role,
    /// By what the server allows everybody.
    pub(crate) allowed: AllowList,
}

/// Of who serves itself.
pub(crate) static EVERYTHING: Access = Access { role: Role::EndServer, allowed: AllowList::EVERYTHING };

impl Access {
    /// Whether a request may be carried out.
    ///
    /// # Errors
    /// [`TargetError::Permission`], which says what is missing.
    pub(crate) fn check(&self, request: &Request) -> Result<(), TargetError> {
        self.role.check(request)?;
        self.allowed.check(request)
    }

    /// Whether a file that was opened may be read; one that may not is closed. Who only observes, or is kept to some
    /// processes, needs the images of programs, and nothing else of what the server's user may read, such as keys.
    ///
    /// # Errors
    /// As [`Access::check`].
    pub(crate) fn check_file(&self, os: &mut dyn Os, file: FileId) -> Result<(), TargetError> {
        let is_free = self.role >= Role::Control && !self.allowed.narrows_processes();
        if is_free || os.read_file(file, &[(0, ELF.len() as u64)])?.concat() == ELF {
            return Ok(());
        }
        os.close_file(file)?;
        let what = "reading a file that is no ELF image";
        Err(match self.role >= Role::Control {
            true => {
                TargetError::Permission { what: what.into(), remedy: "the server allows some processes only".into() }
            }
            false => self.role.lacks(what, Role::Control),
        })
    }
}

/// The least role for a request. No arm for the rest: a new request does not compile until it is decided here.
fn needed(request: &Request) -> Role {
    match request {
        Request::Processes
        | Request::Threads { .. }
        | Request::ThreadTimes { .. }
        | Request::Modules { .. }
        | Request::Regions { .. }
        | Request::Read { .. }
        | Request::Registers { .. }
        | Request::Search { .. }
        | Request::Attach { mode: AttachMode::Noninvasive { suspend: false }, .. }
        // An observer has nothing attached that this could set going.
        | Request::Detach { .. }
        | Request::PendingSignal { .. }
        | Request::BreakpointStates
        | Request::ListProcesses { .. }
        | Request::WaitForProcess { .. }
        | Request::OpenFile { .. }
        | Request::ReadFile { .. }
        | Request::CloseFile { .. }
        | Request::ListDirectory { .. }
        | Request::Handles { .. }
        | Request::Clock
        | Request::Sessions => Role::Observe,
        Request::Attach { .. }
        | Request::Resume { .. }
        | Request::Write { .. }
        | Request::SetRegisters { .. }
        | Request::AdjustSuspend { .. }
        | Request::Kill { .. }
        | Request::SetDetachOnExit { .. }
        | Request::BreakIn
        | Request::ChangeBreakpoints { .. } => Role::Control,
        Request::Create { .. } | Request::WriteStdin { .. } | Request::ResizeTerminal { .. } => Role::Launch,
        Request::EndServer => Role::EndServer,
    }
}

/// What a client proved, and what it may do for that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proved {
    /// Where it comes from.
    pub(crate) peer: Peer,
    /// The certificate that it owns.
    pub(crate) certificate: Option<Thumbprint>,
    /// Worth nothing before it has proved a secret.
    pub(crate) role: Role,
}

/// A role for those who prove something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// What its clients must prove.
    pub credential: Credential,
}

/// What a server lets in, and what each of it opens.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    keys: Vec<Key>,
    roles: Vec<Role>,
    certificates: Vec<(Thumbprint, Role)>,
    /// The key of who has to know nothing.
    nothing: Key,
}

impl Keys {
    /// Without grants, whoever knows the server's password (or nothing, if there is none) may do everything. With them,
    /// the server's own password does so, if it has one.
    ///
    /// # Errors
    /// A file with a password cannot be read.
    pub(crate) fn new(password: Option<&Password>, grants: &[Grant], salt: &[u8]) -> Result<Keys, TransportError> {
        let key = |text: &str| Key::derive(text, salt, Key::ITERATIONS);
        let nothing = key("");
        let (mut keys, mut certificates) = (Vec::new(), Vec::new());
        match password {
            Some(password) => keys.push((key(&password.reveal()?), Role::EndServer)),
            None if grants.is_empty() => keys.push((nothing.clone(), Role::EndServer)),
            None => {}
        }
        for Grant { role, credential } in grants {
            match credential {
                Credential::Password(password) => keys.push((key(&password.reveal()?), *role)),
                Credential::Certificates(owned) => certificates.extend(owned.iter().map(|one| (*one, *role))),
            }
        }
        let (keys, roles) = keys.into_iter().unzip();
        Ok(Keys { keys, roles, certificates, nothing })
    }

    /// What is accepted of everybody.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.keys.clone()
    }

    /// What is accepted besides of the owner of this certificate, behind the others.
    pub(crate) fn key_of(&self, certificate: Option<Thumbprint>) -> Option<Key> {
        self.role_of(certificate).map(|_| self.nothing.clone())
    }

    /// What the key at this place opens; nothing that matters if there is none.
    pub(crate) fn role(&self, at: Option<usize>, certificate: Option<Thumbprint>) -> Role {
        let by_key = at.and_then(|at| self.roles.get(at).copied());
        let by_certificate = || at.and(self.role_of(certificate));
        by_key.or_else(by_certificate).unwrap_or(Role::Observe)
    }

    fn role_of(&self, certificate: Option<Thumbprint>) -> Option<Role> {
        let owned = self.certificates.iter().filter(|(one, _)| Some(*one) == certificate);
        owned.map(|(_, role)| *role).max()
    }
}
