//! `.push`, `.pop`: the debugger's state, put aside and brought back.

use outpost_engine::{SavedUserRegisters, ThreadOrdinal};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::settings::Settings;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".push"],
        syntax: ".push [/r] [/q]",
        summary: "Put the debugger's state aside, until .pop brings it back",
        details: "That is what expressions and output go by (n, .expr, rm, .kframes, l+, .lines, .prompt_allow, lsp, \
                  .enable_long_status and the like), the current thread and the frame selected; with /r also $t0 to $t19. \
                  States are stacked. Settings that forbid something stay as they are. /q is taken and changes nothing.",
        example: ".push /r; n 10; r $t0 = 5; .pop /r",
        group: Group::Scripts,
        eats_line: false,
        run: carry_out::<Push>,
    },
    CommandEntry {
        names: &[".pop"],
        syntax: ".pop [/r] [/q]",
        summary: "Bring back the state that .push put aside last",
        details: "With /r also $t0 to $t19, if they were put aside. A thread that has ended meanwhile is not selected. /q is \
                  taken and changes nothing.",
        example: ".push; .expr /s c++; .pop",
        group: Group::Scripts,
        eats_line: false,
        run: carry_out::<Pop>,
    },
];

/// States that are put aside at most.
const MOST: usize = 256;

/// A state that was put aside.
#[derive(Debug, Clone)]
pub(crate) struct SavedState {
    settings: Settings,
    thread: Option<ThreadOrdinal>,
    frame: u32,
    registers: Option<SavedUserRegisters>,
}

/// Which options were given: whether `/r` was.
fn options(arguments: &mut Arguments<'_>) -> Result<bool, CommandError> {
    let mut registers = false;
    while let Some(option) = arguments.take_option() {
        match option {
            "r" => registers = true,
            "q" => {}
            other => return Err(arguments.usage(format!("unknown option /{other}"))),
        }
    }
    Ok(registers)
}

/// `.push`.
#[derive(Debug, Clone, Copy)]
pub struct Push {
    registers: bool,
}

impl Command for Push {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Push, CommandError> {
        Ok(Push { registers: options(arguments)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        if debugger.saved_states.len() >= MOST {
            return Err(CommandError::invalid(format!("0n{MOST} states are put aside already; .pop brings them back")));
        }
        let frame = debugger.engine.pseudo_register("$frame").unwrap_or(0) as u32;
        let state = SavedState {
            settings: debugger.settings.clone(),
            thread: debugger.engine.current_thread().ok(),
            frame,
            registers: self.registers.then(|| debugger.engine.save_user_registers()),
        };
        debugger.saved_states.push(state);
        Ok(())
    }

    fn render((): &(), _: &mut String) {}
}

/// `.pop`.
#[derive(Debug, Clone, Copy)]
pub struct Pop {
    registers: bool,
}

impl Command for Pop {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Pop, CommandError> {
        Ok(Pop { registers: options(arguments)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let nothing = || CommandError::invalid("no state is put aside; .push does that");
        let state = debugger.saved_states.pop().ok_or_else(nothing)?;
        debugger.settings = with_prohibitions(state.settings, &debugger.settings);
        if let Some(saved) = state.registers.filter(|_| self.registers) {
            debugger.engine.restore_user_registers(&saved);
        }
        // What was selected may be gone, or have fewer frames; then what is selected stays.
        let is_there = |thread| debugger.engine.thread(thread).is_ok();
        if let Some(thread) = state.thread.filter(|thread| is_there(*thread)) {
            if debugger.engine.current_thread().ok() != Some(thread) {
                debugger.engine.select_thread(thread)?;
            }
            if debugger.engine.pseudo_register("$frame").ok() != Some(u64::from(state.frame)) {
                let _ = debugger.engine.select_frame(state.frame);
            }
        }
        Ok(())
    }

    fn render((): &(), _: &mut String) {}
}

/// Settings that were put aside, but for what forbids or decides something: that is not what scripts save and restore.
fn with_prohibitions(saved: Settings, now: &Settings) -> Settings {
    let now = now.clone();
    Settings {
        stdio: now.stdio,
        create_directory: now.create_directory,
        executable_path: now.executable_path,
        detach_on_quit: now.detach_on_quit,
        shell_allowed: now.shell_allowed,
        safe_breakpoints_only: now.safe_breakpoints_only,
        execution_allowed: now.execution_allowed,
        secure: now.secure,
        quit_lock: now.quit_lock,
        stop_commands: now.stop_commands,
        idle_commands: now.idle_commands,
        ..saved
    }
}
