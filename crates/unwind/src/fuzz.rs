//! The body of a fuzz target: call frame information, code, stack and registers, all from the same bytes.

use std::sync::Arc;

use outpost_base::{Arch, ImageOffset, LoadBias, MemoryReader, RegisterContext, RegisterValue, Va, VaRange};

use crate::{CfiSection, CfiSections, ModuleCfi, ModuleList, UnwindModule, unwind_stack};

/// Where the module is, and where in it sections and code are.
const MODULE: Va = Va(0x4000_0000);
const EH_FRAME: u64 = 0x10_0000;
const EH_FRAME_HDR: u64 = 0x11_0000;
const CODE: u64 = 0x1000;
const STACK: u64 = 0x7000_0000;
const ADDRESSES: u64 = 24;

/// Unwinds from many places of a module made of `bytes`; the result is dropped.
///
/// Layout: three 16-bit lengths, then `.eh_frame`, `.eh_frame_hdr`, `.debug_frame` of these lengths, the rest being code
/// and stack. An image header at the start of the code is tried as well.
pub fn fuzz_unwind(bytes: &[u8]) {
    let Some((lengths, rest)) = bytes.split_at_checked(6) else { return };
    let length = |index: usize| usize::from(u16::from_le_bytes([lengths[2 * index], lengths[2 * index + 1]]));
    let (eh_frame, rest) = rest.split_at(length(0).min(rest.len()));
    let (eh_frame_hdr, rest) = rest.split_at(length(1).min(rest.len()));
    let (debug_frame, rest) = rest.split_at(length(2).min(rest.len()));
    let section = |address, bytes: &[u8]| {
        (!bytes.is_empty()).then(|| CfiSection { address: ImageOffset(address), bytes: bytes.to_vec().into() })
    };
    let sections = CfiSections {
        eh_frame: section(EH_FRAME, eh_frame),
        eh_frame_hdr: section(EH_FRAME_HDR, eh_frame_hdr),
        debug_frame: section(0, debug_frame),
        ..CfiSections::default()
    };
    let module = UnwindModule {
        range: VaRange::from_len(MODULE, 0x20_0000),
        bias: LoadBias(MODULE.0),
        cfi: Arc::new(ModuleCfi::new(sections)),
    };
    let mut modules = ModuleList::new(vec![module]);
    let mut memory = CodeAndStack(rest);
    for index in 0..ADDRESSES {
        let mut context = RegisterContext::new(Arch::X86_64);
        for (at, register) in ["rax", "rbx", "rbp", "r10", "r12", "r15"].iter().enumerate() {
            if let Some(id) = Arch::X86_64.register_by_name(register) {
                let value = STACK + 16 * (index + at as u64);
                context.set(id, RegisterValue::from_u64(value, 64));
            }
        }
        context.set_pc(MODULE + CODE + index * 7);
        context.set_sp(Va(STACK + index * 8));
        unwind_stack(&context, 64, &mut modules, &mut memory);
    }
    CfiSections::from_mapped_image(MODULE + CODE, &mut memory);
    CfiSections::from_elf(Arc::new(rest.to_vec()));
}

/// The same bytes at the place of the code and of the stack.
struct CodeAndStack<'a>(&'a [u8]);

impl MemoryReader for CodeAndStack<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let start = if at.0 >= STACK { STACK } else { MODULE.0 + CODE };
        let rest = at.0.checked_sub(start).and_then(|skip| self.0.get(usize::try_from(skip).ok()?..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        count
    }
}
