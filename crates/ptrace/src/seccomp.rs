//! Sleeping threads whose system call filter would end them for having been stopped.
//!
//! A call that waits with a time limit (`nanosleep`, `poll`, `futex`) returns `-ERESTART_RESTARTBLOCK` inside the kernel when its
//! thread is stopped, and goes on by restart_syscall(2), a call that the thread never made by itself. A filter (seccomp(2))
//! that does not allow it ends the process, or makes the call fail. Such a thread gets `-ERESTARTNOHAND` instead, which differs in
//! one thing: the call itself is made again, with its own arguments and its whole time limit. A handler ends either with EINTR.
//! Sources: arch/x86/kernel/signal.c (`arch_do_signal_or_restart`, `handle_signal`), kernel/seccomp.c.
//!
//! The kernel shows filters to CAP_SYS_ADMIN alone (`PTRACE_SECCOMP_GET_FILTER`). Without it nothing is changed, nor where the
//! filter allows the call: it keeps the time that is left, which is better.

use crate::os::ProcRoot;
use crate::remote_call::{ARGUMENTS, RAX};
use crate::sys::ptrace_registers::{self, GeneralRegisters, word};
use crate::sys::ptrace_state::seccomp_filter;

const ERESTARTNOHAND: i64 = -514;
const ERESTART_RESTARTBLOCK: i64 = -516;
/// `AUDIT_ARCH_X86_64` (include/uapi/linux/audit.h).
const ARCHITECTURE: u32 = 0xc000_003e;
/// Filters of one thread that are looked at.
const MAX_FILTERS: u64 = 256;
/// Bytes of `struct seccomp_data`.
const DATA: usize = 64;

/// Makes a stopped thread begin its system call anew, if it is to go on with one in a way that its filter does not allow.
/// Gives its registers as they are then; `None`: they are as they were.
pub(crate) fn begin_anew(tid: u32, registers: &GeneralRegisters) -> Option<GeneralRegisters> {
    let number = waits(registers)?;
    let filters: Vec<Vec<u64>> = (0..MAX_FILTERS).map_while(|index| seccomp_filter(tid, index).ok()).collect();
    let allows = |number: i64| {
        let data = data_of(number as u32, registers);
        filters.iter().all(|filter| is_allowed(run(filter, &data)))
    };
    if allows(libc::SYS_restart_syscall) || !allows(number) { None } else { made_again(tid, registers) }
}

/// The same for a thread of a process of which it is known: the guardian may not see filters any more.
pub(crate) fn begin_anew_as_known(tid: u32) {
    if ProcRoot::default().status(tid).is_some_and(|status| status.is_filtered)
        && let Ok(registers) = ptrace_registers::general(tid)
        && waits(&registers).is_some()
    {
        made_again(tid, &registers);
    }
}

/// The call that a thread is to go on with, if it can as well be made again.
fn waits(registers: &GeneralRegisters) -> Option<i64> {
    let number = registers.0[word::ORIG_RAX] as i64;
    let calls = [libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_poll, libc::SYS_futex];
    (registers.0[RAX] as i64 == ERESTART_RESTARTBLOCK && calls.contains(&number)).then_some(number)
}

fn made_again(tid: u32, registers: &GeneralRegisters) -> Option<GeneralRegisters> {
    let mut anew = *registers;
    anew.0[RAX] = ERESTARTNOHAND as u64;
    ptrace_registers::set_general(tid, &anew).ok().map(|()| anew)
}

/// `struct seccomp_data` (include/uapi/linux/seccomp.h) of a call that a thread with these registers makes.
fn data_of(number: u32, registers: &GeneralRegisters) -> [u8; DATA] {
    let mut data = [0; DATA];
    data[..4].copy_from_slice(&number.to_le_bytes());
    data[4..8].copy_from_slice(&ARCHITECTURE.to_le_bytes());
    data[8..16].copy_from_slice(&registers.pc().to_le_bytes());
    for (place, argument) in data[16..].chunks_exact_mut(8).zip(ARGUMENTS) {
        place.copy_from_slice(&registers.0[argument].to_le_bytes());
    }
    data
}

/// Whether an answer lets the call be made and tells nobody who could refuse it.
fn is_allowed(answer: Option<u32>) -> bool {
    const ACTION: u32 = 0xffff_0000;
    const LOG: u32 = 0x7ffc_0000;
    const ALLOW: u32 = 0x7fff_0000;
    answer.is_none_or(|answer| [LOG, ALLOW].contains(&(answer & ACTION)))
}

/// What a filter says of a call; `None` for one that the kernel would not have taken. By hand: libraries for filters make
/// them and do not carry them out.
/// Sources: include/uapi/linux/filter.h and bpf_common.h; kernel/seccomp.c, `seccomp_check_filter`, for what there is.
fn run(filter: &[u64], data: &[u8; DATA]) -> Option<u32> {
    let (mut a, mut x, mut scratch) = (0_u32, 0_u32, [0_u32; 16]);
    let mut rest = filter.iter();
    loop {
        // struct sock_filter: code (16 bits), where to go if true and if false (8 each), k (32).
        let instruction = *rest.next()?;
        let (code, k) = (instruction as u16, (instruction >> 32) as u32);
        let operand = if code & 8 == 0 { k } else { x };
        let mut skip = 0;
        match code {
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => a = u32::from_le_bytes(data.get(k as usize..)?.get(..4)?.try_into().ok()?),
            // BPF_LD and BPF_LDX with BPF_W | BPF_LEN, BPF_IMM, BPF_MEM
            0x80 => a = DATA as u32,
            0x81 => x = DATA as u32,
            0x00 => a = k,
            0x01 => x = k,
            0x60 => a = *scratch.get(k as usize)?,
            0x61 => x = *scratch.get(k as usize)?,
            // BPF_ST, BPF_STX
            0x02 => *scratch.get_mut(k as usize)? = a,
            0x03 => *scratch.get_mut(k as usize)? = x,
            // BPF_ALU, by a constant and by x
            0x04 | 0x0c => a = a.wrapping_add(operand),
            0x14 | 0x1c => a = a.wrapping_sub(operand),
            0x24 | 0x2c => a = a.wrapping_mul(operand),
            // Division by zero returns 0.
            0x34 | 0x3c => match a.checked_div(operand) {
                Some(quotient) => a = quotient,
                None => return Some(0),
            },
            0x44 | 0x4c => a |= operand,
            0x54 | 0x5c => a &= operand,
            0x64 | 0x6c => a = a.wrapping_shl(operand),
            0x74 | 0x7c => a = a.wrapping_shr(operand),
            0x84 => a = a.wrapping_neg(),
            0xa4 | 0xac => a ^= operand,
            // BPF_JMP
            0x05 => skip = k,
            0x15 | 0x1d => skip = branch(instruction, a == operand),
            0x25 | 0x2d => skip = branch(instruction, a > operand),
            0x35 | 0x3d => skip = branch(instruction, a >= operand),
            0x45 | 0x4d => skip = branch(instruction, a & operand != 0),
            // BPF_RET
            0x06 => return Some(k),
            0x16 => return Some(a),
            // BPF_MISC: BPF_TAX, BPF_TXA
            0x07 => x = a,
            0x87 => a = x,
            _ => return None,
        }
        rest = rest.as_slice().get(skip as usize..)?.iter();
    }
}

/// How many instructions a conditional jump passes over.
fn branch(instruction: u64, holds: bool) -> u32 {
    u32::from((instruction >> if holds { 16 } else { 24 }) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: u32 = 0x8000_0000;
    const ALLOW: u32 = 0x7fff_0000;

    fn instruction(code: u16, yes: u8, no: u8, k: u32) -> u64 {
        u64::from(code) | u64::from(yes) << 16 | u64::from(no) << 24 | u64::from(k) << 32
    }

    fn check(filter: &[u64], number: i64, expected: Option<u32>) {
        let mut registers = GeneralRegisters([0; 27]);
        registers.0[ARGUMENTS[1]] = 7;
        assert_eq!(run(filter, &data_of(number as u32, &registers)), expected, "{number}");
    }

    #[test]
    fn filters_say_what_they_say_in_the_kernel() {
        let forbids_one = [
            instruction(0x20, 0, 0, 4),
            instruction(0x15, 0, 2, ARCHITECTURE),
            instruction(0x20, 0, 0, 0),
            instruction(0x15, 0, 1, libc::SYS_restart_syscall as u32),
            instruction(0x06, 0, 0, KILL),
            instruction(0x06, 0, 0, ALLOW),
        ];
        check(&forbids_one, libc::SYS_restart_syscall, Some(KILL));
        check(&forbids_one, libc::SYS_poll, Some(ALLOW));
        // By its second argument, through scratch memory and x, and by arithmetic: (7 << 1 | 1) / 5 is 3.
        let by_argument = [
            instruction(0x20, 0, 0, 24),
            instruction(0x02, 0, 0, 5),
            instruction(0x61, 0, 0, 5),
            instruction(0x87, 0, 0, 0),
            instruction(0x64, 0, 0, 1),
            instruction(0x44, 0, 0, 1),
            instruction(0x34, 0, 0, 5),
            instruction(0x16, 0, 0, 0),
        ];
        check(&by_argument, libc::SYS_poll, Some(3));
        check(&[instruction(0x05, 0, 0, 1), instruction(0x06, 0, 0, 1), instruction(0x06, 0, 0, 2)], 0, Some(2));
        check(&[instruction(0x34, 0, 0, 0), instruction(0x06, 0, 0, 1)], 0, Some(0));
        // What no kernel has taken ends nowhere.
        check(&[], 0, None);
        check(&[instruction(0x05, 0, 0, u32::MAX)], 0, None);
        check(&[instruction(0x20, 0, 0, 62)], 0, None);
        check(&[instruction(0x60, 0, 0, 16)], 0, None);
        check(&[instruction(0xff, 0, 0, 0)], 0, None);
    }

    #[test]
    fn what_is_allowed_is_what_nobody_refuses() {
        let allowed = [ALLOW, ALLOW | 5, 0x7ffc_0000];
        assert!(allowed.into_iter().all(|answer| is_allowed(Some(answer))));
        // Kill, trap, an error, a supervisor, a tracer.
        let others = [KILL, 0, 0x3_0000, 0x5_0001, 0x7fc0_0000, 0x7ff0_0000];
        assert!(!others.into_iter().any(|answer| is_allowed(Some(answer))));
    }
}
