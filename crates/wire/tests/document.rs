//! `docs/protocol.md` says what the code does.

use outpost_wire::{FrameQueue, HEADER_LEN, Header, Kind, Request, RequestId, encode_request};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// Cells of the table row that begins with this kind's number.
fn row(kind: Kind) -> Vec<String> {
    let start = format!("| {:#06x} |", kind.number());
    let mut rows = DOCUMENT.lines().filter(|line| line.starts_with(&start));
    let row = rows.next().unwrap_or_else(|| panic!("{kind:?} is not in a table"));
    assert!(rows.next().is_none(), "{kind:?} is there twice");
    row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn every_kind_is_in_a_table_under_its_name_with_what_it_does() {
    for &kind in Kind::ALL {
        let cells = row(kind);
        assert!(cells[1].contains(&format!("`{kind:?}`")), "{kind:?}: {cells:?}");
        if cells.len() == 5 && kind != Kind::Failed {
            assert_eq!(cells[4] == "yes", kind.is_acting(), "{kind:?}: acting");
        }
    }
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| 0x")).count();
    assert_eq!(rows, Kind::ALL.len(), "and no other");
}

#[test]
fn the_example_frame_is_what_is_sent() {
    let mut queue = FrameQueue::new();
    let header = Header { request: RequestId(5), seen: 2, ..Header::default() };
    queue.push(header, encode_request(Request::Clock)).unwrap();
    let mut bytes = Vec::new();
    queue.write_to(&mut bytes).unwrap();
    assert_eq!(bytes.len(), HEADER_LEN);
    let example = DOCUMENT.lines().find(|line| line.starts_with("20 00 00 00 ")).unwrap();
    let example: Vec<u8> = example.split_whitespace().map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect();
    assert_eq!(bytes, example);
}
