//! Who did what: one line per event, for a file or for the journal.
//!
//! A *proven* identity is what the kernel or the transport vouches for: the user of a Unix socket, the certificate of a
//! TLS client, the address of a network peer, the role that a password or certificate gave. What a client says of itself
//! stands under `says`, and proves nothing.
//!
//! Workers carry deeds out, the guardian alone writes: it has the one descriptor, knows who has proved what, and hears
//! a worker's last words even if the worker is killed. So a deed crosses the control socket as a [`Record`]; a worker,
//! which reads what hostile clients send, holds nothing by which lines could be changed or taken away.
//!
//! Nothing a stranger says adds a line or a field: values are escaped where they enter a record, and cut.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use outpost_transport::Peer;
use outpost_wire::Identity;
use time::UtcDateTime;

use crate::access::Proved;
use crate::log::{Bucket, Log};
use crate::{ServerError, SessionEnd};

/// Where the journal takes entries (systemd-journald.socket(8)).
pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// Characters of one value.
const MAX_VALUE: usize = 1024;
/// First word of a record on a control socket.
const WORD: &str = "audit\n";
/// Deeds that a session may repeat as fast as it likes: the first of each is written, the others are counted.
const SUMMED: [&str; 5] = ["write", "registers", "signal", "breakpoints", "input"];

/// Where audit lines go. Cheap to clone: all clones write to the same place.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<Sink>>);

#[derive(Debug)]
enum Sink {
    File(File),
    Journal(UnixDatagram, PathBuf),
}

impl Audit {
    /// Appends to a file of its owner's only, and makes it if need be. To rotate it while the server runs, copy and
    /// truncate it.
    ///
    /// # Errors
    /// It cannot be written, or is no regular file.
    pub fn file(path: &Path) -> Result<Audit, ServerError> {
        let failed = |source| ServerError::Audit { path: path.to_owned(), source };
        let mut options = File::options();
        // A pipe that nobody reads would hold the server up; O_NONBLOCK means nothing to a regular file.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = options.append(true).create(true).mode(0o600).custom_flags(nonblock).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("not a regular file")));
        }
        Ok(Audit::to_file(file))
    }

    /// Writes to a file that is open for appending.
    pub(crate) fn to_file(file: File) -> Audit {
        Audit(Some(Arc::new(Sink::File(file))))
    }

    /// The file that it writes to, if it does.
    pub(crate) fn as_file(&self) -> Option<BorrowedFd<'_>> {
        match self.0.as_deref() {
            Some(Sink::File(file)) => Some(file.as_fd()),
            _ => None,
        }
    }

    /// Whether it writes to the journal.
    pub(crate) fn is_journal(&self) -> bool {
        matches!(self.0.as_deref(), Some(Sink::Journal(..)))
    }

    /// Sends to the journal by its own protocol; `socket` is [`JOURNAL_SOCKET`] but for tests. A journal that is
    /// started again is found again.
    ///
    /// # Errors
    /// Nobody takes entries there.
    pub fn journal(socket: &Path) -> Result<Audit, ServerError> {
        let failed = |source| ServerError::Audit { path: socket.to_owned(), source };
        let datagram = UnixDatagram::unbound().map_err(failed)?;
        // One that is stuck must not hold the server up.
        datagram.set_nonblocking(true).map_err(failed)?;
        // Only whether somebody is there: each entry names the socket anew.
        UnixDatagram::unbound().and_then(|probe| probe.connect(socket)).map_err(failed)?;
        Ok(Audit(Some(Arc::new(Sink::Journal(datagram, socket.to_owned())))))
    }

    fn write(&self, record: &Record) -> std::io::Result<()> {
        match self.0.as_deref() {
            None => Ok(()),
            // One write for each line, at the end of the file wherever that is (O_APPEND, open(2)).
            Some(Sink::File(file)) => {
                let line = format!("{} {record}\n", Time(SystemTime::now()));
                let written = { file }.write(line.as_bytes())?;
                if written < line.len() { Err(std::io::ErrorKind::WriteZero.into()) } else { Ok(()) }
            }
            Some(Sink::Journal(datagram, socket)) => {
                datagram.send_to(record.journal_entry().as_bytes(), socket).map(drop)
            }
        }
    }
}

/// One event. Its values hold no control characters from the moment they are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    event: String,
    fields: Vec<(String, String)>,
}

impl Record {
    /// An event of this name: a word.
    pub fn new(event: &str) -> Record {
        Record { event: event.to_owned(), fields: Vec::new() }
    }

    /// Adds what there is to know; `key` is a word.
    #[must_use]
    pub fn field(mut self, key: &str, value: impl fmt::Display) -> Record {
        self.fields.push((key.to_owned(), escaped(&value.to_string())));
        self
    }

    /// Adds who it is: what is proved, and what is said.
    pub(crate) fn by(self, by: Proved, says: Option<&Identity>) -> Record {
        let record = match by.peer {
            Peer::Address(address) => self.field("address", address),
            Peer::Process { pid, uid } => self.field("uid", uid).field("pid", pid),
            Peer::Program { pid } => self.field("carrier", pid),
            Peer::Serial { channel } => self.field("channel", channel),
            Peer::Memory => self.field("address", "local"),
        };
        let record = match by.certificate {
            Some(thumbprint) => record.field("certificate", thumbprint),
            None => record,
        };
        match says {
            Some(Identity { user, host }) => record.field("says", format_args!("{user}@{host}")),
            None => record,
        }
    }

    /// Whether what was asked for was not done.
    fn has_failed(&self) -> bool {
        self.fields.iter().any(|(key, _)| key == "error")
    }

    /// As it crosses a control socket.
    pub(crate) fn message(&self) -> String {
        let mut text = format!("{WORD}{}", self.event);
        self.fields.iter().for_each(|(key, value)| text += &format!("\n{key}\t{value}"));
        text
    }

    /// The same, read; what follows the names is escaped again as far as it needs to be.
    pub(crate) fn read(message: &str) -> Option<Record> {
        let is_word =
            |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let mut lines = message.strip_prefix(WORD)?.split('\n');
        let event = lines.next().filter(is_word)?.to_owned();
        let fields = lines.map(|line| {
            let (key, value) = line.split_once('\t').filter(|(key, _)| is_word(key))?;
            Some((key.to_owned(), if is_escaped(value) { value.to_owned() } else { escaped(value) }))
        });
        Some(Record { event, fields: fields.collect::<Option<_>>()? })
    }

    /// The journal's own form: `KEY=value` lines (systemd.io, "Native Journal Protocol"). Facility 10 is `authpriv`,
    /// priorities are notice and warning (syslog(3)).
    fn journal_entry(&self) -> String {
        let is_bad = self.has_failed() || self.event == "refused";
        let priority = if is_bad { 4 } else { 5 };
        let mut text = format!(
            "MESSAGE={self}\nPRIORITY={priority}\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=dbgsrv\nOUTPOST_EVENT={}\n",
            self.event
        );
        for (key, value) in &self.fields {
            text += &format!("OUTPOST_{}={value}\n", key.to_ascii_uppercase());
        }
        text
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event={}", self.event)?;
        for (key, value) in &self.fields {
            let is_plain =
                !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "._:/@+-[]".contains(c));
            match is_plain {
                true => write!(f, " {key}={value}")?,
                false => write!(f, " {key}=\"{value}\"")?,
            }
        }
        Ok(())
    }
}

/// Without control characters, quotes and what else does not print; cut.
fn escaped(value: &str) -> String {
    let mut text: String = value.chars().take(MAX_VALUE).flat_map(char::escape_debug).collect();
    if value.chars().nth(MAX_VALUE).is_some() {
        text += "...";
    }
    text
}

/// Whether [`escaped`] could have made this: nothing that does not print, no quote or backslash by itself.
fn is_escaped(value: &str) -> bool {
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        let is_bare = c != '\\' && c.escape_debug().len() == 1;
        if !is_bare && (c != '\\' || chars.next().is_none_or(char::is_control)) {
            return false;
        }
    }
    true
}

/// RFC 3339, in UTC, with microseconds: lines sort by it.
struct Time(SystemTime);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UtcDateTime::from(self.0);
        let (date, (hour, minute, second, micros)) = (at.date(), at.time().as_hms_micro());
        write!(f, "{date}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// The guardian's pen.
#[derive(Debug)]
pub(crate) struct Auditor {
    audit: Audit,
    log: Log,
    /// For what strangers cause.
    strangers: Bucket,
    /// Lines that could not be written, since one could.
    lost: u64,
}

impl Auditor {
    pub(crate) fn new(audit: Audit, log: Log, now: Instant) -> Auditor {
        Auditor { audit, log, strangers: Bucket::new(now), lost: 0 }
    }

    /// Writes a line. What cannot be written is counted, said in the log, and said in the next line that can.
    pub(crate) fn write(&mut self, record: Record) {
        let record = if self.lost > 0 { record.field("lost", self.lost) } else { record };
        match self.audit.write(&record) {
            Ok(()) => self.lost = 0,
            Err(error) => {
                if self.lost == 0 {
                    self.log.line(format_args!("audit lines are lost: {error}"));
                }
                self.lost += 1;
            }
        }
    }

    /// The same for what those cause who have proved nothing: at most as many lines as the log has for them.
    pub(crate) fn write_bounded(&mut self, now: Instant, record: Record) {
        match self.strangers.take(now) {
            None => {}
            Some(0) => self.write(record),
            Some(left_out) => self.write(record.field("left_out", left_out)),
        }
    }
}

/// What one session did, as far as not every single deed is written.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: BTreeMap<String, u64>,
    failures: Bucket,
    failed: u64,
}

impl Tally {
    pub(crate) fn new(now: Instant) -> Tally {
        Tally { counts: BTreeMap::new(), failures: Bucket::new(now), failed: 0 }
    }

    /// Counts a deed; gives it back if it is to be written.
    pub(crate) fn count(&mut self, now: Instant, record: Record) -> Option<Record> {
        if record.has_failed() {
            self.failed += 1;
            let left_out = self.failures.take(now)?;
            return Some(if left_out > 0 { record.field("left_out", left_out) } else { record });
        }
        if !SUMMED.contains(&record.event.as_str()) {
            return Some(record);
        }
        let count = self.counts.entry(record.event.clone()).or_default();
        *count += 1;
        (*count == 1).then_some(record)
    }

    /// The session's last line.
    pub(crate) fn end(&self, end: &SessionEnd) -> Record {
        let mut reason = String::new();
        // Writing to a string does not fail.
        let _ = write!(reason, "{end}");
        let record = Record::new("end").field("reason", reason);
        let record = self.counts.iter().fold(record, |record, (event, count)| record.field(event, count));
        if self.failed > 0 { record.field("failed", self.failed) } else { record }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn nothing_that_is_said_makes_a_line_or_a_field() {
        let hostile = "x\nevent=end session=1\" uid=0 \u{1b}[2K\u{2028}\t\\";
        let identity = Identity { user: hostile.into(), host: "birch".into() };
        let by = Proved { peer: Peer::Process { pid: 7, uid: 1000 }, certificate: None, role: crate::Role::Observe };
        let record = Record::new("connect").by(by, Some(&identity));
        let line = record.to_string();
        assert_eq!(
            line,
            "event=connect uid=1000 pid=7 says=\"x\\nevent=end session=1\\\" uid=0 \\u{1b}[2K\\u{2028}\\t\\\\@birch\""
        );
        assert!(
            record.journal_entry().lines().all(|line| line
                .split('=')
                .next()
                .unwrap()
                .chars()
                .all(|c| c.is_ascii_uppercase() || c == '_'))
        );
        let long = Record::new("create").field("program", "\u{1}".repeat(5000));
        assert!(long.to_string().len() < 8 << 10);
    }

    #[test]
    fn a_record_crosses_the_control_socket_and_cannot_forge_on_it_either() {
        let record = Record::new("create").field("program", "/bin/a \"b\"\nc").field("error", "");
        assert_eq!(Record::read(&record.message()), Some(record));
        assert_eq!(Record::read("audit\nattach\nx y\t1"), None);
        assert_eq!(Record::read("audit\nattach\nno tab"), None);
        assert_eq!(Record::read("audit\n"), None);
        assert_eq!(Record::read("done"), None);
        let forged = Record::read("audit\nattach\nprogram\t\" uid=0 \u{7}\r").unwrap().to_string();
        assert_eq!(forged, "event=attach program=\"\\\" uid=0 \\u{7}\\r\"");
    }

    #[test]
    fn a_file_is_appended_to_and_its_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        for pass in 1..=2 {
            let mut auditor = Auditor::new(Audit::file(&path).unwrap(), Log::Quiet, Instant::now());
            auditor.write(Record::new("start").field("pass", pass));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(lines, ["event=start pass=1", "event=start pass=2"]);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Audit::file(folder.path()).is_err());
        assert!(Audit::file(Path::new("/dev/null")).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn the_journal_gets_one_entry_for_each_and_what_was_lost_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Audit::journal(&path).is_err(), "nobody is there");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut auditor = Auditor::new(Audit::journal(&path).unwrap(), Log::Quiet, Instant::now());
        let mut buffer = [0; 4096];
        auditor.write(Record::new("refused").field("reason", "a b"));
        let len = journal.recv(&mut buffer).unwrap();
        assert_eq!(
            std::str::from_utf8(&buffer[..len]).unwrap(),
            "MESSAGE=event=refused reason=\"a b\"\nPRIORITY=4\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=dbgsrv\n\
             OUTPOST_EVENT=refused\nOUTPOST_REASON=a b\n"
        );
        drop(journal);
        std::fs::remove_file(&path).unwrap();
        auditor.write(Record::new("attach"));
        auditor.write(Record::new("attach"));
        // Started again.
        let journal = UnixDatagram::bind(&path).unwrap();
        auditor.write(Record::new("detach"));
        let len = journal.recv(&mut buffer).unwrap();
        assert!(std::str::from_utf8(&buffer[..len]).unwrap().starts_with("MESSAGE=event=detach lost=2\n"));
    }

    #[test]
    fn floods_are_counted() {
        let now = Instant::now();
        let mut tally = Tally::new(now);
        let written = (0..1000).filter_map(|at| tally.count(now, Record::new("write").field("at", at))).count();
        let failed = (0..1000).filter_map(|_| tally.count(now, Record::new("attach").field("error", "no"))).count();
        let attached = (0..3).filter_map(|_| tally.count(now, Record::new("attach"))).count();
        assert_eq!((written, failed, attached), (1, 40, 3));
        assert_eq!(
            tally.end(&SessionEnd::Closed).to_string(),
            "event=end reason=\"ended by the client\" write=1000 failed=1000"
        );
    }

    #[test]
    fn times_are_written_as_everybody_writes_them() {
        let at = |seconds, micros: u32| Time(UNIX_EPOCH + Duration::new(seconds, micros * 1000)).to_string();
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_399, 999_999), "2000-02-28T23:59:59.999999Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(1_796_054_285, 42), "2026-11-30T15:58:05.000042Z");
    }
}
