//! Operations of DWARF expressions as text: `DW_OP_fbreg(-40)`.

use gimli::{DieReference, Expression, Operation, Reader, UnitRef};

use super::attribute::bytes;
use crate::DwarfReader;

/// Operations that are told; the longest expressions have some dozens.
const OPERATION_LIMIT: usize = 256;
/// How deep expressions may lie in each other.
const DEPTH_LIMIT: usize = 4;

/// The operations of an expression, separated by blanks.
pub(super) fn text(unit: UnitRef<'_, DwarfReader>, expression: Expression<DwarfReader>) -> String {
    within(unit, expression.0, DEPTH_LIMIT)
}

fn within(unit: UnitRef<'_, DwarfReader>, mut rest: DwarfReader, depth: usize) -> String {
    let Some(depth) = depth.checked_sub(1) else { return "...".to_owned() };
    let mut operations = Vec::new();
    while !rest.is_empty() && operations.len() < OPERATION_LIMIT {
        // The operation itself does not say how it was written.
        let Ok(code) = rest.clone().read_u8() else { break };
        let name = gimli::DwOp(code).to_string();
        match Operation::parse(&mut rest, unit.unit.encoding()) {
            Ok(operation) => {
                let operands = operands(unit, &operation, depth);
                operations.push(if operands.is_empty() { name } else { format!("{name}({operands})") });
            }
            Err(_) => {
                operations.push(format!("{name}(damaged)"));
                break;
            }
        }
    }
    operations.join(" ")
}

fn operands(unit: UnitRef<'_, DwarfReader>, operation: &Operation<DwarfReader>, depth: usize) -> String {
    // Offset 0 stands for the generic type.
    let of = |base_type: &gimli::UnitOffset| match base_type.0 {
        0 => String::new(),
        offset => format!(", type CU + {offset:#x}"),
    };
    match operation {
        Operation::Deref { base_type, size, space } => {
            let space = if *space { ", with a space" } else { "" };
            let plain = base_type.0 == 0 && usize::from(*size) == usize::from(unit.unit.encoding().address_size);
            if plain { space.trim_start_matches(", ").to_owned() } else { format!("{size}{}{space}", of(base_type)) }
        }
        Operation::Pick { index } => index.to_string(),
        Operation::PlusConstant { value } => value.to_string(),
        Operation::Bra { target } | Operation::Skip { target } => format!("{target:+}"),
        Operation::UnsignedConstant { value } => format!("{value:#x}"),
        Operation::SignedConstant { value } => value.to_string(),
        Operation::Register { register } => register_name(*register),
        Operation::RegisterOffset { register, offset, base_type } => {
            format!("{}{}{}", register_name(*register), signed(*offset), of(base_type))
        }
        Operation::FrameOffset { offset } => offset.to_string(),
        Operation::Call { offset } => match offset {
            DieReference::UnitRef(offset) => format!("CU + {:#x}", offset.0),
            DieReference::DebugInfoRef(offset) => format!("{:#x}", offset.0),
        },
        Operation::VariableValue { offset } => format!("{:#x}", offset.0),
        Operation::Piece { size_in_bits, bit_offset } => match bit_offset {
            Some(offset) => format!("{size_in_bits} bits from {offset}"),
            None => (size_in_bits / 8).to_string(),
        },
        Operation::ImplicitValue { data } => bytes(data),
        Operation::ImplicitPointer { value, byte_offset } => format!("{:#x}{}", value.0, signed(*byte_offset)),
        Operation::EntryValue { expression } => within(unit, expression.clone(), depth),
        Operation::ParameterRef { offset } => format!("CU + {:#x}", offset.0),
        Operation::Address { address } => format!("{address:#x}"),
        Operation::AddressIndex { index } | Operation::ConstantIndex { index } => match unit.address(*index) {
            Ok(address) => format!("{address:#x}"),
            Err(_) => format!("index {}", index.0),
        },
        Operation::TypedLiteral { base_type, value } => format!("{}{}", bytes(value), of(base_type)),
        Operation::Convert { base_type } | Operation::Reinterpret { base_type } => match base_type.0 {
            0 => "generic".to_owned(),
            offset => format!("CU + {offset:#x}"),
        },
        _ => String::new(),
    }
}

fn signed(offset: i64) -> String {
    if offset == 0 { String::new() } else { format!("{offset:+}") }
}

/// The name of x86-64's register (SysV x86-64 psABI, fig. 3.36), else its number.
fn register_name(register: gimli::Register) -> String {
    let name = outpost_base::Arch::X86_64.register_by_dwarf(register.0);
    let row = name.and_then(|id| outpost_base::Arch::X86_64.register(id));
    row.map_or_else(|| format!("register {}", register.0), |row| row.name.to_owned())
}
