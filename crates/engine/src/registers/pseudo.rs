//! The debugger's own registers: values with a `$` name that are computed when asked for.

use outpost_base::Va;
use outpost_target::{RegisterSets, StopReason};

use crate::{BreakpointNumber, Engine, EngineError};

/// Names of the pseudo-registers, for completion and help; `$t0` to `$t19` and `$bp0`... come on top.
pub const PSEUDO_REGISTERS: &[&str] = &[
    "$ip",
    "$csp",
    "$ra",
    "$retreg",
    "$retreg64",
    "$eventip",
    "$previp",
    "$scopeip",
    "$frame",
    "$exentry",
    "$relip",
    "$ea",
    "$ea2",
    "$exp",
    "$p",
    "$proc",
    "$thread",
    "$peb",
    "$teb",
    "$tpid",
    "$tid",
    "$dtid",
    "$dpid",
    "$dsid",
    "$ptrsize",
    "$pagesize",
    "$dbgtime",
    "$callret",
    "$exr_chance",
    "$exr_code",
    "$exr_numparams",
    "$exr_param0",
    "$exr_param1",
    "$bug_code",
    "$bug_param1",
    "$bug_param2",
    "$bug_param3",
    "$bug_param4",
];

/// Auxiliary vector entry with the program's entry point (getauxval(3)).
const AT_ENTRY: u64 = 9;

/// Values that commands leave behind for later expressions.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecentValues {
    /// `$exp`: the last expression's.
    pub expression: u64,
    /// `$p`: the last value a `d*` command showed.
    pub displayed: u64,
    /// `$ea`: effective address of the last instruction that had one.
    pub effective_address: Option<Va>,
    /// `$callret`: what the last function that was called returned, as far as a register holds it.
    pub call: Option<u64>,
}

impl Engine {
    /// The value of a pseudo-register, by its name with `$`, ignoring case.
    ///
    /// # Errors
    /// [`EngineError::NoRegister`]; [`EngineError::RegisterUnavailable`] where it has no value now.
    pub fn pseudo_register(&mut self, name: &str) -> Result<u64, EngineError> {
        let lower = name.to_ascii_lowercase();
        if let Some(value) = self.user_registers.get(&lower) {
            return Ok(value);
        }
        if let Some(number) = lower.strip_prefix("$bp").and_then(|digits| digits.parse().ok()) {
            return self.breakpoint_address(BreakpointNumber(number)).map(|at| at.0);
        }
        let unavailable =
            |reason: &str| EngineError::RegisterUnavailable { name: name.to_owned(), reason: reason.into() };
        match lower.as_str() {
            "$ip" | "$scopeip" => Ok(self.scope_pc()?.0),
            "$csp" => self.register("rsp").map(|value| value.as_u64()),
            "$ra" => self.return_address()?.map(|at| at.0).ok_or_else(|| unavailable("the frame has no caller")),
            "$retreg" | "$retreg64" => {
                let thread = self.current_thread()?;
                let context = self.registers(thread, RegisterSets::default())?;
                context.get_u64(self.arch().return_value()).ok_or_else(|| unavailable(""))
            }
            "$eventip" => {
                let thread = self.event.ok_or_else(|| unavailable("there was no event"))?;
                Ok(self.registers(thread, RegisterSets::default())?.pc().0)
            }
            "$previp" => {
                let pc = self.last_event.as_ref().and_then(|event| event.previous_pc);
                pc.map(|pc| pc.0).ok_or_else(|| unavailable("there was no earlier event"))
            }
            "$frame" => Ok(u64::from(self.scope.frame())),
            "$exentry" => {
                let process = self.process(self.current_process()?)?;
                let entry = process.info.auxv.iter().find(|(kind, _)| *kind == AT_ENTRY).map(|(_, value)| *value);
                entry.ok_or_else(|| unavailable("the process's auxiliary vector is not known"))
            }
            "$exp" => Ok(self.scope.recent.expression),
            "$p" => Ok(self.scope.recent.displayed),
            "$ea" => {
                let at = self.scope.recent.effective_address;
                at.map(|at| at.0).ok_or_else(|| unavailable("no instruction with a memory operand was shown"))
            }
            "$ea2" => Err(unavailable("no instruction with two memory operands was shown")),
            "$relip" => Err(unavailable("the processor is not asked to record branches")),
            _ if lower.starts_with("$bug_") && PSEUDO_REGISTERS.contains(&lower.as_str()) => {
                Err(unavailable("only a kernel has a bug check"))
            }
            "$teb" | "$thread" => {
                let thread = self.current_thread()?;
                let context = self.registers(thread, RegisterSets::default())?;
                let id = self.register_id("fs_base")?;
                context.get_u64(id).ok_or_else(|| unavailable(""))
            }
            "$tid" => Ok(u64::from(self.locate(self.current_thread()?)?.2.0)),
            "$tpid" => Ok(u64::from(self.process(self.current_process()?)?.id().0)),
            "$dtid" => Ok(u64::from(self.current_thread()?.0)),
            "$dpid" => Ok(u64::from(self.current_process()?.0)),
            "$dsid" => Ok(u64::from(self.current_system().ok_or(EngineError::NoDebuggee)?.0)),
            "$ptrsize" => Ok(u64::from(self.arch().pointer_size())),
            "$pagesize" => {
                let system = self.current_system().ok_or(EngineError::NoDebuggee)?;
                Ok(self.target_info(system)?.page_size)
            }
            "$dbgtime" => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                Ok(now.map(|time| time.as_micros() as u64).unwrap_or(0))
            }
            "$proc" | "$peb" => self.auxiliary_vector().map(|at| at.0),
            "$callret" => self.scope.recent.call.ok_or_else(|| unavailable("nothing was called")),
            other if other.starts_with("$exr_") => self.exception_register(name, other),
            _ if PSEUDO_REGISTERS.contains(&lower.as_str()) => Err(unavailable("not on this target")),
            _ => Err(EngineError::NoRegister { name: name.to_owned() }),
        }
    }

    /// Notes what a command evaluated or showed, for `$exp`, `$p` and `$ea`.
    pub fn recent_values(&mut self) -> &mut RecentValues {
        &mut self.scope.recent
    }

    /// Values of the last event's signal (`$exr_code` and its kind).
    fn exception_register(&self, name: &str, lower: &str) -> Result<u64, EngineError> {
        let unavailable = || EngineError::RegisterUnavailable {
            name: name.to_owned(),
            reason: "the last event was no signal".into(),
        };
        let reason = self.last_event.as_ref().map(|event| &event.reason);
        let Some(StopReason::Signal(info)) = reason else { return Err(unavailable()) };
        match lower {
            "$exr_chance" => Ok(1),
            "$exr_code" => Ok(info.signo as u64),
            "$exr_numparams" => Ok(2),
            "$exr_param0" => Ok(info.code as i64 as u64),
            "$exr_param1" => Ok(info.address.0),
            _ => match lower.strip_prefix("$exr_param").and_then(|digits| digits.parse::<u8>().ok()) {
                Some(2..=14) => Err(EngineError::RegisterUnavailable {
                    name: name.to_owned(),
                    reason: "a signal has two parameters, its code and its address".into(),
                }),
                _ => Err(EngineError::NoRegister { name: name.to_owned() }),
            },
        }
    }
}
