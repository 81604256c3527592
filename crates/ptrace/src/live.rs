//! The live system as a target.

use std::fs;
use std::marker::PhantomData;
use std::rc::Rc;

use outpost_base::Arch;
use outpost_target::{TargetInfo, TargetKind};

use crate::journal::{Journal, NoJournal};

/// The live processes of this machine that one session debugs.
///
/// It belongs to the thread that made it (see the crate's documentation). Dropping it ends the session in order:
/// created processes are killed and attached ones let go, unless `set_detach_on_exit` said otherwise; nothing of ours
/// stays in them.
pub struct LiveTarget {
    info: TargetInfo,
    journal: Box<dyn Journal>,
    not_send: PhantomData<Rc<()>>,
}

impl LiveTarget {
    /// A session without processes and without a guardian; `name` is what `||` shows (`<Local>`).
    pub fn new(name: &str) -> LiveTarget {
        LiveTarget::with_journal(name, Box::new(NoJournal))
    }

    /// A session whose deeds are told to `journal` ahead of time.
    pub fn with_journal(name: &str, journal: Box<dyn Journal>) -> LiveTarget {
        LiveTarget { info: machine(name), journal, not_send: PhantomData }
    }
}

/// What the machine says of itself; empty where `/proc` is not readable.
fn machine(name: &str) -> TargetInfo {
    let kernel = |file: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
        text.trim_end().to_owned()
    };
    TargetInfo {
        kind: TargetKind::LiveUser,
        arch: Arch::X86_64,
        page_size: rustix::param::page_size() as u64,
        name: name.to_owned(),
        host: kernel("hostname"),
        os: format!("{} {} x86_64", kernel("ostype"), kernel("osrelease")),
        processors: std::thread::available_parallelism().map_or(0, |count| count.get() as u32),
    }
}
