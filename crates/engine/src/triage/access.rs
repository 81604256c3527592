//! What kind of failure a refused access to memory is, and the sentence about it.

use outpost_base::{RegisterId, Va};
use outpost_target::SigInfo;

use super::origin::{Described, Tracer, past};
use super::x86_64::{self, MemoryUse};
use super::{AccessKind, AddressKind, AddressNote, FaultClass};
use crate::events::SIGBUS;

/// Which of an instruction's accesses failed.
pub(super) fn choose(uses: &[MemoryUse], addresses: &[Option<Va>], info: &SigInfo, is_told: bool) -> Option<usize> {
    let fits = |at: Va, size: u32| match is_told {
        true => at <= info.address && info.address - at < u64::from(size.max(64)),
        false => !is_canonical(at),
    };
    let found = uses.iter().zip(addresses).position(|(used, at)| at.is_some_and(|at| fits(at, used.operand.size)));
    found.or((!uses.is_empty()).then_some(0))
}

pub(super) fn is_canonical(at: Va) -> bool {
    let upper = at.0 >> 47;
    upper == 0 || upper == 0x1_ffff
}

/// The register that makes an operand's address bad: the base, unless that leads to something and the index away from it.
pub(super) fn bad_register(
    tracer: &Tracer<'_>,
    frame: usize,
    operand: &x86_64::Operand,
    regions: &[outpost_target::Region],
) -> Option<RegisterId> {
    let index = operand.index.map(|(index, _)| index);
    let Some(base) = operand.base else { return index };
    let leads_somewhere = tracer
        .value(frame, base)
        .is_some_and(|value| regions.iter().any(|region| region.range.contains(Va(value)) && region.read));
    if leads_somewhere { index.or(Some(base)) } else { Some(base) }
}

pub(super) fn access_class(
    kind: AccessKind,
    note: Option<&AddressNote>,
    info: &SigInfo,
    is_told: bool,
    is_odd: bool,
) -> FaultClass {
    match (info.signo, info.code) {
        (SIGBUS, 1) => return FaultClass::Misaligned,
        (SIGBUS, 2) => return FaultClass::FileTruncated,
        (SIGBUS, 4 | 5) => return FaultClass::MemoryError,
        _ => {}
    }
    let is_write = kind == AccessKind::Write;
    match note.map(|note| &note.kind) {
        Some(AddressKind::StackGuard { .. }) => FaultClass::StackOverflow,
        Some(AddressKind::Null) if is_write => FaultClass::NullPointerWrite,
        Some(AddressKind::Null) => FaultClass::NullPointerRead,
        Some(AddressKind::NonCanonical) => FaultClass::NonCanonicalPointer,
        // The processor refuses without an address what is canonical only if it must be aligned.
        Some(_) if !is_told && is_odd => FaultClass::Misaligned,
        Some(AddressKind::Mapped { region, .. }) if is_write && !region.write => FaultClass::ReadOnlyWrite,
        Some(AddressKind::Mapped { region, .. }) if !region.read => FaultClass::NoAccessRead,
        None => FaultClass::NonCanonicalPointer,
        _ if is_write => FaultClass::WildPointerWrite,
        _ => FaultClass::WildPointerRead,
    }
}

/// What is known of an access, for the sentence about it.
pub(super) struct CauseParts<'a> {
    /// Library function that did it; empty if it was the program's own code.
    pub(super) function: &'a str,
    pub(super) expression: Option<&'a str>,
    pub(super) bad: Option<&'a Described>,
    /// What the bad pointer is.
    pub(super) value: Option<u64>,
    pub(super) is_indexed: bool,
}

pub(super) fn access_cause(
    class: FaultClass,
    kind: AccessKind,
    note: Option<&AddressNote>,
    parts: &CauseParts<'_>,
) -> String {
    let bad =
        parts.bad.map(|bad| if bad.derived { format!("an address made from {}", bad.text) } else { bad.text.clone() });
    let what = match (parts.function, parts.expression, &bad) {
        ("", Some(expression), _) => format!("{expression} was {}", past(kind)),
        ("", None, _) => format!("memory was {}", past(kind)),
        (function, _, Some(bad)) => match bad.strip_suffix(&format!(" of {function}")) {
            // Nothing is known of it but that it was passed.
            Some(argument) => format!("{function} was given a bad pointer as {argument}"),
            None => format!("{function} was given {bad}"),
        },
        (function, _, None) => format!("{function} was given a bad pointer"),
    };
    let place = note.map(ToString::to_string).unwrap_or_default();
    let pointer = match (parts.function, &bad) {
        ("", Some(bad)) => bad.clone(),
        ("", None) => "the pointer".to_owned(),
        _ => "which".to_owned(),
    };
    let joined = if pointer == "which" { ", which".to_owned() } else { format!(", and {pointer}") };
    match class {
        FaultClass::NullPointerRead | FaultClass::NullPointerWrite => match (parts.value, note.map(|note| note.at.0)) {
            (Some(0), _) | (None, None | Some(0)) => format!("{what}{joined} is NULL"),
            (Some(value), _) => format!("{what}{joined} is NULL plus {value:#x}"),
            // What the register held then is not known, only where it led.
            (None, Some(at)) => format!("{what}{joined} led to NULL plus {at:#x}"),
        },
        FaultClass::StackOverflow => "the stack is used up".to_owned(),
        FaultClass::ReadOnlyWrite => format!("{what}{joined} leads to read-only memory: {place}"),
        FaultClass::NoAccessRead => format!("{what}{joined} leads to memory that may not be read: {place}"),
        FaultClass::FileTruncated => format!("{what} behind the end of a mapped file: {place}"),
        FaultClass::Misaligned => format!("{what} at an address that is not aligned as the instruction wants it"),
        FaultClass::NonCanonicalPointer => format!("{what}{joined} is no address at all"),
        _ if parts.is_indexed && bad.is_none() => format!("{what}, and the index is far out of range"),
        _ if parts.is_indexed => format!("{what}, and the index {pointer} is far out of range"),
        _ => format!("{what}{joined} leads nowhere: {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_said_of_what_is_known_to_be() {
        let check = |bad: &str, value: Option<u64>, at: u64, expected: &str| {
            let bad = Described { text: bad.to_owned(), value_type: None, memory: None, derived: false };
            let (function, expression, is_indexed) = ("strlen", None, false);
            let parts = CauseParts { function, expression, bad: Some(&bad), value, is_indexed };
            let note = AddressNote { at: Va(at), kind: AddressKind::Null };
            let said = access_cause(FaultClass::NullPointerRead, AccessKind::Read, Some(&note), &parts);
            assert_eq!(said, expected);
        };
        check("name", Some(0), 0, "strlen was given name, which is NULL");
        check("name", Some(8), 8, "strlen was given name, which is NULL plus 0x8");
        check("name", None, 8, "strlen was given name, which led to NULL plus 0x8");
        check("argument 1 of strlen", None, 0, "strlen was given a bad pointer as argument 1, which is NULL");
    }
}
