//! Instructions in memory: decoding them, and finding calls from behind.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};
use outpost_base::{MemoryReader, Va};

const BLOCK: u64 = 256;
/// Blocks per analysis: 64 KiB of code.
const MAX_BLOCKS: usize = 256;
const MAX_INSTRUCTION: usize = 15;

/// Code that is read in blocks as it is needed, a bounded number of them.
pub(super) struct Code<'a> {
    memory: &'a mut dyn MemoryReader,
    blocks: HashMap<u64, Vec<u8>>,
}

/// What stands before a supposed return address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Before {
    /// A call, with its target if that is in the instruction.
    Call(Option<Va>),
    /// Something else.
    NoCall,
    /// The code cannot be read.
    Unreadable,
}

impl<'a> Code<'a> {
    pub(super) fn new(memory: &'a mut dyn MemoryReader) -> Code<'a> {
        Code { memory, blocks: HashMap::new() }
    }

    /// The stack, or whatever else is not code.
    pub(super) fn memory(&mut self) -> &mut dyn MemoryReader {
        self.memory
    }

    /// The instruction at `at`, if it can be read and is one.
    pub(super) fn decode(&mut self, at: Va) -> Option<Instruction> {
        let mut bytes = [0; MAX_INSTRUCTION];
        let count = self.read(at, &mut bytes);
        decode(bytes.get(..count)?, at)
    }

    /// Up to `buf.len()` bytes of code; returns how many there are.
    pub(super) fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let here = at + done as u64;
            let block = self.block(here.0 / BLOCK);
            let skip = (here.0 % BLOCK) as usize;
            let rest = block.get(skip..).unwrap_or_default();
            let count = rest.len().min(buf.len() - done);
            if count == 0 {
                break;
            }
            buf[done..done + count].copy_from_slice(&rest[..count]);
            done += count;
        }
        done
    }

    /// Whether a call ends at `return_address`.
    pub(super) fn before(&mut self, return_address: Va) -> Before {
        // The longest call has a prefix, REX, opcode, ModRM, SIB and a displacement of 4 bytes; the shortest two bytes.
        const LONGEST: u64 = 9;
        let Some(start) = return_address.0.checked_sub(LONGEST) else { return Before::NoCall };
        let mut bytes = [0; LONGEST as usize];
        if self.read(Va(start), &mut bytes) < bytes.len() {
            return Before::Unreadable;
        }
        // The five-byte form is by far the commonest, and the only one whose target is certain.
        for len in [5, 2, 3, 6, 7, 4, 8, 9] {
            let at = Va(return_address.0 - len);
            let tail = bytes.get((LONGEST - len) as usize..).unwrap_or_default();
            let Some(instruction) = decode(tail, at) else { continue };
            let is_call = matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
            if is_call && instruction.len() as u64 == len {
                let is_direct = instruction.op0_kind() == OpKind::NearBranch64;
                return Before::Call(is_direct.then(|| Va(instruction.near_branch64())));
            }
        }
        Before::NoCall
    }

    fn block(&mut self, number: u64) -> &[u8] {
        if !self.blocks.contains_key(&number) {
            if self.blocks.len() >= MAX_BLOCKS {
                return &[];
            }
            let mut bytes = vec![0; BLOCK as usize];
            let count = self.memory.read(Va(number * BLOCK), &mut bytes);
            bytes.truncate(count);
            self.blocks.insert(number, bytes);
        }
        self.blocks.get(&number).map_or(&[], Vec::as_slice)
    }
}

fn decode(bytes: &[u8], at: Va) -> Option<Instruction> {
    let instruction = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

#[cfg(test)]
mod tests {
    use outpost_base::SliceMemory;

    use super::*;

    fn before(code: &[u8]) -> Before {
        let mut bytes = vec![0x90; 16];
        bytes.extend(code);
        let mut memory = SliceMemory { start: Va(0x1000), bytes: &bytes };
        Code::new(&mut memory).before(Va(0x1000 + bytes.len() as u64))
    }

    #[test]
    fn calls_are_found_from_behind() {
        assert_eq!(before(&[0xe8, 0x10, 0, 0, 0]), Before::Call(Some(Va(0x1025))));
        assert_eq!(before(&[0xff, 0xd0]), Before::Call(None), "call rax");
        assert_eq!(before(&[0x41, 0xff, 0xd4]), Before::Call(None), "call r12");
        assert_eq!(before(&[0xff, 0x15, 1, 2, 3, 0]), Before::Call(None), "call [rip+x]");
        assert_eq!(before(&[0x41, 0xff, 0x94, 0xc4, 1, 2, 3, 0]), Before::Call(None), "call [r12+rax*8+x]");
        assert_eq!(before(&[0xff, 0xe0]), Before::NoCall, "jmp rax");
        assert_eq!(before(&[0x90]), Before::NoCall);
        let mut nothing = SliceMemory { start: Va(0), bytes: &[] };
        assert_eq!(Code::new(&mut nothing).before(Va(0x1000)), Before::Unreadable);
    }
}
