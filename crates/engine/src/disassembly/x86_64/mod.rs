//! x86-64 by iced-x86, spelled as the reference spells it: MASM operands, symbols before addresses.

mod operands;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, FormatterTextKind, Mnemonic, SymResString, SymResTextInfo,
    SymResTextPart, SymbolResolver, SymbolResult,
};
use outpost_base::Va;

use super::{CodeSymbols, Flow, Instruction};

pub(super) use operands::{annotation, effective_addresses, registers_used};

pub(super) fn decode(at: Va, code: &[u8], symbols: &mut dyn CodeSymbols) -> Instruction {
    let nothing = |len: usize| Instruction {
        at,
        bytes: code.get(..len).unwrap_or_default().to_vec(),
        text: "???".to_owned(),
        flow: Flow::Next,
        target: None,
    };
    if code.is_empty() {
        return nothing(0);
    }
    let Some(decoded) = decoded(at, code) else { return nothing(1) };
    let text = format(&decoded, symbols);
    let flow = match decoded.flow_control() {
        FlowControl::Call | FlowControl::IndirectCall => Flow::Call,
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => Flow::Jump,
        FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => Flow::ConditionalJump,
        FlowControl::Return => Flow::Return,
        FlowControl::Exception if matches!(decoded.mnemonic(), Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2) => {
            Flow::End
        }
        _ if decoded.mnemonic() == Mnemonic::Hlt => Flow::End,
        // iced calls `syscall` a call; here it is an instruction like others.
        _ => Flow::Next,
    };
    let flow = if decoded.mnemonic() == Mnemonic::Syscall { Flow::Next } else { flow };
    Instruction {
        at,
        bytes: code.get(..decoded.len()).unwrap_or_default().to_vec(),
        text,
        flow,
        target: direct_target(&decoded),
    }
}

/// Decodes; `None` for bytes that are no instruction.
fn decoded(at: Va, code: &[u8]) -> Option<iced_x86::Instruction> {
    let mut decoder = Decoder::with_ip(64, code, at.0, DecoderOptions::NONE);
    let decoded = decoder.decode();
    (!decoded.is_invalid()).then_some(decoded)
}

fn direct_target(decoded: &iced_x86::Instruction) -> Option<Va> {
    use iced_x86::OpKind::{NearBranch16, NearBranch32, NearBranch64};
    match decoded.op0_kind() {
        NearBranch16 | NearBranch32 | NearBranch64 => Some(Va(decoded.near_branch_target())),
        _ => None,
    }
}

fn format(decoded: &iced_x86::Instruction, symbols: &mut dyn CodeSymbols) -> String {
    // iced owns its resolver, so names are looked up first: only branch targets and absolute operands have one.
    let mut named = Names::default();
    if let Some(target) = direct_target(decoded) {
        named.look_up(target, symbols);
    }
    if decoded.is_ip_rel_memory_operand() {
        named.look_up(Va(decoded.ip_rel_memory_address()), symbols);
    }
    let mut formatter = iced_x86::MasmFormatter::with_options(Some(Box::new(named)), None);
    let options = formatter.options_mut();
    options.set_first_operand_char_index(8);
    options.set_uppercase_hex(true);
    options.set_branch_leading_zeros(true);
    options.set_rip_relative_addresses(false);
    options.set_memory_size_options(iced_x86::MemorySizeOptions::Always);
    options.set_show_branch_size(false);
    options.set_masm_symbol_displ_in_brackets(true);
    options.set_masm_add_ds_prefix32(false);
    options.set_masm_displ_in_brackets(true);
    let mut text = Output::default();
    formatter.format(decoded, &mut text);
    text.0
}

/// Collects the text.
#[derive(Default)]
struct Output(String);

impl iced_x86::FormatterOutput for Output {
    fn write(&mut self, text: &str, _: FormatterTextKind) {
        self.0.push_str(text);
    }
}

/// The names of one instruction's addresses.
#[derive(Default)]
struct Names(Vec<(Va, String)>);

impl Names {
    fn look_up(&mut self, at: Va, symbols: &mut dyn CodeSymbols) {
        let text = match symbols.symbolize(at) {
            Some(name) => format!("{name} ({at})"),
            None => at.to_string(),
        };
        self.0.push((at, text));
    }
}

impl SymbolResolver for Names {
    fn symbol(
        &mut self,
        _: &iced_x86::Instruction,
        _: u32,
        _: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        let (_, text) = self.0.iter().find(|(at, _)| at.0 == address)?;
        let part = SymResTextPart { text: SymResString::Str(text), color: FormatterTextKind::LabelAddress };
        Some(SymbolResult::with_text(address, SymResTextInfo::Text(part)))
    }
}
