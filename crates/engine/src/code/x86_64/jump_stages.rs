//! What a jump pad looks at beside a condition, and how it writes a hit down: `outpost_target::jump_data` has the layout.
//!
//! Here too rax, rcx and rdx are what the code works with. A record is put together in the frame, where reading may still
//! fault; only then room in the ring is claimed, by an exchange that is tried again a bounded number of times.

use iced_x86::IcedError;
use iced_x86::code_asm::{byte_ptr, dl, dword_ptr, eax, ecx, edx, ptr, qword_ptr, rax, rcx, rdx, rsp};
use outpost_target::jump_data::{CAPACITY, DROPPED, HEAD, PASSES, RECORDS, TAIL, THREAD, header};
use outpost_target::{BreakpointId, FixupKind, LogPlan};

use super::Compiler;
use super::jump::Outcome;
use crate::code::NoJump;

/// How often room is asked for while other threads take it.
const ATTEMPTS: u32 = 64;

impl Compiler {
    /// Goes on only in the thread whose hits count.
    pub(super) fn only_one_thread(&mut self) -> Result<(), IcedError> {
        self.thread_pointer()?;
        self.address(FixupKind::Cells64)?;
        self.asm.cmp(rax, ptr(rdx + THREAD as i32))?;
        self.asm.jne(self.unseen)
    }

    /// Goes on only when no hit passes any more.
    pub(super) fn after_passes(&mut self) -> Result<(), IcedError> {
        self.address(FixupKind::Cells64)?;
        self.asm.mov(rax, -1_i64)?;
        self.asm.lock().xadd(qword_ptr(rdx + PASSES as i32), rax)?;
        self.asm.test(rax, rax)?;
        self.asm.jg(self.unseen)
    }

    /// Writes the hit down.
    pub(super) fn write_down(&mut self, id: BreakpointId, plan: &LogPlan) -> Result<Result<(), NoJump>, IcedError> {
        let mut at = self.record;
        for argument in &plan.arguments {
            if let Err(why) = self.program(&argument.value, Outcome::Kept(at))? {
                return Ok(Err(why));
            }
            if argument.text != 0 {
                self.copy_text(at, argument.text)?;
            }
            at += 8 * (1 + i32::from(argument.text.div_ceil(8)));
        }
        self.send(header(id.0, plan.words()), plan.words())?;
        Ok(Ok(()))
    }

    /// The text whose address is in the word at `at` goes behind that word, and its length there.
    fn copy_text(&mut self, at: i32, len: u16) -> Result<(), IcedError> {
        let asm = &mut self.asm;
        let (mut next, mut done) = (asm.create_label(), asm.create_label());
        asm.mov(rax, ptr(rsp + at))?;
        asm.xor(ecx, ecx)?;
        asm.set_label(&mut next)?;
        asm.movzx(edx, byte_ptr(rax + rcx))?;
        asm.mov(byte_ptr(rsp + rcx + (at + 8)), dl)?;
        asm.test(dl, dl)?;
        asm.je(done)?;
        asm.inc(ecx)?;
        asm.cmp(ecx, i32::from(len))?;
        asm.jb(next)?;
        asm.set_label(&mut done)?;
        asm.mov(ptr(rsp + at), rcx)?;
        self.loads.push(next);
        Ok(())
    }

    /// Copies the record in the frame to the ring, or counts it as dropped.
    fn send(&mut self, header: u64, words: u16) -> Result<(), IcedError> {
        let size = 8 * (1 + i32::from(words));
        let attempts = dword_ptr(rsp + self.attempts);
        let (mut again, mut full, mut claimed) =
            (self.asm.create_label(), self.asm.create_label(), self.asm.create_label());
        self.asm.mov(attempts, ATTEMPTS)?;
        self.address(FixupKind::Data64)?;
        let asm = &mut self.asm;
        asm.mov(rax, ptr(rdx + HEAD as i32))?;
        asm.set_label(&mut again)?;
        asm.lea(rcx, ptr(rax + size))?;
        asm.sub(rcx, ptr(rdx + TAIL as i32))?;
        asm.cmp(rcx, CAPACITY as i32)?;
        asm.ja(full)?;
        asm.lea(rcx, ptr(rax + size))?;
        asm.lock().cmpxchg(qword_ptr(rdx + HEAD as i32), rcx)?;
        asm.je(claimed)?;
        asm.sub(attempts, 1)?;
        asm.jne(again)?;
        asm.set_label(&mut full)?;
        asm.zero_bytes()?;
        self.address(FixupKind::Cells64)?;
        let asm = &mut self.asm;
        asm.lock().inc(qword_ptr(rdx + DROPPED as i32))?;
        asm.jmp(self.unseen)?;
        asm.set_label(&mut claimed)?;
        asm.and(eax, CAPACITY as i32 - 1)?;
        asm.lea(rdx, ptr(rdx + rax + RECORDS as i32))?;
        if words != 0 {
            let mut next = asm.create_label();
            asm.xor(ecx, ecx)?;
            asm.set_label(&mut next)?;
            asm.mov(rax, ptr(rsp + rcx * 8 + self.record))?;
            asm.mov(ptr(rdx + rcx * 8 + 8), rax)?;
            asm.inc(ecx)?;
            asm.cmp(ecx, i32::from(words))?;
            asm.jb(next)?;
        }
        asm.mov(rax, header)?;
        asm.mov(ptr(rdx), rax)?;
        asm.jmp(self.unseen)
    }

    /// An address in rdx that the target fills in.
    fn address(&mut self, kind: FixupKind) -> Result<(), IcedError> {
        // Too large for any shorter form.
        const UNKNOWN: u64 = 0x7fff_ffff_ffff_ffff;
        let mut place = self.asm.create_label();
        self.asm.set_label(&mut place)?;
        self.asm.mov(rdx, UNKNOWN)?;
        self.addresses.push((place, kind));
        Ok(())
    }
}
