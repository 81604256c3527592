//! `r`, `rm`: registers.

use outpost_base::{RegisterContext, RegisterValue};
use outpost_engine::Engine;
use outpost_engine::target::RegisterSets;

use crate::command::{CommandEntry, Group, give};
use crate::json::{Json, Value};
use crate::language::{Arguments, ThreadSpec};
use crate::questions::Question;
use crate::settings::{MASK_DEBUG, MASK_FLOAT, MASK_XMM, MASK_YMM};
use crate::text::{line, registers, stop, symbols, threads, values};
use crate::{CommandError, Debugger, Output, OutputKind};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["r", "rF", "rX", "rY", "rM"],
        syntax: "[~Thread] r [Register[:Type] [= Value], ...]\n[~Thread] r? $tN [= C++ expression]\n[~Thread] r.\n[~Thread] rF|rX|rY\n[~Thread] rM Mask",
        summary: "Show or set registers",
        details: "Without a name: those of the display mask (rm), the current symbol and instruction. Names are written \
                  without @; flags (zf) and parts (eax, al) are registers, too, as are $ip and $t0 to $t19. r. shows the \
                  registers that the current instruction uses. rF shows floating-point, rX XMM, rY YMM registers, rM those of \
                  a mask. Types are ib ub iw uw id ud iq uq f d, showing vector registers by their parts. \
                  r? gives $t0 to $t19 a value with its type, which C++ expressions see; as a number it is the value, or the \
                  address of an object. With = and no value, what is there is shown and the value is asked for at Input>; an empty line keeps it.",
        example: "r rax, rbx; r eax = 5; ~2 r rip",
        group: Group::State,
        eats_line: false,
        run: registers_command,
    },
    CommandEntry {
        names: &["rm"],
        syntax: "rm [Mask]",
        summary: "Show or set which registers r shows",
        details: "The mask is a sum of 2 integer, 4 floating-point, 8 segment, 0x20 debug, 0x40 XMM, 0x200 YMM.",
        example: "rm 2",
        group: Group::State,
        eats_line: false,
        run: mask_command,
    },
];

fn registers_command(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let Some(spec) = arguments.threads.take() else { return show_or_set(arguments, debugger, out) };
    let (name, syntax, rest) = (arguments.name, arguments.syntax, arguments.take_rest());
    let chosen = super::threads::select(&spec, debugger)?;
    debugger.for_threads(&chosen, |debugger, thread| {
        if spec == ThreadSpec::All {
            let row = threads::row(&debugger.engine.thread(thread)?);
            out.write(OutputKind::Normal, &format!("\n{row}\n"));
        }
        show_or_set(&mut Arguments::new(name, syntax, None, rest), debugger, out)
    })
}

fn show_or_set(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let mut shown = Shown::default();
    let name = arguments.name;
    match name {
        "rF" => shown.block(&whole_context(debugger)?, MASK_FLOAT),
        "rX" => shown.block(&whole_context(debugger)?, MASK_XMM),
        "rY" => shown.block(&whole_context(debugger)?, MASK_YMM),
        "rM" => {
            let mask = arguments.number(debugger)?;
            arguments.finish()?;
            shown.block(&whole_context(debugger)?, mask);
        }
        _ if super::alias::set_fixed(arguments.rest(), debugger) => {}
        _ if arguments.take(".") => used_registers(debugger, &mut shown)?,
        _ if arguments.take("?") => typed(arguments, debugger, &mut shown)?,
        _ if arguments.is_empty() => all(debugger, &mut shown)?,
        _ => {
            while !arguments.is_empty() {
                one(arguments, debugger, &mut shown)?;
            }
        }
    }
    give(&shown, |shown, text| text.push_str(&shown.text), out);
    Ok(())
}

/// Registers and how they are shown.
#[derive(Default)]
struct Shown {
    text: String,
    /// By name, in the order of the text.
    values: Vec<(String, RegisterValue)>,
    /// Those of a whole block.
    all: Option<Value>,
}

impl Json for Shown {
    fn json(&self) -> Value {
        let named = || self.values.iter().map(|(name, value)| (name.clone(), value.json())).collect();
        self.all.clone().unwrap_or_else(named)
    }
}

impl Shown {
    fn block(&mut self, context: &RegisterContext, mask: u64) {
        self.text.push_str(&registers::block(context, mask));
        self.all = Some(context.json());
    }

    fn one(&mut self, arch: outpost_base::Arch, name: &str, value: RegisterValue) {
        line!(self.text, "{name}={}", registers::single(arch, name, &value));
        self.values.push((name.to_owned(), value));
    }
}

/// The mask's registers of the thread, or of the frame that `.frame /c` chose, then the instruction there.
fn all(debugger: &mut Debugger, shown: &mut Shown) -> Result<(), CommandError> {
    let mask = debugger.settings.register_mask;
    if let Some(frame) = debugger.engine.shown_frame_registers()? {
        shown.text.push_str(&registers::frame_block(&frame, mask));
        shown.all = Some(frame.json());
        stop::instruction(debugger, frame.context(), &mut shown.text);
        return Ok(());
    }
    let wants_more = mask & (MASK_FLOAT | MASK_XMM | MASK_YMM | MASK_DEBUG) != 0;
    let context = if wants_more { whole_context(debugger)? } else { general_context(debugger)? };
    shown.block(&context, mask);
    stop::instruction(debugger, &context, &mut shown.text);
    Ok(())
}

fn general_context(debugger: &mut Debugger) -> Result<RegisterContext, CommandError> {
    let thread = debugger.engine.current_thread()?;
    Ok(debugger.engine.registers(thread, RegisterSets::default())?)
}

fn whole_context(debugger: &mut Debugger) -> Result<RegisterContext, CommandError> {
    let thread = debugger.engine.current_thread()?;
    Ok(debugger.engine.registers(thread, RegisterSets { floating: true, debug: true })?)
}

/// `name`, `name:type`, `name = value`.
fn one(arguments: &mut Arguments<'_>, debugger: &mut Debugger, shown: &mut Shown) -> Result<(), CommandError> {
    arguments.take("@");
    let word = arguments.register_name();
    if word.is_empty() {
        return Err(arguments.usage("the register's name is missing"));
    }
    let name = word.to_ascii_lowercase();
    let typed = if arguments.take(":") { Some(arguments.register_name()) } else { None };
    if arguments.take("=") {
        if arguments.is_empty() || arguments.take(",") {
            check_can_be_set(&name, debugger)?;
            let thread = debugger.engine.current_thread()?;
            debugger.ask(Question::Register { thread, name });
            return Ok(());
        }
        return set(&name, arguments, debugger);
    }
    arguments.take(",");
    let value = debugger.engine.register(&name)?;
    match typed {
        Some(kind) => {
            let parts = parts(&value, kind).ok_or_else(|| arguments.usage(format!("unknown type '{kind}'")))?;
            line!(shown.text, "{name}={parts}");
            shown.values.push((name, value));
        }
        None => shown.one(debugger.engine.arch(), &name, value),
    }
    Ok(())
}

/// `r? $t0 = expression`, `r? $t0`: a user's register with a type.
fn typed(arguments: &mut Arguments<'_>, debugger: &mut Debugger, shown: &mut Shown) -> Result<(), CommandError> {
    arguments.take("@");
    let name = arguments.register_name().to_ascii_lowercase();
    if !Engine::is_user_register(&name) {
        return Err(arguments.usage("only $t0 to $t19 have values with a type"));
    }
    if arguments.take("=") {
        let value = debugger.calling(|debugger| arguments.value(debugger))?;
        return Ok(debugger.engine.set_user_value(&name, &value)?);
    }
    arguments.finish()?;
    let Some(value) = debugger.engine.user_value(&name) else {
        let value = debugger.engine.register(&name)?;
        shown.one(debugger.engine.arch(), &name, value);
        return Ok(());
    };
    line!(shown.text, "{name}={} {}", value.value_type(), values::one_line(debugger, &value));
    shown.values.push((name.clone(), debugger.engine.register(&name)?));
    Ok(())
}

/// Sets a register to the number that follows.
pub(crate) fn set(name: &str, arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<(), CommandError> {
    let value = arguments.number(debugger)?;
    let more = arguments.rest();
    if !arguments.take(",")
        && !more.is_empty()
        && !more.starts_with(|c: char| c.is_ascii_alphabetic() || "$@".contains(c))
    {
        return Err(
            arguments.usage(format!("'{more}' is no part of a number; a value that is not whole is given by its bits"))
        );
    }
    check_can_be_set(name, debugger)?;
    let value = register_value(name, value, debugger)?;
    debugger.engine.set_register(name, value)?;
    Ok(())
}

/// What a caller's register was is spread over the stack; writing the thread's instead would surprise.
fn check_can_be_set(name: &str, debugger: &mut Debugger) -> Result<(), CommandError> {
    if !name.starts_with('$') && debugger.engine.shown_frame_registers()?.is_some() {
        let reason = "registers of a frame or context cannot be set; .cxr goes back to those of the thread";
        return Err(CommandError::invalid(reason));
    }
    Ok(())
}

fn register_value(name: &str, value: u64, debugger: &Debugger) -> Result<RegisterValue, CommandError> {
    if name.starts_with('$') {
        return Ok(RegisterValue::from_u64(value, 64));
    }
    let id = debugger.engine.register_id(name)?;
    let bits = debugger.engine.arch().register(id).map_or(64, |row| row.bits);
    Ok(RegisterValue::from_u64(value, bits))
}

/// A register's bytes as parts of a type, highest first.
fn parts(value: &RegisterValue, kind: &str) -> Option<String> {
    let size = match kind {
        "ib" | "ub" => 1,
        "iw" | "uw" => 2,
        "id" | "ud" | "f" => 4,
        "iq" | "uq" | "d" => 8,
        _ => return None,
    };
    let shown = value.bytes().chunks(size).rev().map(|chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let number = u64::from_le_bytes(bytes);
        let unused = 64 - 8 * size as u32;
        match kind {
            "f" => crate::text::single(f32::from_bits(number as u32)),
            "d" => crate::text::double(f64::from_bits(number)),
            _ if kind.starts_with('i') => (((number << unused) as i64) >> unused).to_string(),
            _ => number.to_string(),
        }
    });
    Some(shown.collect::<Vec<_>>().join(" "))
}

/// `r.`: registers of the current instruction.
fn used_registers(debugger: &mut Debugger, shown: &mut Shown) -> Result<(), CommandError> {
    use outpost_base::MemoryReader as _;
    use outpost_engine::disassembly;
    let context = general_context(debugger)?;
    let mut code = [0; 15];
    let got = debugger.engine.memory()?.read(context.pc(), &mut code);
    let arch = debugger.engine.arch();
    let names = &mut symbols::EngineSymbols(&mut debugger.engine);
    let instruction = disassembly::decode(arch, context.pc(), &code[..got], names);
    for id in disassembly::registers_used(arch, &instruction) {
        let Some(row) = arch.register(id) else { continue };
        if let Ok(value) = debugger.engine.register(row.name) {
            shown.one(arch, row.name, value);
        }
    }
    line!(shown.text, "{}", instruction.line());
    Ok(())
}

fn mask_command(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    if let Some(mask) = arguments.optional_number(debugger)? {
        arguments.finish()?;
        debugger.settings.register_mask = mask;
        return Ok(());
    }
    give(&debugger.settings.register_mask, describe_mask, out);
    Ok(())
}

fn describe_mask(mask: &u64, text: &mut String) {
    line!(text, "Register output mask is {mask:x}:");
    let parts =
        [(2, "Integer state"), (4, "Floating-point state"), (8, "Segment registers"), (0x20, "Debug registers")];
    let vectors = [(0x40, "XMM registers"), (0x200, "YMM registers")];
    for (bit, words) in parts.into_iter().chain(vectors).filter(|(bit, _)| mask & bit != 0) {
        line!(text, "  {bit:4x} - {words}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_by_their_parts() {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&1.5f32.to_le_bytes());
        bytes[12..].copy_from_slice(&[0xff; 4]);
        let value = RegisterValue::from_bytes(&bytes).unwrap();
        assert_eq!(parts(&value, "id").as_deref(), Some("-1 0 0 1069547520"));
        assert_eq!(parts(&value, "f").map(|text| text.ends_with(" 1.5")), Some(true));
        assert_eq!(parts(&value, "x"), None);
    }
}
