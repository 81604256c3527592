//! What the server's owner allows every client, whatever its role: whose processes, which programs, which operations.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use outpost_base::ProcessId;
use outpost_target::{AttachMode, TargetError};
use outpost_wire::Request;

/// One thing that is allowed: `user=NAME` or `user=UID`, `program=PATH`, `operation=NAME`. What is written is the id, a
/// path without links, and one of [`OPERATIONS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Processes of this user.
    User(u32),
    /// Processes that run this file, or start it; a folder stands for all that is below it.
    Program(PathBuf),
    /// Requests of this kind.
    Operation(&'static str),
}

/// Requests that can be left out of what is allowed: all that change something and can be refused without harm. A
/// debuggee can always be let go and set going again.
pub const OPERATIONS: [&str; 8] = ["attach", "create", "kill", "write", "registers", "suspend", "breakpoints", "input"];

impl FromStr for Allowed {
    /// A sentence for the user.
    type Err = String;

    fn from_str(text: &str) -> Result<Allowed, String> {
        match text.split_once('=') {
            Some(("user", name)) => {
                let uid = name.parse().ok().or_else(|| uid_of(name));
                uid.map(Allowed::User).ok_or_else(|| format!("there is no user {name}"))
            }
            Some(("program", path)) => match fs::canonicalize(path) {
                Ok(path) => Ok(Allowed::Program(path)),
                Err(error) => Err(format!("{path}: {error}")),
            },
            Some(("operation", name)) => {
                let known = OPERATIONS.into_iter().find(|known| *known == name).map(Allowed::Operation);
                known.ok_or_else(|| format!("there is no operation {name}; there are {}", OPERATIONS.join(", ")))
            }
            _ => Err("user=NAME, program=PATH or operation=NAME is wanted".into()),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::User(uid) => write!(f, "user={uid}"),
            Allowed::Program(path) => write!(f, "program={}", path.display()),
            Allowed::Operation(name) => write!(f, "operation={name}"),
        }
    }
}

/// Everything that is allowed; of a kind that is not named at all, everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Allowed>);

impl AllowList {
    /// With nothing named: all is allowed.
    pub(crate) const EVERYTHING: AllowList = AllowList(Vec::new());

    /// Names one thing more.
    pub fn push(&mut self, allowed: Allowed) {
        self.0.push(allowed);
    }

    /// What is named.
    pub fn iter(&self) -> impl Iterator<Item = &Allowed> {
        self.0.iter()
    }

    /// Whether nothing is named, and all is allowed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether clients are kept to some processes: then they read no files but images either.
    pub(crate) fn narrows_processes(&self) -> bool {
        self.0.iter().any(|one| !matches!(one, Allowed::Operation(_)))
    }

    /// Whether a request is allowed.
    ///
    /// # Errors
    /// [`TargetError::Permission`], which names what is not allowed.
    pub(crate) fn check(&self, request: &Request) -> Result<(), TargetError> {
        if self.is_empty() {
            return Ok(());
        }
        if let Some(operation) = operation(request) {
            self.check_kind("operation", operation, |one| match one {
                Allowed::Operation(name) => Some(*name == operation),
                _ => None,
            })?;
        }
        match request {
            Request::Attach { process, .. } | Request::Handles { process } => self.check_process(*process),
            Request::OpenFile { process: Some(process), .. } => self.check_process(*process),
            Request::Create { spec, .. } => self.check_created(&spec.program),
            _ => Ok(()),
        }
    }

    fn check_process(&self, process: ProcessId) -> Result<(), TargetError> {
        if !self.narrows_processes() {
            return Ok(());
        }
        for uid in users_of(process) {
            self.check_user(uid)?;
        }
        // A process that cannot be looked at runs nothing that is on the list.
        self.check_program(&fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default())
    }

    /// What is started is the server's user's, and has to be named by its path: in which folders a name would be looked
    /// for is the client's choice.
    fn check_created(&self, program: &str) -> Result<(), TargetError> {
        self.check_user(rustix::process::geteuid().as_raw())?;
        let path = Some(Path::new(program)).filter(|path| path.is_absolute());
        self.check_program(&path.and_then(|path| fs::canonicalize(path).ok()).unwrap_or_else(|| program.into()))
    }

    fn check_user(&self, uid: u32) -> Result<(), TargetError> {
        self.check_kind("a process of user", uid, |one| match one {
            Allowed::User(allowed) => Some(*allowed == uid),
            _ => None,
        })
    }

    fn check_program(&self, path: &Path) -> Result<(), TargetError> {
        self.check_kind("program", path.display(), |one| match one {
            Allowed::Program(allowed) => Some(path.starts_with(allowed)),
            _ => None,
        })
    }

    /// Of those that speak of this kind of thing, one has to say yes.
    fn check_kind(
        &self,
        kind: &str,
        what: impl fmt::Display,
        says: impl Fn(&Allowed) -> Option<bool>,
    ) -> Result<(), TargetError> {
        let mut answers = self.0.iter().filter_map(says).peekable();
        if answers.peek().is_none() || answers.any(|yes| yes) {
            return Ok(());
        }
        let list: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        let remedy = format!("the server allows {} (dbgsrv --allow)", list.join(", "));
        Err(TargetError::Permission { what: format!("{kind} {what}"), remedy })
    }
}

/// Which of [`OPERATIONS`] it is.
fn operation(request: &Request) -> Option<&'static str> {
    Some(match request {
        Request::Attach { mode: AttachMode::Noninvasive { suspend: false }, .. } => return None,
        Request::Attach { .. } => "attach",
        Request::Create { .. } => "create",
        Request::Kill { .. } => "kill",
        Request::Write { .. } => "write",
        Request::SetRegisters { .. } => "registers",
        Request::AdjustSuspend { .. } => "suspend",
        Request::ChangeBreakpoints { .. } => "breakpoints",
        Request::WriteStdin { .. } => "input",
        _ => return None,
    })
}

/// Real, effective and saved user of a process (proc_pid_status(5)); none if it cannot be told.
fn users_of(process: ProcessId) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.unwrap_or_default().split_whitespace().take(3).filter_map(|uid| uid.parse().ok()).collect()
}

/// By `/etc/passwd`, `name:password:uid:...` (passwd(5)): a static server has no name service.
fn uid_of(name: &str) -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.split(':').nth(1)?.parse().ok();
    users.lines().find_map(of)
}

#[cfg(test)]
mod tests {
    use outpost_target::BundleRequest;

    use super::*;

    fn list(items: &[&str]) -> AllowList {
        let mut list = AllowList::default();
        items.iter().for_each(|item| list.push(item.parse().unwrap()));
        list
    }

    fn attach() -> Request {
        let mode = AttachMode::Invasive { break_in: true };
        Request::Attach { process: ProcessId(std::process::id()), mode, bundle: BundleRequest::default() }
    }

    #[test]
    fn what_is_not_named_is_refused_and_a_kind_that_is_not_named_is_free() {
        let check = |items: &[&str], request: &Request, expected: Option<&str>| {
            let got = list(items).check(request).map_err(|error| error.to_string());
            match expected {
                None => assert_eq!(got, Ok(()), "{items:?}"),
                Some(words) => assert!(got.as_ref().is_err_and(|text| text.contains(words)), "{items:?}: {got:?}"),
            }
        };
        let own = fs::canonicalize("/proc/self/exe").unwrap();
        let (uid, folder) = (rustix::process::getuid().as_raw(), own.parent().unwrap().display().to_string());
        let (own_user, other_user) = (format!("user={uid}"), format!("user={}", uid + 1));
        let (own_program, own_folder) = (format!("program={}", own.display()), format!("program={folder}"));
        check(&[], &attach(), None);
        check(&[&own_user], &attach(), None);
        check(&[&other_user, &own_user], &attach(), None);
        check(&[&other_user], &attach(), Some(&format!("a process of user {uid}")));
        check(&[&own_program], &attach(), None);
        check(&[&own_folder], &attach(), None);
        check(&["program=/bin/sh", &own_user], &attach(), Some("the server allows program="));
        check(&["operation=attach"], &attach(), None);
        check(&["operation=create", &own_user], &attach(), Some("operation attach"));
        check(&["operation=attach"], &Request::Kill { process: ProcessId(1) }, Some("operation kill"));
        check(&["operation=attach", &other_user], &Request::Clock, None);
    }

    #[test]
    fn what_is_written_is_what_was_meant() {
        let shown = |text: &str| text.parse::<Allowed>().map(|allowed| allowed.to_string());
        assert_eq!(shown("user=root"), Ok("user=0".into()));
        assert_eq!(shown("user=1000"), Ok("user=1000".into()));
        assert_eq!(shown("program=/usr/../proc/1/.."), Ok("program=/proc".into()));
        assert_eq!(shown("operation=kill"), Ok("operation=kill".into()));
        for (text, words) in [
            ("user=nobody-of-that-name", "no user"),
            ("program=/no/such", "/no/such"),
            ("operation=look", "there are attach, create"),
            ("root", "is wanted"),
        ] {
            assert!(shown(text).is_err_and(|error| error.contains(words)), "{text}");
        }
    }
}
