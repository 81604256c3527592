//! The register block.

use outpost_base::{Arch, RegisterContext, RegisterId, RegisterValue};
use outpost_engine::FrameRegisters;

use super::{line, put};
use crate::settings::{MASK_DEBUG, MASK_FLOAT, MASK_INTEGER, MASK_SEGMENT, MASK_XMM, MASK_YMM};

/// Rows of three integer registers.
const INTEGER_ROWS: [&[&str]; 6] = [
    &["rax", "rbx", "rcx"],
    &["rdx", "rsi", "rdi"],
    &["rip", "rsp", "rbp"],
    &["r8", "r9", "r10"],
    &["r11", "r12", "r13"],
    &["r14", "r15"],
];

/// Flags by their letters when set and clear, in the order of the block.
const FLAGS: [(&str, &str, &str); 8] = [
    ("of", "ov", "nv"),
    ("df", "dn", "up"),
    ("if", "ei", "di"),
    ("sf", "ng", "pl"),
    ("zf", "zr", "nz"),
    ("af", "ac", "na"),
    ("pf", "po", "pe"),
    ("cf", "cy", "nc"),
];

/// The parts of a register context that `mask` asks for, as `r` shows them.
pub(crate) fn block(context: &RegisterContext, mask: u64) -> String {
    let mut text = String::new();
    let value = |name: &str| context.get(context.arch.register_by_name(name)?);
    let number = |name: &str| value(name).map(|value| value.as_u64());
    if mask & MASK_INTEGER != 0 {
        for row in INTEGER_ROWS {
            let cells: Vec<String> = row.iter().map(|name| format!("{name:>3}={}", digits(value(name), 16))).collect();
            line!(text, "{}", cells.join(" "));
        }
    }
    if mask & (MASK_INTEGER | MASK_SEGMENT) != 0 {
        let letters: Vec<&str> = FLAGS
            .iter()
            .map(|(name, set, clear)| match number(name) {
                // The parity letters are the other way round: pe is even, which sets the flag.
                Some(flag) if *name == "pf" => {
                    if flag != 0 {
                        "pe"
                    } else {
                        "po"
                    }
                }
                Some(0) => clear,
                Some(_) => set,
                None => "??",
            })
            .collect();
        line!(text, "iopl={:<1x}         {}", number("iopl").unwrap_or(0), letters.join(" "));
    }
    if mask & MASK_SEGMENT != 0 {
        for name in ["cs", "ss", "ds", "es", "fs", "gs"] {
            put!(text, "{name}={}  ", digits(value(name), 4));
        }
        line!(text, "           efl={}", digits(value("efl"), 8));
    }
    if mask & MASK_FLOAT != 0 {
        line!(
            text,
            "fpcw={} fpsw={} fptw={}",
            digits(value("fpcw"), 4),
            digits(value("fpsw"), 4),
            digits(value("fptw"), 2)
        );
        for number in 0..8 {
            let name = format!("st{number}");
            line!(text, "{name}={}", value(&name).map_or_else(|| "?".to_owned(), |value| x87(&value)));
        }
    }
    if mask & MASK_XMM != 0 {
        for number in 0..16 {
            let name = format!("xmm{number}");
            line!(text, "{name:>5}={}", digits(value(&name), 32));
        }
        line!(text, "mxcsr={}", digits(value("mxcsr"), 8));
    }
    if mask & MASK_YMM != 0 {
        for number in 0..16 {
            let name = format!("ymm{number}");
            line!(text, "{name:>5}={}", digits(value(&name), 64));
        }
    }
    if mask & MASK_DEBUG != 0 {
        let cell = |name: &str| format!("{name}={}", digits(value(name), 16));
        line!(text, "{} {} {}", cell("dr0"), cell("dr1"), cell("dr2"));
        line!(text, "{} {} {}", cell("dr3"), cell("dr6"), cell("dr7"));
    }
    text
}

/// The same of a frame, with question marks for what is not known there.
pub(crate) fn frame_block(registers: &FrameRegisters, mask: u64) -> String {
    let context = registers.context();
    let unknown: Vec<&str> = context
        .arch
        .registers()
        .iter()
        .enumerate()
        .filter(|(at, _)| !registers.is_known(RegisterId(*at as u16)))
        .map(|(_, row)| row.name)
        .collect();
    let mut text = String::new();
    for row in block(context, mask).lines() {
        if row.starts_with("iopl=") && unknown.contains(&"efl") {
            line!(text, "iopl=?         {}", ["??"; FLAGS.len()].join(" "));
            continue;
        }
        let cells = row.split_inclusive(' ').map(|cell| match cell.split_once('=') {
            Some((name, value)) if unknown.contains(&name.trim()) => {
                let digits = value.trim_end().len();
                format!("{name}={}{}", "?".repeat(digits), &value[digits..])
            }
            _ => cell.to_owned(),
        });
        line!(text, "{}", cells.collect::<String>());
    }
    text
}

/// One register as `r name` shows it.
pub(crate) fn single(arch: Arch, name: &str, value: &RegisterValue) -> String {
    let bits = arch.register_by_name(name).and_then(|id| arch.register(id)).map_or(64, |row| row.bits);
    match bits {
        80 => x87(value),
        bits => digits(Some(*value), usize::from(bits.div_ceil(4))),
    }
}

/// Hexadecimal digits, question marks for what is not known.
fn digits(value: Option<RegisterValue>, width: usize) -> String {
    let Some(value) = value else { return "?".repeat(width) };
    let all: String = value.bytes().iter().rev().map(|byte| format!("{byte:02x}")).collect();
    match all.len().cmp(&width) {
        std::cmp::Ordering::Less => format!("{all:0>width$}"),
        _ => all[all.len() - width..].to_owned(),
    }
}

/// An x87 register: its number and its bits.
fn x87(value: &RegisterValue) -> String {
    let float =
        outpost_engine::values::Scalar::decode_as(outpost_engine::values::BaseEncoding::Float, value.bytes(), 80);
    let number = float.map_or(f64::NAN, |scalar| scalar.as_f64());
    format!("{number:>25} ({})", digits(Some(*value), 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_of_integer_registers() {
        let mut context = RegisterContext::new(Arch::X86_64);
        let id = |name: &str| Arch::X86_64.register_by_name(name).unwrap();
        context.set(id("rax"), RegisterValue::from_u64(0x1234, 64));
        context.set(id("efl"), RegisterValue::from_u64(0x246, 32));
        context.set(id("cs"), RegisterValue::from_u64(0x33, 16));
        let text = block(&context, MASK_INTEGER | MASK_SEGMENT);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "rax=0000000000001234 rbx=0000000000000000 rcx=0000000000000000");
        assert_eq!(lines[3], " r8=0000000000000000  r9=0000000000000000 r10=0000000000000000");
        assert_eq!(lines[6], "iopl=0         nv up ei pl zr na pe nc");
        assert_eq!(lines[7], "cs=0033  ss=0000  ds=0000  es=0000  fs=0000  gs=0000             efl=00000246");
        assert!(block(&context, MASK_XMM).starts_with(" xmm0=????????"), "blocks that are not known say so");
    }
}
