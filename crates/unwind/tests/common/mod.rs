//! Call frame information and memory made by hand.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use outpost_base::{Arch, ImageOffset, LoadBias, MemoryReader, RegisterContext, RegisterValue, Va, VaRange};
use outpost_unwind::{CfiSection, CfiSections, ModuleCfi, UnwindModule};

pub(crate) const EH_FRAME_AT: u64 = 0x10_0000;
pub(crate) const EH_FRAME_HDR_AT: u64 = 0x11_0000;

pub(crate) const RAX: u8 = 0;
pub(crate) const RBX: u8 = 3;
pub(crate) const RBP: u8 = 6;
pub(crate) const RSP: u8 = 7;
pub(crate) const RA: u8 = 16;

pub(crate) fn uleb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

pub(crate) fn sleb(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0) {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The call frame instructions of DWARF 5, table 7.29, as bytes.
pub(crate) mod op {
    use super::{sleb, uleb};

    pub(crate) fn advance(delta: u8) -> Vec<u8> {
        vec![0x40 | delta]
    }
    pub(crate) fn offset(register: u8, factored: u64) -> Vec<u8> {
        [vec![0x80 | register], uleb(factored)].concat()
    }
    pub(crate) fn restore(register: u8) -> Vec<u8> {
        vec![0xc0 | register]
    }
    pub(crate) fn undefined(register: u8) -> Vec<u8> {
        vec![0x07, register]
    }
    pub(crate) fn same_value(register: u8) -> Vec<u8> {
        vec![0x08, register]
    }
    pub(crate) fn in_register(register: u8, other: u8) -> Vec<u8> {
        vec![0x09, register, other]
    }
    pub(crate) fn remember() -> Vec<u8> {
        vec![0x0a]
    }
    pub(crate) fn restore_state() -> Vec<u8> {
        vec![0x0b]
    }
    pub(crate) fn def_cfa(register: u8, offset: u64) -> Vec<u8> {
        [vec![0x0c, register], uleb(offset)].concat()
    }
    pub(crate) fn def_cfa_register(register: u8) -> Vec<u8> {
        vec![0x0d, register]
    }
    pub(crate) fn def_cfa_offset(offset: u64) -> Vec<u8> {
        [vec![0x0e], uleb(offset)].concat()
    }
    pub(crate) fn def_cfa_expression(expression: &[u8]) -> Vec<u8> {
        [vec![0x0f], uleb(expression.len() as u64), expression.to_vec()].concat()
    }
    pub(crate) fn expression(register: u8, expression: &[u8]) -> Vec<u8> {
        [vec![0x10, register], uleb(expression.len() as u64), expression.to_vec()].concat()
    }
    pub(crate) fn offset_extended_sf(register: u8, factored: i64) -> Vec<u8> {
        [vec![0x11, register], sleb(factored)].concat()
    }
    pub(crate) fn val_offset(register: u8, factored: u64) -> Vec<u8> {
        [vec![0x14, register], uleb(factored)].concat()
    }
    pub(crate) fn val_expression(register: u8, expression: &[u8]) -> Vec<u8> {
        [vec![0x16, register], uleb(expression.len() as u64), expression.to_vec()].concat()
    }
    pub(crate) fn gnu_args_size(size: u64) -> Vec<u8> {
        [vec![0x2e], uleb(size)].concat()
    }
}

/// A function's entry: range in the image and instructions.
pub(crate) struct Fde {
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) program: Vec<u8>,
    pub(crate) is_signal_frame: bool,
}

pub(crate) fn fde(start: u64, len: u64, program: &[Vec<u8>]) -> Fde {
    Fde { start, len, program: program.concat(), is_signal_frame: false }
}

/// `.eh_frame` with a plain CIE, one with augmentation `S`, and these entries; also the offset of each entry.
pub(crate) fn eh_frame(fdes: &[Fde]) -> (Vec<u8>, Vec<usize>) {
    // LSB 5.0 Core, 10.6.1: CFA = rsp + 8 and the return address at CFA - 8 at each function's first instruction.
    let initial = [op::def_cfa(RSP, 8), op::offset(RA, 1)].concat();
    let mut bytes = Vec::new();
    let mut cies = Vec::new();
    for augmentation in [&b"zR\0"[..], &b"zRS\0"[..]] {
        cies.push(bytes.len());
        let mut body = vec![0, 0, 0, 0, 1];
        body.extend(augmentation);
        body.extend([1, 0x78, RA, 1, 0x1b]);
        body.extend(&initial);
        push_entry(&mut bytes, body);
    }
    let mut offsets = Vec::new();
    for fde in fdes {
        offsets.push(bytes.len());
        let cie = cies[usize::from(fde.is_signal_frame)];
        let mut body = ((bytes.len() + 4 - cie) as u32).to_le_bytes().to_vec();
        let field = EH_FRAME_AT + bytes.len() as u64 + 8;
        body.extend((fde.start.wrapping_sub(field) as i32).to_le_bytes());
        body.extend((fde.len as u32).to_le_bytes());
        body.push(0);
        body.extend(&fde.program);
        push_entry(&mut bytes, body);
    }
    bytes.extend([0; 4]);
    (bytes, offsets)
}

fn push_entry(bytes: &mut Vec<u8>, mut body: Vec<u8>) {
    while body.len() % 8 != 4 {
        body.push(0);
    }
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
}

/// A sorted `.eh_frame_hdr` for entries at these offsets.
pub(crate) fn eh_frame_hdr(fdes: &[Fde], offsets: &[usize]) -> Vec<u8> {
    let mut table: Vec<(u64, u64)> =
        fdes.iter().zip(offsets).map(|(fde, &offset)| (fde.start, EH_FRAME_AT + offset as u64)).collect();
    table.sort();
    let mut bytes = vec![1, 0x1b, 0x03, 0x3b];
    bytes.extend((EH_FRAME_AT.wrapping_sub(EH_FRAME_HDR_AT + 4) as i32).to_le_bytes());
    bytes.extend((table.len() as u32).to_le_bytes());
    for (start, entry) in table {
        bytes.extend((start.wrapping_sub(EH_FRAME_HDR_AT) as i32).to_le_bytes());
        bytes.extend((entry.wrapping_sub(EH_FRAME_HDR_AT) as i32).to_le_bytes());
    }
    bytes
}

pub(crate) fn section(address: u64, bytes: Vec<u8>) -> CfiSection {
    CfiSection { address: ImageOffset(address), bytes: bytes.into() }
}

pub(crate) fn cfi(fdes: &[Fde]) -> ModuleCfi {
    let (bytes, _) = eh_frame(fdes);
    ModuleCfi::new(CfiSections { eh_frame: Some(section(EH_FRAME_AT, bytes)), ..CfiSections::default() })
}

/// A module of 2 MiB at `base` whose image starts at 0.
pub(crate) fn module(base: u64, cfi: ModuleCfi) -> UnwindModule {
    UnwindModule { range: VaRange::from_len(Va(base), 0x20_0000), bias: LoadBias(base), cfi: Arc::new(cfi) }
}

/// Words and code anywhere.
#[derive(Default, Clone)]
pub(crate) struct Memory {
    bytes: BTreeMap<u64, u8>,
}

impl Memory {
    pub(crate) fn word(mut self, at: u64, value: u64) -> Memory {
        self.put(at, &value.to_le_bytes());
        self
    }

    /// Code, with traps around it: code is mapped by the page.
    pub(crate) fn code(mut self, at: u64, code: &[u8]) -> Memory {
        for around in (at & !0xff) - 0x100..(at | 0xff) + 0x100 {
            self.bytes.entry(around).or_insert(0xcc);
        }
        self.put(at, code);
        self
    }

    pub(crate) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes.extend(bytes.iter().enumerate().map(|(index, &byte)| (at + index as u64, byte)));
    }
}

impl MemoryReader for Memory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        for (index, slot) in buf.iter_mut().enumerate() {
            let Some(&byte) = self.bytes.get(&at.0.wrapping_add(index as u64)) else { return index };
            *slot = byte;
        }
        buf.len()
    }
}

pub(crate) fn context(values: &[(&str, u64)]) -> RegisterContext {
    let mut context = RegisterContext::new(Arch::X86_64);
    for (name, value) in values {
        let id = Arch::X86_64.register_by_name(name).expect("a register's name");
        assert!(context.set(id, RegisterValue::from_u64(*value, 64)), "{name}");
    }
    context
}
