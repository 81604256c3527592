//! Registers by name: those of the processor, in the thread or in a frame, and the debugger's own (`$ip`, `$t0`).

mod blocks;
mod pseudo;
mod user;

use outpost_base::{RegisterContext, RegisterId, RegisterValue, ThreadId};
use outpost_target::{RegisterSets, TargetError};

use crate::system::KnownRegisters;
use crate::{Engine, EngineError, SystemOrdinal, ThreadOrdinal};

pub use pseudo::{PSEUDO_REGISTERS, RecentValues};
pub use user::SavedUserRegisters;
pub(crate) use user::UserRegisters;

impl Engine {
    /// A thread's registers; those of the general block are usually known from the stop already.
    ///
    /// # Errors
    /// [`EngineError::Target`] if the thread cannot be read now.
    #[doc(alias = "GetThreadContext")]
    pub fn registers(&mut self, thread: ThreadOrdinal, sets: RegisterSets) -> Result<RegisterContext, EngineError> {
        let (system, _, id) = self.locate(thread)?;
        let mut all = self.registers_of(system, &[id], sets)?;
        Ok(all.pop().unwrap_or(Err(TargetError::NoThread { thread: id }))?)
    }

    /// Registers of many threads by one round trip; a thread that cannot be read has its own error.
    ///
    /// # Errors
    /// [`EngineError::NoThread`]; [`EngineError::Target`] if a whole target is gone.
    pub fn registers_many(
        &mut self,
        threads: &[ThreadOrdinal],
        sets: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, EngineError> {
        let places: Vec<_> = threads.iter().map(|&thread| self.locate(thread)).collect::<Result<_, _>>()?;
        let mut answers: Vec<Option<Result<RegisterContext, TargetError>>> = vec![None; threads.len()];
        let mut systems: Vec<SystemOrdinal> = places.iter().map(|place| place.0).collect();
        systems.dedup();
        for system in systems {
            let own: Vec<usize> = (0..places.len()).filter(|&at| places[at].0 == system).collect();
            let ids: Vec<ThreadId> = own.iter().map(|&at| places[at].2).collect();
            for (at, answer) in own.into_iter().zip(self.registers_of(system, &ids, sets)?) {
                answers[at] = Some(answer);
            }
        }
        let missing = |at: usize| Err(TargetError::NoThread { thread: places[at].2 });
        Ok(answers.into_iter().enumerate().map(|(at, answer)| answer.unwrap_or_else(|| missing(at))).collect())
    }

    pub(crate) fn registers_of(
        &mut self,
        system: SystemOrdinal,
        ids: &[ThreadId],
        sets: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, EngineError> {
        let system = self.system_mut(system)?;
        let is_enough =
            |known: &KnownRegisters| (known.sets.floating || !sets.floating) && (known.sets.debug || !sets.debug);
        let lacking: Vec<ThreadId> =
            ids.iter().copied().filter(|id| !system.registers.get(id).is_some_and(is_enough)).collect();
        let mut failed = Vec::new();
        if !lacking.is_empty() {
            let answers = system.target.borrow_mut().registers_many(&lacking, sets)?;
            for (id, answer) in lacking.into_iter().zip(answers) {
                match answer {
                    // What was asked for is noted, not what came: a block that a dump lacks stays lacking.
                    Ok(context) => drop(system.registers.insert(id, KnownRegisters { context, sets })),
                    Err(error) => failed.push((id, error)),
                }
            }
        }
        let answer = |id: &ThreadId| match failed.iter().find(|(failed, _)| failed == id) {
            Some((_, error)) => Err(error.clone()),
            None => {
                system.registers.get(id).map(|known| known.context.clone()).ok_or(TargetError::NoThread { thread: *id })
            }
        };
        Ok(ids.iter().map(answer).collect())
    }

    /// Writes whole register blocks into a stopped thread.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for targets that cannot be written; [`EngineError::Target`].
    #[doc(alias = "SetThreadContext")]
    pub fn set_registers(&mut self, thread: ThreadOrdinal, context: &RegisterContext) -> Result<(), EngineError> {
        let (system, _, id) = self.locate(thread)?;
        let target = self.system(system)?.target.clone();
        {
            let mut target = target.borrow_mut();
            let live = target.as_live().ok_or_else(|| EngineError::Unsupported {
                operation: "writing registers",
                reason: "the target is a dump".into(),
            })?;
            live.set_registers(id, context)?;
        }
        let system = self.system_mut(system)?;
        system.registers.remove(&id);
        self.epoch += 1;
        self.reset_scope();
        Ok(())
    }

    /// The current thread's register `name` (without `@`), as its current scope has it where a frame was selected; or
    /// the value of a pseudo-register, which starts with `$`.
    ///
    /// # Errors
    /// [`EngineError::NoRegister`]; [`EngineError::RegisterUnavailable`].
    #[doc(alias = "GetValue")]
    pub fn register(&mut self, name: &str) -> Result<RegisterValue, EngineError> {
        if name.starts_with('$') {
            return Ok(RegisterValue::from_u64(self.pseudo_register(name)?, 64));
        }
        let id = self.register_id(name)?;
        self.scope_register(id)?.ok_or_else(|| EngineError::RegisterUnavailable {
            name: name.to_owned(),
            reason: "it is not known in this frame".into(),
        })
    }

    /// Sets a register of the current thread (its innermost frame's), or a pseudo-register that can be set: `$ip`,
    /// `$t0` to `$t19`.
    ///
    /// # Errors
    /// [`EngineError::NoRegister`]; [`EngineError::RegisterUnavailable`] for pseudo-registers that are computed;
    /// [`EngineError::Unsupported`] on dumps.
    #[doc(alias = "SetValue")]
    pub fn set_register(&mut self, name: &str, value: RegisterValue) -> Result<(), EngineError> {
        if self.user_registers.set(name, value.as_u64()) {
            return Ok(());
        }
        let thread = self.current_thread()?;
        let id = match name.strip_prefix('$') {
            Some("ip") => self.arch().pc(),
            Some(_) => {
                let reason = "it is computed and cannot be set".into();
                return Err(EngineError::RegisterUnavailable { name: name.to_owned(), reason });
            }
            None => self.register_id(name)?,
        };
        let sets = sets_for(self.arch(), id);
        let mut context = self.registers(thread, sets)?;
        if !context.set(id, value) {
            let reason = "its block is not available".into();
            return Err(EngineError::RegisterUnavailable { name: name.to_owned(), reason });
        }
        // Only the block that changed is written: the others could have been saved by an older kernel in another size.
        if !sets.floating {
            context.floating.clear();
        }
        if !sets.debug {
            context.debug.clear();
        }
        self.set_registers(thread, &context)
    }

    /// A register's number by its name, ignoring case.
    ///
    /// # Errors
    /// [`EngineError::NoRegister`].
    pub fn register_id(&self, name: &str) -> Result<RegisterId, EngineError> {
        self.arch().register_by_name(name).ok_or_else(|| EngineError::NoRegister { name: name.to_owned() })
    }
}

/// Which blocks hold a register.
pub(crate) fn sets_for(arch: outpost_base::Arch, id: RegisterId) -> RegisterSets {
    use outpost_base::Storage;
    match arch.register(id).map(|def| def.storage) {
        Some(Storage::Xsave { .. } | Storage::XsavePair { .. }) => RegisterSets { floating: true, debug: false },
        Some(Storage::Debug { .. }) => RegisterSets { floating: false, debug: true },
        _ => RegisterSets::default(),
    }
}
