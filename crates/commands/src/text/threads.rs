//! Rows of `~`.

use outpost_engine::ThreadSummary;

/// `.  0  Id: 1400.1400 Suspend: 1 Teb: 00007fff`f7d8a740 Unfrozen "svc"`.
pub(crate) fn row(thread: &ThreadSummary) -> String {
    let mark = match (thread.is_current, thread.is_event) {
        (true, _) => '.',
        (false, true) => '#',
        (false, false) => ' ',
    };
    let frozen = if thread.is_frozen { "Frozen" } else { "Unfrozen" };
    let name = if thread.name.is_empty() { String::new() } else { format!(" \"{}\"", thread.name) };
    format!(
        "{mark} {:2}  Id: {:x}.{:x} Suspend: {} Teb: {} {frozen}{name}",
        thread.ordinal.0, thread.process_id.0, thread.id.0, thread.suspend_count, thread.teb
    )
}

#[cfg(test)]
mod tests {
    use outpost_base::{ProcessId, ThreadId, Va};
    use outpost_engine::target::ThreadRunState;
    use outpost_engine::{ProcessOrdinal, ThreadOrdinal};

    use super::*;

    #[test]
    fn rows_as_scripts_expect_them() {
        let mut thread = ThreadSummary {
            ordinal: ThreadOrdinal(1),
            process: ProcessOrdinal(0),
            process_id: ProcessId(0x1400),
            id: ThreadId(0x1403),
            name: "worker-0".into(),
            state: ThreadRunState::Stopped,
            suspend_count: 1,
            is_frozen: false,
            teb: Va(0x7fff_f758_9640),
            is_current: false,
            is_event: true,
        };
        assert_eq!(row(&thread), "#  1  Id: 1400.1403 Suspend: 1 Teb: 00007fff`f7589640 Unfrozen \"worker-0\"");
        (thread.is_current, thread.is_frozen, thread.name) = (true, true, String::new());
        assert_eq!(row(&thread), ".  1  Id: 1400.1403 Suspend: 1 Teb: 00007fff`f7589640 Frozen");
    }
}
