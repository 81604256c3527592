//! Disassembling up to an address: x86 code cannot be read backwards, so a start has to be found that leads there.

use outpost_base::{Arch, MemoryReader, Va};

use super::{CodeSymbols, Instruction, NoSymbols, decode, disassemble};

/// Farthest start of a function that is worth disassembling from.
const FUNCTION_LIMIT: u64 = 64 << 10;

/// The `count` instructions before `at` (`ub`), oldest first; fewer where no way leads to `at`.
///
/// `starts` are addresses below `at` at which an instruction is known to begin, nearest last: the function's entry,
/// its source lines. Without one that leads to `at`, the start is chosen that most others agree with: wrong starts fall
/// into step with the right one after a few instructions.
pub fn disassemble_before(
    arch: Arch,
    memory: &mut dyn MemoryReader,
    symbols: &mut dyn CodeSymbols,
    at: Va,
    count: usize,
    starts: &[Va],
) -> Vec<Instruction> {
    let longest = arch.max_instruction_len() as u64;
    let wanted = longest * count as u64;
    for start in starts.iter().rev() {
        let far_enough = at - *start >= wanted || Some(start) == starts.first();
        if *start < at
            && at - *start <= FUNCTION_LIMIT
            && far_enough
            && let Some(chain) = chain(arch, memory, *start, at)
        {
            return relisted(arch, memory, symbols, &chain, count);
        }
    }
    let mut best: Vec<Va> = Vec::new();
    let mut votes = std::collections::HashMap::new();
    for back in 1..=wanted + longest {
        let Some(start) = at.0.checked_sub(back).map(Va) else { break };
        let Some(chain) = chain(arch, memory, start, at) else { continue };
        let last: Vec<Va> = chain.iter().rev().take(count).rev().copied().collect();
        // Only complete answers vote; near the beginning of readable memory the longest has to do.
        if last.len() == count {
            *votes.entry(last).or_insert(0usize) += 1;
        } else if last.len() > best.len() {
            best = last;
        }
    }
    let elected = votes.into_iter().max_by(|(one, votes), (other, more)| votes.cmp(more).then(one.cmp(other)));
    let chosen = elected.map_or(best, |(last, _)| last);
    relisted(arch, memory, symbols, &chosen, count)
}

/// Addresses of the instructions from `start` up to `at`, if decoding arrives there exactly.
fn chain(arch: Arch, memory: &mut dyn MemoryReader, start: Va, at: Va) -> Option<Vec<Va>> {
    let mut code = vec![0; usize::try_from(at - start).ok()?];
    memory.read_exact(start, &mut code)?;
    let mut addresses = Vec::new();
    let mut here = start;
    while here < at {
        let rest = code.get((here - start) as usize..)?;
        let instruction = decode(arch, here, rest, &mut NoSymbols);
        if instruction.text == "???" {
            return None;
        }
        addresses.push(here);
        here = instruction.end();
    }
    (here == at).then_some(addresses)
}

fn relisted(
    arch: Arch,
    memory: &mut dyn MemoryReader,
    symbols: &mut dyn CodeSymbols,
    chain: &[Va],
    count: usize,
) -> Vec<Instruction> {
    let first = chain.len().saturating_sub(count);
    match chain.get(first) {
        Some(start) => disassemble(arch, memory, symbols, *start, chain.len() - first, false),
        None => Vec::new(),
    }
}
