//! Bodies of the fuzz targets for types, variables and expressions. They only must not panic, hang or fill memory.

use std::hint::black_box;
use std::sync::Arc;

use outpost_base::{ImageOffset, LoadBias, MemoryReader, RegisterValue, Va};

use super::die::Die;
use super::expression::{DETACHED, ExpressionContext, evaluate};
use super::tail::may_enter_itself;
use super::{CallerFrame, FrameContext, TailCallee, Variables};
use crate::debug_info::die_ranges;
use crate::types::dwarf::type_id;
use crate::{
    DebugInfo, DieRef, DwarfTypes, ElfFile, MemorySource, TextOptions, Type, TypeKind, TypeTable, Unavailable, Value,
    field_rows,
};

/// Types and functions of one input that are looked at.
const MAX_ASKED: usize = 200;

/// Any bytes as an ELF file: all its types are spelled and measured, all its variables evaluated over noise.
pub fn fuzz_variables(data: &[u8]) {
    let Ok(image) = ElfFile::parse(MemorySource::new("input", data.to_vec())) else { return };
    if let Ok(Some(info)) = DebugInfo::load(&image, None, &mut Vec::new()) {
        ask_debug_info(Arc::new(info));
    }
}

/// Spells and measures the types of debug info, and evaluates its variables over noise.
pub(crate) fn ask_debug_info(info: Arc<DebugInfo>) {
    let types = TypeTable::new(Box::new(DwarfTypes::without_index(info.clone())));
    let variables = Arc::new(Variables::new(info.clone(), types.clone()));
    let dies = all_dies(&info);
    for die in dies.iter().take(MAX_ASKED) {
        ask_type(&types.get(type_id(*die)));
        black_box((info.die_texts(*die, 2, MAX_ASKED), info.die_ancestors(*die)));
        if let Some(variable) = variables.variable(*die) {
            let mut frame = NoiseFrame::new(&variables, 0x1000);
            black_box(variables.value(&variable, &mut frame).text(&TextOptions::default(), &mut Noise));
        }
    }
    black_box((types.named("node"), types.named("a::b<c>::d")));
    let places: Vec<u64> = addresses(&info).into_iter().take(MAX_ASKED).collect();
    for (&at, &called) in places.iter().zip(places.iter().rev()) {
        ask_tail_calls(&variables, ImageOffset(at), ImageOffset(called));
        let mut frame = NoiseFrame::new(&variables, at);
        for activation in variables.activations_at(ImageOffset(at)) {
            for variable in activation.scopes.iter().flat_map(|scope| &scope.variables).take(MAX_ASKED) {
                let value = variables.value(variable, &mut frame);
                black_box((value.location(), value.text(&TextOptions::default(), &mut Noise)));
                black_box(value.stores(crate::Scalar::Signed(-1), &mut Noise).is_ok());
            }
        }
    }
}

/// Any bytes as a DWARF expression that may ask for everything.
pub fn fuzz_expression(data: &[u8]) {
    struct Everything(Noise);
    impl<'a> ExpressionContext<gimli::EndianSlice<'a, gimli::LittleEndian>> for Everything {
        fn memory(&mut self) -> &mut dyn MemoryReader {
            &mut self.0
        }
        fn register(&mut self, dwarf: u16) -> Result<RegisterValue, Unavailable> {
            noise_register(dwarf).ok_or(Unavailable::Register { dwarf })
        }
        fn frame_base(&mut self) -> Result<u64, Unavailable> {
            Ok(0x7000)
        }
        fn cfa(&mut self) -> Result<u64, Unavailable> {
            Ok(0x7100)
        }
        fn base_type(&mut self, die: gimli::UnitOffset) -> Result<gimli::ValueType, Unavailable> {
            let kinds = [gimli::ValueType::Generic, gimli::ValueType::I8, gimli::ValueType::U32, gimli::ValueType::F64];
            Ok(kinds[die.0 % kinds.len()])
        }
        fn entry_value(
            &mut self,
            expression: gimli::Expression<gimli::EndianSlice<'a, gimli::LittleEndian>>,
        ) -> Result<gimli::Value, Unavailable> {
            Ok(gimli::Value::U64(expression.0.len() as u64))
        }
        fn subroutine(
            &mut self,
            _die: gimli::DieReference,
        ) -> Result<gimli::EndianSlice<'a, gimli::LittleEndian>, Unavailable> {
            // Two operations and no end: a subroutine that is called again and again.
            Ok(gimli::EndianSlice::new(&[0x31, 0x98, 0, 0], gimli::LittleEndian))
        }
    }
    for initial in [None, Some(0x7000)] {
        let expression = gimli::Expression(gimli::EndianSlice::new(data, gimli::LittleEndian));
        black_box(evaluate(expression, DETACHED, initial, &mut Everything(Noise)).is_ok());
    }
}

/// Asks by which tail calls each call of the function at `at` may have led to the one at `called`.
fn ask_tail_calls(variables: &Variables, at: ImageOffset, called: ImageOffset) {
    let function = variables.function_at(at).and_then(|die| Die::read(&variables.info, die));
    let Some(function) = function else { return };
    black_box(may_enter_itself(variables, &function));
    for site in variables.call_sites(&function).iter().take(MAX_ASKED / 10) {
        for known in [Some(variables), None] {
            let mut is_named = |name: &str| name.len().is_multiple_of(2);
            let mut callee = TailCallee { variables: known, at: called, is_named: &mut is_named };
            black_box(variables.tail_calls(ImageOffset(site.return_address), &mut callee));
        }
    }
}

fn ask_type(of: &Type) {
    black_box((of.to_string(), of.size(), of.alignment(), of.qualified_name(), of.encoding(), of.target()));
    black_box((of.resolved().to_string(), of.element(), of.field("a"), of.discriminant(), of.view_kind()));
    let object = Value::in_memory(of.clone(), Va(0x7000));
    black_box(object.text(&TextOptions::default(), &mut Noise));
    black_box(field_rows(of, Some(&object), 2, &TextOptions::default(), &mut Noise).len());
    if let TypeKind::Record(record) = of.kind() {
        for member in &record.members {
            let name = member.name.as_deref().unwrap_or_default();
            black_box(object.member(name, &mut Noise).map(|value| value.bit_field()).is_ok());
        }
    }
}

/// Every DIE of every unit, and some places that are none.
fn all_dies(info: &DebugInfo) -> Vec<DieRef> {
    let mut found = Vec::new();
    for index in info.units() {
        let Ok(unit) = info.unit(index) else { continue };
        let Ok(mut entries) = unit.entries_raw(None) else { continue };
        while !entries.is_empty() && found.len() < 10 * MAX_ASKED {
            let offset = entries.next_offset();
            let Ok(abbreviation) = entries.read_abbreviation() else { break };
            found.extend(info.die(index, offset));
            let attributes = abbreviation.map(|abbreviation| abbreviation.attributes()).unwrap_or_default();
            if entries.skip_attributes(attributes).is_err() {
                break;
            }
        }
    }
    // Spread over all of it, not the first units only.
    let step = found.len().div_ceil(MAX_ASKED).max(1);
    let offsets = [0, 1, u64::MAX >> 8].map(|offset| DieRef { section: crate::DieSection::Info, offset });
    found.into_iter().step_by(step).chain(offsets).collect()
}

/// Where functions may begin.
fn addresses(info: &DebugInfo) -> Vec<u64> {
    let mut found = vec![0, 0x1000];
    for index in info.units() {
        let Ok(unit) = info.unit(index) else { continue };
        let Ok(root) = unit.entry(unit.header.root_offset()) else { continue };
        let Ok(mut ranges) = die_ranges(info.unit_ref(index, &unit).dwarf, &unit, &root) else { continue };
        while let Ok(Some(range)) = ranges.next() {
            let length = range.end.saturating_sub(range.begin);
            found.extend((0..16).map(|part| range.begin.saturating_add(length / 16 * part)));
            if found.len() > MAX_ASKED {
                return found;
            }
        }
    }
    found
}

/// Memory that answers everywhere with bytes that depend on the address.
struct Noise;

impl MemoryReader for Noise {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        for (index, byte) in buf.iter_mut().enumerate() {
            let word = at.0.wrapping_add(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte = (word >> 56) as u8 & 0x7f;
        }
        buf.len()
    }
}

fn noise_register(dwarf: u16) -> Option<RegisterValue> {
    match dwarf {
        17..=32 => RegisterValue::from_bytes(&[0x3f; 16]),
        // Some are unknown.
        number if number % 5 == 4 => None,
        number => Some(RegisterValue::from_u64(0x7000 + 8 * u64::from(number), 64)),
    }
}

/// A frame of noise that was called by the same function, without end.
struct NoiseFrame {
    variables: Arc<Variables>,
    at: u64,
    memory: Noise,
    caller: Option<Box<NoiseFrame>>,
}

impl NoiseFrame {
    fn new(variables: &Arc<Variables>, at: u64) -> NoiseFrame {
        NoiseFrame { variables: variables.clone(), at, memory: Noise, caller: None }
    }
}

impl FrameContext for NoiseFrame {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        &mut self.memory
    }

    fn load_bias(&self) -> LoadBias {
        LoadBias(0)
    }

    fn pc(&self) -> Option<Va> {
        Some(Va(self.at))
    }

    fn lookup_address(&self) -> Option<Va> {
        Some(Va(self.at))
    }

    fn register(&mut self, dwarf: u16) -> Option<RegisterValue> {
        noise_register(dwarf)
    }

    fn cfa(&mut self) -> Option<Va> {
        Some(Va(0x7100))
    }

    fn thread_local(&mut self, offset: u64) -> Option<Va> {
        Some(Va(0x9000 + offset % 0x1000))
    }

    fn caller(&mut self) -> Option<CallerFrame<'_>> {
        let caller = self.caller.insert(Box::new(NoiseFrame::new(&self.variables, self.at)));
        Some(CallerFrame { frame: &mut **caller, variables: self.variables.clone() })
    }
}
