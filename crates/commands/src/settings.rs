//! What the user has set, and what commands remember of each other.

use std::collections::HashSet;
use std::path::PathBuf;

use outpost_base::Va;
use outpost_engine::expr::{Evaluator, ExprOptions, Radix};
use outpost_engine::target::StdioSpec;

/// Settings of one debugger, shared by all who command it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base of plain numbers (`n`).
    pub radix: Radix,
    /// Default evaluator (`.expr /s`).
    pub evaluator: Evaluator,
    /// Whether source lines are shown and accepted at all (`.lines`).
    pub lines: bool,
    /// `p` and `t` go by source line (`l+t`).
    pub step_by_line: bool,
    /// Stops show the number of the line (`l+l`).
    pub show_line_number: bool,
    /// Stops show the text of the line (`l+s`).
    pub show_source: bool,
    /// Stops show nothing but the source line (`l+o`).
    pub source_only: bool,
    /// Stops show the registers; toggled by the suffix `r` of stepping commands.
    pub show_registers: bool,
    /// Stops show the symbol of the place (`.prompt_allow sym`).
    pub show_symbol: bool,
    /// Stops show the instruction (`.prompt_allow dis`).
    pub show_instruction: bool,
    /// Stops show what the instruction's operands are (`.prompt_allow ea`).
    pub show_operands: bool,
    /// Commands that are carried out at each stop, before the prompt (`.pcmd`).
    pub stop_commands: String,
    /// Events are told with the time (`.echotimestamps`).
    pub timestamps: bool,
    /// What `r` shows (`rm`).
    pub register_mask: u64,
    /// Symbol loading is told about (`!sym noisy`).
    pub noisy: bool,
    /// Stack frames shown by default (`.kframes`).
    pub frames: usize,
    /// Source lines that stops show before and after the current one (`lsp`).
    pub source_context: (u32, u32),
    /// Where programs and libraries are looked for; a part of the symbol path (`.exepath`).
    pub executable_path: String,
    /// Where the standard streams of created processes are.
    pub stdio: StdioSpec,
    /// Where processes are created, on their machine; `None`: where the debugger or the server is.
    pub create_directory: Option<String>,
    /// Quitting lets created processes go, too (`-pd`).
    pub detach_on_quit: bool,
    /// `.shell` may run commands of the debugger's machine.
    pub shell_allowed: bool,
    /// Software breakpoints that would not outlive their server are refused (`.bpmode safe`).
    pub safe_breakpoints_only: bool,
    /// Commands may set the debuggee going (`.allow_exec_cmds`).
    pub execution_allowed: bool,
    /// Nothing of the debugger's machine may be changed, nor anything else of it be debugged (`.secure`). Never taken back.
    pub secure: bool,
    /// Why nobody may quit (`.quit_lock`).
    pub quit_lock: Option<String>,
    /// Commands that are carried out whenever the debugger begins to wait for a line (`.idle_cmd`).
    pub idle_commands: String,
    /// Numbers of type `long` are shown in the base of `n` (`.enable_long_status`).
    pub longs_in_radix: bool,
    /// All other whole numbers are, too (`.force_radix_output`).
    pub numbers_in_radix: bool,
    /// Functions that source steps do not enter (`.step_filter`).
    pub step_filter: Vec<String>,
    /// Finding of source files is told about (`.srcnoisy`).
    pub noisy_sources: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            radix: Radix::Hexadecimal,
            evaluator: Evaluator::Masm,
            lines: true,
            step_by_line: false,
            show_line_number: false,
            show_source: false,
            source_only: false,
            show_registers: true,
            show_symbol: true,
            show_instruction: true,
            show_operands: true,
            stop_commands: String::new(),
            timestamps: false,
            register_mask: MASK_INTEGER | MASK_SEGMENT,
            noisy: false,
            frames: outpost_engine::DEFAULT_FRAMES,
            source_context: (0, 0),
            executable_path: String::new(),
            stdio: StdioSpec::Client,
            create_directory: None,
            detach_on_quit: false,
            shell_allowed: true,
            safe_breakpoints_only: false,
            execution_allowed: true,
            secure: false,
            quit_lock: None,
            idle_commands: String::new(),
            longs_in_radix: false,
            numbers_in_radix: false,
            step_filter: Vec::new(),
            noisy_sources: false,
        }
    }
}

/// Integer registers and flags.
pub(crate) const MASK_INTEGER: u64 = 0x2;
/// x87 registers.
pub(crate) const MASK_FLOAT: u64 = 0x4;
/// Selectors and flags.
pub(crate) const MASK_SEGMENT: u64 = 0x8;
/// Debug registers.
pub(crate) const MASK_DEBUG: u64 = 0x20;
/// XMM registers.
pub(crate) const MASK_XMM: u64 = 0x40;
/// YMM registers.
pub(crate) const MASK_YMM: u64 = 0x200;

impl Settings {
    /// How expressions are read.
    pub fn expressions(&self) -> ExprOptions {
        ExprOptions { evaluator: self.evaluator, radix: self.radix }
    }
}

/// Where commands that are repeated go on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Continuations {
    /// Form of the last `d*` command.
    pub(crate) display: Option<String>,
    /// Behind the last byte that `d*` showed.
    pub(crate) display_at: Option<Va>,
    /// Behind the last instruction that `u` showed.
    pub(crate) unassemble_at: Option<Va>,
    /// File and next line of `ls`.
    pub(crate) source: Option<(String, u32)>,
    /// Source files of which stops have said where they come from, and whether they are the right ones.
    pub(crate) announced: HashSet<PathBuf>,
    /// Name and arguments of the last `dt`, for `dt .`.
    pub(crate) type_name: Option<String>,
    /// Pattern of the last `#`.
    pub(crate) code_pattern: Option<String>,
    /// Hits of the last `s -[s]`.
    pub(crate) search_hits: Vec<Va>,
}
