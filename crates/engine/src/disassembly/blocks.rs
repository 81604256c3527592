//! A function's code, found by following its jumps (`uf`).

use std::collections::{BTreeMap, BTreeSet};

use outpost_base::{Arch, MemoryReader, Va, VaRange};

use super::{CodeSymbols, Flow, Instruction, decode};

/// Most instructions of one function.
const INSTRUCTION_LIMIT: usize = 100_000;
/// How far a jump may lead to count as part of a function whose bounds are not known.
const REACH: u64 = 64 << 10;

/// Instructions that are entered at the first and run to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its instructions; never empty.
    pub instructions: Vec<Instruction>,
}

/// The blocks that are reached from `entry`, in ascending order.
///
/// `ranges` are the function's own (several, if the compiler split it); jumps that leave them are calls in disguise and
/// are not followed. Without ranges jumps are followed 64 KiB far. Code reached only through tables is not found
/// unless `ranges` are given: then what lies between is listed as well.
pub fn function_blocks(
    arch: Arch,
    memory: &mut dyn MemoryReader,
    symbols: &mut dyn CodeSymbols,
    entry: Va,
    ranges: &[VaRange],
) -> Vec<Block> {
    let near = VaRange { start: Va(entry.0.saturating_sub(REACH)), end: Va(entry.0.saturating_add(REACH)) };
    let inside = |at: Va| match ranges {
        [] => near.contains(at),
        ranges => ranges.iter().any(|range| range.contains(at)),
    };
    let mut found: BTreeMap<Va, Instruction> = BTreeMap::new();
    let mut leaders: BTreeSet<Va> = BTreeSet::from([entry]);
    // Known ranges are read from their starts too: switch tables hide their targets from us.
    let mut waiting: Vec<Va> = ranges.iter().map(|range| range.start).chain([entry]).collect();
    let sweep = !ranges.is_empty();
    while let Some(start) = waiting.pop() {
        let mut here = start;
        while inside(here) && !found.contains_key(&here) && found.len() < INSTRUCTION_LIMIT {
            let mut code = [0; 16];
            let got = memory.read(here, &mut code);
            let instruction =
                decode(arch, here, code.get(..got.min(arch.max_instruction_len())).unwrap_or_default(), symbols);
            let (end, flow, target) = (instruction.end(), instruction.flow, instruction.target);
            let unreadable = instruction.bytes.is_empty();
            found.insert(here, instruction);
            if let (Flow::Jump | Flow::ConditionalJump, Some(target)) = (flow, target.filter(|at| inside(*at))) {
                leaders.insert(target);
                waiting.push(target);
            }
            let falls_through = matches!(flow, Flow::Next | Flow::Call | Flow::ConditionalJump);
            if flow == Flow::ConditionalJump || !falls_through {
                leaders.insert(end);
            }
            if unreadable || !falls_through && !sweep {
                break;
            }
            here = end;
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut expected = None;
    for (at, instruction) in found {
        let end = instruction.end();
        match blocks.last_mut().filter(|_| expected == Some(at) && !leaders.contains(&at)) {
            Some(block) => block.instructions.push(instruction),
            None => blocks.push(Block { instructions: vec![instruction] }),
        }
        expected = Some(end);
    }
    blocks
}
