//! The journal against a model, and with a writer that dies at any store.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;

const OWN: AddressSpaceId = AddressSpaceId(1);

fn own() -> ProcessId {
    ProcessId(std::process::id())
}

fn open() -> SharedJournal {
    SharedJournal::open(create_shared().unwrap(), None).unwrap()
}

fn image(journal: &SharedJournal) -> JournalImage {
    let mut image = JournalImage::read(journal.descriptor()).unwrap();
    // The order of records says nothing.
    image.processes.sort_by_key(|process| process.process);
    image.sites.sort_by_key(|site| (site.space, site.at));
    image.threads.sort_by_key(|thread| thread.thread);
    image.regions.sort_by_key(|region| (region.process, region.at));
    image.actions.sort_by_key(|action| (action.process, action.signal));
    image
}

/// One call of the journal, over few ids so that they meet.
#[derive(Debug, Clone)]
enum Deed {
    Joined(u32, bool),
    Left(u32),
    Planned(u32, u64, u8, usize),
    Removed(u64),
    Registers(u32, bool),
    Stepping(u32, bool),
    Held(u32, i32, u8),
    Ended(u32),
    Region(u32, u64, bool),
    Action(u32, i32, u64),
    Restored(u32, i32),
    Policy(bool),
}

impl Deed {
    fn carry_out(&self, journal: &mut SharedJournal) {
        // Processes of ids that do not exist have anonymous sites.
        let process = |id: u32| ProcessId(0x7000_0000 + id);
        let thread = |id: u32| ThreadId(0x7100_0000 + id);
        match *self {
            Deed::Joined(id, created) => journal.process_joined(process(id), created),
            Deed::Left(id) => journal.process_left(process(id)),
            Deed::Planned(id, at, byte, len) => {
                journal.site_planned(OWN, process(id), Va(at), &[byte; 16][..len], &[0xd6; 16][..len]);
            }
            Deed::Removed(at) => journal.site_removed(OWN, Va(at)),
            Deed::Registers(id, true) => journal.debug_registers_set(process(id % 2), thread(id)),
            Deed::Registers(id, false) => journal.debug_registers_cleared(thread(id)),
            Deed::Stepping(id, begins) => journal.stepping(process(id % 2), thread(id), begins),
            Deed::Held(id, signal, byte) => {
                if byte != 0 {
                    journal.signal_information(process(id % 2), thread(id), &[byte; SIGNAL_INFO_SIZE]);
                }
                journal.signal_held(process(id % 2), thread(id), signal);
            }
            Deed::Ended(id) => journal.thread_ended(thread(id)),
            Deed::Region(id, at, true) => journal.region_planned(process(id), Va(at), 4096, RegionKind::Pads),
            Deed::Region(id, at, false) => journal.region_removed(process(id), Va(at)),
            Deed::Action(id, signal, handler) => {
                let own = KernelSigaction { handler, flags: handler, restorer: handler, mask: handler };
                journal.action_replaced(process(id), signal, own, Va(handler + 1));
            }
            Deed::Restored(id, signal) => journal.action_restored(process(id), signal),
            Deed::Policy(detach) => journal.detach_on_exit(detach),
        }
    }
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        (0..3u32, any::<bool>()).prop_map(|(id, created)| Deed::Joined(id, created)),
        (0..3u32).prop_map(Deed::Left),
        (0..3u32, 0..4u64, any::<u8>(), 1..=16usize).prop_map(|(id, at, byte, len)| Deed::Planned(id, at, byte, len)),
        (0..4u64).prop_map(Deed::Removed),
        (0..4u32, any::<bool>()).prop_map(|(id, set)| Deed::Registers(id, set)),
        (0..4u32, any::<bool>()).prop_map(|(id, begins)| Deed::Stepping(id, begins)),
        (0..4u32, 0..3i32, 0..3u8).prop_map(|(id, signal, byte)| Deed::Held(id, signal, byte)),
        (0..4u32).prop_map(Deed::Ended),
        (0..3u32, 1..3u64, any::<bool>()).prop_map(|(id, at, set)| Deed::Region(id, at << 12, set)),
        (0..3u32, 4..6i32, 1..100u64).prop_map(|(id, signal, handler)| Deed::Action(id, signal, handler)),
        (0..3u32, 4..6i32).prop_map(|(id, signal)| Deed::Restored(id, signal)),
        any::<bool>().prop_map(Deed::Policy),
    ];
    prop::collection::vec(deed, 1..40)
}

/// Whether `seen` may be found by a reader if the writer died between `before` and `after`: each record is one of the
/// two, and those in both are there.
fn lies_between<T: PartialEq>(seen: &[T], before: &[T], after: &[T]) -> bool {
    seen.iter().all(|record| before.contains(record) || after.contains(record))
        && before.iter().filter(|record| after.contains(record)).all(|record| seen.contains(record))
}

/// A thread in the middle of a change: no signal, or the old or the new one, but never one with the other's information.
fn thread_is_whole(seen: &JournaledThread, before: &[JournaledThread], after: &[JournaledThread]) -> bool {
    let information_fits = |of: &JournaledThread| of.signal == seen.signal && of.information == seen.information;
    seen.signal == 0 || before.iter().chain(after).any(information_fits)
}

proptest! {
    #[test]
    fn records_are_whole_wherever_the_writer_dies(deeds in deeds(), last in 0..40usize, stores in 0..30u64) {
        let mut journal = open();
        let (earlier, rest) = deeds.split_at(last.min(deeds.len() - 1));
        earlier.iter().for_each(|deed| deed.carry_out(&mut journal));
        let before = image(&journal);
        // The same deeds once more for what would have become of it.
        let mut other = open();
        earlier.iter().for_each(|deed| deed.carry_out(&mut other));
        rest[0].carry_out(&mut other);
        let after = image(&other);

        journal.stores_left.set(stores);
        rest[0].carry_out(&mut journal);
        let seen = image(&journal);
        prop_assert_eq!(seen.problems, 0);
        prop_assert!(lies_between(&seen.processes, &before.processes, &after.processes));
        prop_assert!(lies_between(&seen.sites, &before.sites, &after.sites));
        prop_assert!(lies_between(&seen.regions, &before.regions, &after.regions));
        prop_assert!(lies_between(&seen.actions, &before.actions, &after.actions));
        for thread in &seen.threads {
            prop_assert!(thread_is_whole(thread, &before.threads, &after.threads), "{:?}", thread);
        }
        if journal.stores_left.get() > 0 {
            prop_assert_eq!(seen, after);
        }
    }

    #[test]
    fn hostile_bytes_are_bounded(garbage in prop::collection::vec((0..2600usize, any::<u64>()), 1..400)) {
        let file: OwnedFd = create_shared().unwrap();
        drop(SharedJournal::open(file.try_clone().unwrap(), None).unwrap());
        let file = File::from(file);
        for (word, value) in garbage {
            // Not the magic and the version: what comes behind them is to be survived.
            file.write_all_at(&value.to_le_bytes(), (word as u64 + 2) * 8).unwrap();
        }
        let image = JournalImage::read(file.as_fd()).unwrap();
        prop_assert!(image.sites.iter().all(|site| (1..=16).contains(&site.original.len())));
    }
}

#[test]
fn a_session_is_told_and_taken_back() {
    let mut journal = open();
    assert_eq!(image(&journal), JournalImage::default());
    let text = a_session_is_told_and_taken_back as *const () as u64;
    journal.process_joined(own(), true);
    journal.site_planned(OWN, own(), Va(text), &[0x55, 0x48], &[0xd6, 0x48]);
    journal.debug_registers_set(own(), ThreadId(own().0));
    journal.signal_information(own(), ThreadId(own().0), &[7; 128]);
    journal.signal_held(own(), ThreadId(own().0), 10);
    journal.detach_on_exit(true);
    let told = image(&journal);
    assert!(told.detach_on_exit && told.processes[0].created && told.processes[0].start_ticks > 0);
    let site = &told.sites[0];
    assert_eq!((site.at, &site.original[..], &site.replacement[..]), (Va(text), &[0x55, 0x48][..], &[0xd6, 0x48][..]));
    let thread = &told.threads[0];
    assert_eq!((thread.thread.0, thread.debug_registers, thread.stepping, thread.signal), (own().0, true, false, 10));
    assert_eq!(thread.information.as_deref(), Some(&[7; 128]));
    journal.process_left(own());
    assert_eq!(image(&journal), JournalImage { detach_on_exit: true, ..JournalImage::default() });
}

#[test]
fn a_site_is_identified_by_its_file() {
    use std::os::unix::fs::MetadataExt;
    let mut journal = open();
    let text = a_site_is_identified_by_its_file as *const () as u64;
    journal.site_planned(OWN, own(), Va(text), &[1], &[2]);
    let stack = [0_u8; 64];
    journal.site_planned(OWN, own(), Va(stack.as_ptr() as u64), &[1], &[2]);
    let image = image(&journal);
    let metadata = std::fs::metadata("/proc/self/exe").unwrap();
    let site = image.sites.iter().find(|site| site.at == Va(text)).unwrap();
    assert_eq!((site.identity.device, site.identity.inode), (metadata.dev(), metadata.ino()));
    let mut byte = [0];
    File::open("/proc/self/exe").unwrap().read_exact_at(&mut byte, site.identity.offset).unwrap();
    let mut here = [0];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut here, text).unwrap();
    assert_eq!(byte, here);
    let site = image.sites.iter().find(|site| site.at != Va(text)).unwrap();
    assert_eq!(site.identity, MappingIdentity::default());
}

#[test]
fn a_full_table_is_said_and_records_are_used_again() {
    let mut journal = open();
    let mut planted = 0;
    while journal.has_room() {
        // A process that is not there: no mapping is asked for.
        journal.site_planned(OWN, ProcessId(0x7fff_0000), Va(planted), &[1], &[2]);
        planted += 1;
    }
    assert!(planted >= 10_000);
    assert_eq!((image(&journal).sites.len() as u64, journal.lost()), (planted, 0));
    journal.site_planned(OWN, ProcessId(0x7fff_0000), Va(planted), &[1], &[2]);
    assert_eq!(journal.lost(), 1);
    journal.site_removed(OWN, Va(0));
    assert!(journal.has_room());
    journal.site_planned(OWN, ProcessId(0x7fff_0000), Va(planted), &[3], &[2]);
    assert_eq!(image(&journal).sites.len() as u64, planted);
}

#[test]
fn joining_wakes_the_guardian() {
    let woken = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = woken.clone();
    let notifier = Box::new(move || count.set(count.get() + 1));
    let mut journal = SharedJournal::open(create_shared().unwrap(), Some(notifier)).unwrap();
    journal.process_joined(own(), false);
    assert_eq!(woken.get(), 1);
}

#[test]
fn other_files_are_refused() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 24).unwrap();
    assert!(SharedJournal::open(file.try_clone().unwrap().into(), None).is_err(), "it could be cut short");
    assert_eq!(JournalImage::read(file.as_fd()).unwrap(), JournalImage::default(), "never opened by a writer");
    file.write_all_at(b"garbage!", 0).unwrap();
    assert!(JournalImage::read(file.as_fd()).is_err());
}
