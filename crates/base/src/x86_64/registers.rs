//! The register table of x86-64.
//!
//! Words of the general block: `struct user_regs_struct` of Linux `arch/x86/include/asm/user_64.h`. DWARF numbers:
//! SysV x86-64 psABI 1.0, fig. 3.36. XSAVE offsets: Intel SDM vol. 1, 10.5.1 (legacy area) and 13.4.3 (`YMM_Hi128`
//! at 576 in the standard format). Names follow the debugger's (`efl`, `st0`), which are also those users type.

use crate::{RegisterDef, RegisterGroup, RegisterId, Storage};

/// Words in `user_regs_struct`.
pub(crate) const GENERAL_WORDS: usize = 27;
/// The psABI gives the return address column 16.
pub(crate) const RETURN_ADDRESS_COLUMN: u16 = 16;

/// Program counter.
pub(crate) const PC: RegisterId = RegisterId(6);
/// Stack pointer.
pub(crate) const SP: RegisterId = RegisterId(7);
/// Frame pointer.
pub(crate) const FRAME_POINTER: RegisterId = RegisterId(8);
/// Integer result.
pub(crate) const RETURN_VALUE: RegisterId = RegisterId(0);

const fn g(index: u8, shift: u8) -> Storage {
    Storage::General { index, shift }
}

const fn x(offset: u16) -> Storage {
    Storage::Xsave { offset }
}

const fn pair(low: u16, high: u16) -> Storage {
    Storage::XsavePair { low, high }
}

const fn d(index: u8) -> Storage {
    Storage::Debug { index }
}

const fn row(name: &'static str, group: RegisterGroup, bits: u16, dwarf: Option<u16>, storage: Storage) -> RegisterDef {
    RegisterDef { name, group, bits, dwarf, storage }
}

use RegisterGroup::{Avx, Debug, Float, General, Part, Segment, Sse};

/// Full registers first, in the order the register block shows them; parts after them.
pub(crate) const REGISTERS: &[RegisterDef] = &[
    row("rax", General, 64, Some(0), g(10, 0)),
    row("rbx", General, 64, Some(3), g(5, 0)),
    row("rcx", General, 64, Some(2), g(11, 0)),
    row("rdx", General, 64, Some(1), g(12, 0)),
    row("rsi", General, 64, Some(4), g(13, 0)),
    row("rdi", General, 64, Some(5), g(14, 0)),
    row("rip", General, 64, Some(16), g(16, 0)),
    row("rsp", General, 64, Some(7), g(19, 0)),
    row("rbp", General, 64, Some(6), g(4, 0)),
    row("r8", General, 64, Some(8), g(9, 0)),
    row("r9", General, 64, Some(9), g(8, 0)),
    row("r10", General, 64, Some(10), g(7, 0)),
    row("r11", General, 64, Some(11), g(6, 0)),
    row("r12", General, 64, Some(12), g(3, 0)),
    row("r13", General, 64, Some(13), g(2, 0)),
    row("r14", General, 64, Some(14), g(1, 0)),
    row("r15", General, 64, Some(15), g(0, 0)),
    row("efl", General, 32, Some(49), g(18, 0)),
    row("orig_rax", General, 64, None, g(15, 0)),
    row("cs", Segment, 16, Some(51), g(17, 0)),
    row("ss", Segment, 16, Some(52), g(20, 0)),
    row("ds", Segment, 16, Some(53), g(23, 0)),
    row("es", Segment, 16, Some(50), g(24, 0)),
    row("fs", Segment, 16, Some(54), g(25, 0)),
    row("gs", Segment, 16, Some(55), g(26, 0)),
    row("fs_base", Segment, 64, Some(58), g(21, 0)),
    row("gs_base", Segment, 64, Some(59), g(22, 0)),
    row("fpcw", Float, 16, Some(65), x(0)),
    row("fpsw", Float, 16, Some(66), x(2)),
    row("fptw", Float, 8, None, x(4)),
    row("st0", Float, 80, Some(33), x(32)),
    row("st1", Float, 80, Some(34), x(48)),
    row("st2", Float, 80, Some(35), x(64)),
    row("st3", Float, 80, Some(36), x(80)),
    row("st4", Float, 80, Some(37), x(96)),
    row("st5", Float, 80, Some(38), x(112)),
    row("st6", Float, 80, Some(39), x(128)),
    row("st7", Float, 80, Some(40), x(144)),
    row("mxcsr", Sse, 32, Some(64), x(24)),
    row("xmm0", Sse, 128, Some(17), x(160)),
    row("xmm1", Sse, 128, Some(18), x(176)),
    row("xmm2", Sse, 128, Some(19), x(192)),
    row("xmm3", Sse, 128, Some(20), x(208)),
    row("xmm4", Sse, 128, Some(21), x(224)),
    row("xmm5", Sse, 128, Some(22), x(240)),
    row("xmm6", Sse, 128, Some(23), x(256)),
    row("xmm7", Sse, 128, Some(24), x(272)),
    row("xmm8", Sse, 128, Some(25), x(288)),
    row("xmm9", Sse, 128, Some(26), x(304)),
    row("xmm10", Sse, 128, Some(27), x(320)),
    row("xmm11", Sse, 128, Some(28), x(336)),
    row("xmm12", Sse, 128, Some(29), x(352)),
    row("xmm13", Sse, 128, Some(30), x(368)),
    row("xmm14", Sse, 128, Some(31), x(384)),
    row("xmm15", Sse, 128, Some(32), x(400)),
    row("ymm0", Avx, 256, None, pair(160, 576)),
    row("ymm1", Avx, 256, None, pair(176, 592)),
    row("ymm2", Avx, 256, None, pair(192, 608)),
    row("ymm3", Avx, 256, None, pair(208, 624)),
    row("ymm4", Avx, 256, None, pair(224, 640)),
    row("ymm5", Avx, 256, None, pair(240, 656)),
    row("ymm6", Avx, 256, None, pair(256, 672)),
    row("ymm7", Avx, 256, None, pair(272, 688)),
    row("ymm8", Avx, 256, None, pair(288, 704)),
    row("ymm9", Avx, 256, None, pair(304, 720)),
    row("ymm10", Avx, 256, None, pair(320, 736)),
    row("ymm11", Avx, 256, None, pair(336, 752)),
    row("ymm12", Avx, 256, None, pair(352, 768)),
    row("ymm13", Avx, 256, None, pair(368, 784)),
    row("ymm14", Avx, 256, None, pair(384, 800)),
    row("ymm15", Avx, 256, None, pair(400, 816)),
    row("dr0", Debug, 64, None, d(0)),
    row("dr1", Debug, 64, None, d(1)),
    row("dr2", Debug, 64, None, d(2)),
    row("dr3", Debug, 64, None, d(3)),
    row("dr6", Debug, 64, None, d(6)),
    row("dr7", Debug, 64, None, d(7)),
    row("eax", Part, 32, None, g(10, 0)),
    row("ax", Part, 16, None, g(10, 0)),
    row("al", Part, 8, None, g(10, 0)),
    row("ah", Part, 8, None, g(10, 8)),
    row("ebx", Part, 32, None, g(5, 0)),
    row("bx", Part, 16, None, g(5, 0)),
    row("bl", Part, 8, None, g(5, 0)),
    row("bh", Part, 8, None, g(5, 8)),
    row("ecx", Part, 32, None, g(11, 0)),
    row("cx", Part, 16, None, g(11, 0)),
    row("cl", Part, 8, None, g(11, 0)),
    row("ch", Part, 8, None, g(11, 8)),
    row("edx", Part, 32, None, g(12, 0)),
    row("dx", Part, 16, None, g(12, 0)),
    row("dl", Part, 8, None, g(12, 0)),
    row("dh", Part, 8, None, g(12, 8)),
    row("esi", Part, 32, None, g(13, 0)),
    row("si", Part, 16, None, g(13, 0)),
    row("sil", Part, 8, None, g(13, 0)),
    row("edi", Part, 32, None, g(14, 0)),
    row("di", Part, 16, None, g(14, 0)),
    row("dil", Part, 8, None, g(14, 0)),
    row("ebp", Part, 32, None, g(4, 0)),
    row("bp", Part, 16, None, g(4, 0)),
    row("bpl", Part, 8, None, g(4, 0)),
    row("esp", Part, 32, None, g(19, 0)),
    row("sp", Part, 16, None, g(19, 0)),
    row("spl", Part, 8, None, g(19, 0)),
    row("r8d", Part, 32, None, g(9, 0)),
    row("r8w", Part, 16, None, g(9, 0)),
    row("r8b", Part, 8, None, g(9, 0)),
    row("r9d", Part, 32, None, g(8, 0)),
    row("r9w", Part, 16, None, g(8, 0)),
    row("r9b", Part, 8, None, g(8, 0)),
    row("r10d", Part, 32, None, g(7, 0)),
    row("r10w", Part, 16, None, g(7, 0)),
    row("r10b", Part, 8, None, g(7, 0)),
    row("r11d", Part, 32, None, g(6, 0)),
    row("r11w", Part, 16, None, g(6, 0)),
    row("r11b", Part, 8, None, g(6, 0)),
    row("r12d", Part, 32, None, g(3, 0)),
    row("r12w", Part, 16, None, g(3, 0)),
    row("r12b", Part, 8, None, g(3, 0)),
    row("r13d", Part, 32, None, g(2, 0)),
    row("r13w", Part, 16, None, g(2, 0)),
    row("r13b", Part, 8, None, g(2, 0)),
    row("r14d", Part, 32, None, g(1, 0)),
    row("r14w", Part, 16, None, g(1, 0)),
    row("r14b", Part, 8, None, g(1, 0)),
    row("r15d", Part, 32, None, g(0, 0)),
    row("r15w", Part, 16, None, g(0, 0)),
    row("r15b", Part, 8, None, g(0, 0)),
    row("eip", Part, 32, None, g(16, 0)),
    row("rflags", Part, 64, None, g(18, 0)),
    row("eflags", Part, 32, None, g(18, 0)),
    row("cf", Part, 1, None, g(18, 0)),
    row("pf", Part, 1, None, g(18, 2)),
    row("af", Part, 1, None, g(18, 4)),
    row("zf", Part, 1, None, g(18, 6)),
    row("sf", Part, 1, None, g(18, 7)),
    row("tf", Part, 1, None, g(18, 8)),
    row("if", Part, 1, None, g(18, 9)),
    row("df", Part, 1, None, g(18, 10)),
    row("of", Part, 1, None, g(18, 11)),
    row("iopl", Part, 2, None, g(18, 12)),
    row("nt", Part, 1, None, g(18, 14)),
    row("rf", Part, 1, None, g(18, 16)),
    row("ac", Part, 1, None, g(18, 18)),
    row("vif", Part, 1, None, g(18, 19)),
    row("vip", Part, 1, None, g(18, 20)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_rows_are_where_the_constants_say() {
        let names = [PC, SP, FRAME_POINTER, RETURN_VALUE].map(|id| REGISTERS[usize::from(id.0)].name);
        assert_eq!(names, ["rip", "rsp", "rbp", "rax"]);
    }
}
