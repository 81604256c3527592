//! MASM: every operation is one of the machine's.

use outpost_target::condition::Op;

use super::{CompileError, Compiler, beside};
use crate::expr::{ExprError, Masm, MasmBinary, MasmUnary, Name, PlaceKind};

impl Compiler<'_> {
    pub(super) fn masm(&mut self, expr: &Masm) -> Result<(), CompileError> {
        match expr {
            Masm::Number(number) => self.code.constant(*number),
            Masm::Register(name) => self.register(name)?,
            Masm::Here => self.code.register(self.scope.arch().pc()),
            Masm::Name(name) => self.masm_name(name)?,
            Masm::SourceLine(line) => {
                let found = self.scope.line_addresses(line)?;
                let at = found.first().ok_or_else(|| ExprError::NoCode { line: line.to_string() })?;
                self.code.constant(at.0);
            }
            Masm::Unary(operator, operand) => {
                self.masm(operand)?;
                match operator {
                    MasmUnary::Negate => self.code.op(Op::Negate),
                    MasmUnary::Not => self.code.op(Op::IsZero),
                    MasmUnary::High => {
                        self.code.constant(16);
                        self.code.op(Op::ShiftRight);
                        self.code.resize(2, false);
                    }
                    MasmUnary::Low => self.code.resize(2, false),
                    MasmUnary::Read(size) => self.code.load(*size, false),
                }
            }
            Masm::Binary(operator, left, right) => {
                // `>` and `>=` are the others with their sides swapped.
                let swap = matches!(operator, MasmBinary::Greater | MasmBinary::GreaterEqual);
                let (first, second) = if swap { (right, left) } else { (left, right) };
                self.masm(first)?;
                self.masm(second)?;
                self.masm_operator(*operator);
            }
            Masm::Call(..) => return Err(beside("a function of MASM", "needs the client")),
            Masm::Cpp(inner) => {
                self.scalar(inner)?;
            }
        }
        Ok(())
    }

    fn masm_operator(&mut self, operator: MasmBinary) {
        match operator {
            MasmBinary::Multiply => self.code.op(Op::Multiply),
            MasmBinary::Divide => self.code.op(Op::DivideUnsigned),
            MasmBinary::Modulo => self.code.op(Op::RemainderUnsigned),
            MasmBinary::Add => self.code.op(Op::Add),
            MasmBinary::Subtract => self.code.op(Op::Subtract),
            MasmBinary::ShiftLeft => self.code.op(Op::ShiftLeft),
            MasmBinary::ShiftRight => self.code.op(Op::ShiftRight),
            MasmBinary::ShiftRightSigned => self.code.op(Op::ShiftRightSigned),
            MasmBinary::Equal => self.code.op(Op::Equal),
            MasmBinary::NotEqual => {
                self.code.op(Op::Equal);
                self.code.op(Op::IsZero);
            }
            MasmBinary::Less | MasmBinary::Greater => self.code.op(Op::LessUnsigned),
            MasmBinary::LessEqual | MasmBinary::GreaterEqual => self.code.op(Op::LessEqualUnsigned),
            MasmBinary::And => self.code.op(Op::And),
            MasmBinary::Xor => self.code.op(Op::Xor),
            MasmBinary::Or => self.code.op(Op::Or),
        }
    }

    fn masm_name(&mut self, name: &Name) -> Result<(), CompileError> {
        if name.module.is_none()
            && let Some(place) = self.scope.place(name)
        {
            return match place.at {
                PlaceKind::Register(_) | PlaceKind::Value(_) => Err(ExprError::Unsupported {
                    what: name.to_string(),
                    reason: "it is not in memory; @@c++(name) gives its value",
                }
                .into()),
                at => {
                    self.address(at);
                    Ok(())
                }
            };
        }
        match self.scope.addresses(name)?[..] {
            [at] => self.code.constant(at.0),
            [] => {
                let id = self.scope.arch().register_by_name(&name.text).filter(|_| name.module.is_none());
                self.code.register(id.ok_or_else(|| ExprError::Unresolved { name: name.to_string() })?);
            }
            ref many => return Err(ExprError::Ambiguous { name: name.to_string(), count: many.len() }.into()),
        }
        Ok(())
    }

    pub(super) fn register(&mut self, name: &str) -> Result<(), CompileError> {
        let arch = self.scope.arch();
        let id = match name {
            "$ip" => arch.pc(),
            "$csp" => arch.sp(),
            "$retreg" | "$retreg64" => arch.return_value(),
            "$teb" | "$thread" => {
                let base = arch.register_by_name("fs_base");
                base.ok_or_else(|| ExprError::Register { name: name.to_owned() })?
            }
            _ if name.starts_with('$') => return Err(beside(name, "is known to the client only")),
            _ => {
                let id = arch.register_by_name(name);
                id.ok_or_else(|| ExprError::Register { name: name.to_owned() })?
            }
        };
        match arch.register(id) {
            Some(def) if def.bits <= 64 => self.code.register(id),
            _ => return Err(beside(name, "is wider than 64 bits")),
        }
        Ok(())
    }
}
