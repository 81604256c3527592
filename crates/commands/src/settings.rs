//! What the user has set; renderers see this and the result, nothing else.

use outpost_engine::expr::{Evaluator, Radix};

/// Settings of one session.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch the user flips by itself")]
pub struct Settings {
    /// Radix of bare numbers (`n`).
    pub radix: Radix,
    /// Evaluator of command arguments (`.expr`).
    pub evaluator: Evaluator,
    /// Source line numbers in stacks and at stops (`.lines`, `l+l`).
    pub lines: bool,
    /// Step by source line (`l+t`).
    pub source_stepping: bool,
    /// Show the source line at stops (`l+s`).
    pub source_text: bool,
    /// Show nothing but source at stops (`l+o`).
    pub source_only: bool,
    /// Show registers at stops (suffix `r` of step commands toggles).
    pub registers: bool,
    /// Tell where symbols are looked for (`!sym noisy`).
    pub noisy_symbols: bool,
    /// Frames that `k` shows at most (`.kframes`).
    pub frames: u32,
    /// Breakpoints that are not kill-safe are refused (`.bpmode safe`).
    pub safe_breakpoints_only: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            radix: Radix::default(),
            evaluator: Evaluator::Masm,
            lines: false,
            source_stepping: false,
            source_text: false,
            source_only: false,
            registers: true,
            noisy_symbols: false,
            frames: 256,
            safe_breakpoints_only: false,
        }
    }
}
