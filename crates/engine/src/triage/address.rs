//! What is at an address, for somebody who wonders why it was accessed.

use outpost_base::{Va, VaRange};
use outpost_target::{Region, RegionUsage};

use crate::{Engine, EngineError};

/// Addresses below this count as a null pointer with an offset: nothing is ever mapped there (`vm.mmap_min_addr`).
pub(super) const NULL_LIMIT: u64 = 0x10000;
/// First address that is not canonical with four levels of page tables (Intel SDM vol. 1, 3.3.7.1).
const CANONICAL_END: u64 = 0x8000_0000_0000;
/// How far below a stack's lowest page an access still counts as running off it. The kernel keeps a gap of 256 pages
/// below the main stack free (`stack_guard_gap`).
const GUARD: u64 = 256 << 12;
const PAGE: u64 = 4096;

/// What an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressKind {
    /// Near 0.
    Null,
    /// No pointer has this value.
    NonCanonical,
    /// Just below a stack.
    StackGuard {
        /// The stack as far as it is mapped.
        stack: VaRange,
    },
    /// Mapped.
    Mapped {
        /// How.
        region: Region,
        /// Symbol there, empty if none.
        symbol: String,
    },
    /// Nothing is mapped there.
    Unmapped {
        /// The mapping that ends nearest before it, with the distance from that end to the address.
        before: Option<(Region, u64)>,
    },
}

/// An address with what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressNote {
    /// The address.
    pub at: Va,
    /// What is there.
    pub kind: AddressKind,
}

impl Engine {
    /// What is at an address of the current process. `sp` is the accessing thread's stack pointer, by which running off
    /// a stack is told from a wild pointer.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Target`].
    pub fn address_note(&mut self, at: Va, sp: Va) -> Result<AddressNote, EngineError> {
        let process = self.current_process()?;
        let regions = self.regions(process)?;
        let around = regions.iter().find(|region| region.range.contains(at));
        let kind = if at.0 < NULL_LIMIT && around.is_none() {
            AddressKind::Null
        } else if at.0 >= CANONICAL_END && at.0 < u64::MAX - CANONICAL_END {
            AddressKind::NonCanonical
        } else if let Some(stack) = stack_above(&regions, at, sp) {
            AddressKind::StackGuard { stack }
        } else if let Some(region) = around {
            let symbol = self.symbol_at(at).filter(|symbol| !symbol.name.is_empty());
            let symbol = symbol.map(|symbol| symbol.to_string()).unwrap_or_default();
            AddressKind::Mapped { region: region.clone(), symbol }
        } else {
            let before = regions.iter().rev().find(|region| region.range.end <= at);
            AddressKind::Unmapped { before: before.map(|region| (region.clone(), at - region.range.end)) }
        };
        Ok(AddressNote { at, kind })
    }

    /// The same where the kernel refused an access (SIGSEGV). Mapped memory that allows it then has a guard page there:
    /// those of `MADV_GUARD_INSTALL`, as glibc's stacks have them since 2.42, do not show in a core nor in kernels before
    /// 6.15.
    ///
    /// # Errors
    /// As [`Engine::address_note`].
    pub(super) fn refused_address_note(&mut self, at: Va, sp: Va) -> Result<AddressNote, EngineError> {
        let mut note = self.address_note(at, sp)?;
        if let AddressKind::Mapped { region, .. } = &note.kind
            && let Some(stack) = stack_above_guard(region, at, sp)
        {
            note.kind = AddressKind::StackGuard { stack };
        }
        Ok(note)
    }
}

/// The stack above a guard page at `at` that does not show in its mapping; where guards of more pages end is not known.
fn stack_above_guard(region: &Region, at: Va, sp: Va) -> Option<VaRange> {
    let is_open = region.read && region.write && !region.shared && region.inode == 0;
    let stack = VaRange { start: (at + 1).align_up(PAGE), end: region.range.end };
    (is_open && at.0.abs_diff(sp.0) <= GUARD && stack.start < stack.end).then_some(stack)
}

/// The stack that `at` lies just below, if the stack pointer is there, too.
fn stack_above(regions: &[Region], at: Va, sp: Va) -> Option<VaRange> {
    let is_open = |region: &Region| region.read && region.write;
    if regions.iter().any(|region| is_open(region) && region.range.contains(at)) {
        return None;
    }
    // Both are near: a large frame may have moved the stack pointer far below, but then it accesses near there.
    if at.0.abs_diff(sp.0) > GUARD {
        return None;
    }
    let low = at.0.min(sp.0);
    let stack = regions.iter().find(|region| is_open(region) && region.range.end.0 > low)?;
    let distance = stack.range.start.0.saturating_sub(at.0);
    (at < stack.range.start && distance <= GUARD && sp.0 + GUARD > stack.range.start.0).then_some(stack.range)
}

fn usage_words(region: &Region) -> &'static str {
    match region.usage {
        RegionUsage::Image => "image",
        RegionUsage::Stack => "stack",
        RegionUsage::Heap => "heap",
        RegionUsage::MappedFile => "mapped file",
        RegionUsage::Vdso => "kernel page",
        RegionUsage::Unknown => "anonymous memory",
    }
}

/// `r-x image /usr/bin/svc`.
pub(super) fn region_words(region: &Region) -> String {
    let letter = |set: bool, letter: char| if set { letter } else { '-' };
    let (r, w, x) = (letter(region.read, 'r'), letter(region.write, 'w'), letter(region.execute, 'x'));
    let name = if region.name.is_empty() { String::new() } else { format!(" {}", region.name) };
    format!("{r}{w}{x} {}{name}", usage_words(region))
}

impl std::fmt::Display for AddressNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.at;
        match &self.kind {
            AddressKind::Null if at.0 == 0 => write!(f, "the null pointer"),
            AddressKind::Null => write!(f, "null pointer plus {:#x}", at.0),
            AddressKind::NonCanonical => write!(f, "no address that a pointer can have (non-canonical)"),
            AddressKind::StackGuard { stack } => {
                write!(f, "{:#x} bytes below the stack {} to {}", stack.start - at, stack.start, stack.end)
            }
            AddressKind::Mapped { region, symbol } if symbol.is_empty() => {
                write!(f, "in {} to {}, {}", region.range.start, region.range.end, region_words(region))
            }
            AddressKind::Mapped { region, symbol } => write!(f, "{symbol}, {}", region_words(region)),
            AddressKind::Unmapped { before: Some((region, distance)) } if *distance < 1 << 20 => {
                write!(f, "nothing is mapped there; {distance:#x} bytes before it ends {}", region_words(region))
            }
            AddressKind::Unmapped { .. } => write!(f, "nothing is mapped there nor near it"),
        }
    }
}

/// `its bytes are the text "name: "`, if a bad pointer is text that was written over it, and not an address that happens to
/// be made of letters: no mapping is near it.
pub(super) fn text_words(value: u64, regions: &[Region]) -> Option<String> {
    const FEWEST: usize = 5;
    const NEAR: u64 = 4 << 30;
    let bytes = value.to_le_bytes();
    let length = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    let text = bytes.get(..length)?;
    let is_text = length >= FEWEST && text.iter().all(|byte| (b' '..=b'~').contains(byte));
    let is_near = |region: &Region| region.range.start.0.abs_diff(value) < NEAR;
    (is_text && !regions.iter().any(is_near))
        .then(|| format!("its bytes are the text {:?}", String::from_utf8_lossy(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: u64, end: u64, write: bool) -> Region {
        Region {
            range: VaRange { start: Va(start), end: Va(end) },
            read: write,
            write,
            execute: false,
            shared: false,
            file_offset: 0,
            device: 0,
            inode: 0,
            name: String::new(),
            usage: RegionUsage::Unknown,
        }
    }

    #[test]
    fn pointers_that_were_written_over_with_text() {
        let words = |value: u64| text_words(value, &[region(0x5555_5555_4000, 0x5555_5555_5000, false)]);
        let text = |text: &[u8; 8]| u64::from_le_bytes(*text);
        assert_eq!(words(text(b"new \"end")).unwrap(), r#"its bytes are the text "new \"end""#);
        assert_eq!(words(text(b"90123\0\0\0")).unwrap(), r#"its bytes are the text "90123""#);
        assert_eq!(words(text(b"9012\0\0\0\0")), None, "too few");
        assert_eq!(words(text(b"90\0abc\0\0")), None, "not one text");
        assert_eq!(words(0x5555_5555_6a40), None, "an address, though of letters");
        assert_eq!(words(0), None);
    }

    #[test]
    fn running_off_a_stack_needs_the_stack_pointer_near() {
        let regions = [region(0x10_0000, 0x10_1000, false), region(0x10_1000, 0x20_0000, true)];
        let stack = Some(regions[1].range);
        assert_eq!(stack_above(&regions, Va(0x10_0ff8), Va(0x10_1000)), stack, "in the guard page");
        assert_eq!(stack_above(&regions, Va(0x0f_fff8), Va(0x10_0000)), stack, "below it");
        assert_eq!(stack_above(&regions, Va(0x10_0ff8), Va(0x7000_0000)), None, "another thread's");
        assert_eq!(stack_above(&regions, Va(0x10_1008), Va(0x10_1000)), None, "on the stack");
    }

    #[test]
    fn a_guard_that_does_not_show_is_one_near_the_stack_pointer_only() {
        let open = region(0x10_0000, 0x20_0000, true);
        let stack = Some(VaRange { start: Va(0x10_1000), end: Va(0x20_0000) });
        assert_eq!(stack_above_guard(&open, Va(0x10_0ff8), Va(0x10_1000)), stack);
        assert_eq!(stack_above_guard(&open, Va(0x10_0ff8), Va(0x7000_0000)), None, "another thread's");
        assert_eq!(stack_above_guard(&region(0x10_0000, 0x20_0000, false), Va(0x10_0ff8), Va(0x10_1000)), None);
        assert_eq!(stack_above_guard(&open, Va(0x1f_fff8), Va(0x1f_fff0)), None, "nothing is above it");
    }
}
