//! One system: a target with what the engine knows of its state.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use outpost_base::{ProcessId, RegisterContext, ThreadId};
use outpost_target::{Event, RegisterSets, StopGeneration, Target, TargetInfo};

use crate::SystemOrdinal;

/// A target shared by the parts of the engine that reach for it on the engine's one thread.
///
/// No borrow outlives the call it is made for, so that reading memory while symbols load (which may read a file through
/// the same target) works.
pub(crate) type TargetHandle = Rc<RefCell<Box<dyn Target>>>;

/// A system and what is known of it.
pub(crate) struct System {
    pub(crate) ordinal: SystemOrdinal,
    pub(crate) target: TargetHandle,
    pub(crate) info: TargetInfo,
    /// Stop that acting requests answer.
    pub(crate) generation: StopGeneration,
    /// Whether threads of it run because of us.
    pub(crate) running: bool,
    /// Whether all that can be told of its breakpoints was asked for since it ran, and they changed, last.
    pub(crate) states_known: bool,
    /// Registers known at this stop.
    pub(crate) registers: HashMap<ThreadId, KnownRegisters>,
    /// Events that arrived while something else was waited for.
    pub(crate) pending: VecDeque<Event>,
    /// Processes this session created, with how, for `.restart`.
    pub(crate) created: Vec<(ProcessId, outpost_target::CreateSpec)>,
}

/// A thread's registers and which blocks of them were asked for.
#[derive(Clone)]
pub(crate) struct KnownRegisters {
    pub(crate) context: RegisterContext,
    pub(crate) sets: RegisterSets,
}

impl System {
    pub(crate) fn new(ordinal: SystemOrdinal, target: Box<dyn Target>) -> System {
        let info = target.info().clone();
        let generation = target.last_stop().map(|stop| stop.generation).unwrap_or_default();
        System {
            ordinal,
            target: Rc::new(RefCell::new(target)),
            info,
            generation,
            running: false,
            states_known: false,
            registers: HashMap::new(),
            pending: VecDeque::new(),
            created: Vec::new(),
        }
    }

    /// Whether it can run at all.
    pub(crate) fn is_live(&self) -> bool {
        self.target.borrow_mut().as_live().is_some()
    }

    /// Notes registers that came with a stop.
    pub(crate) fn put_registers(&mut self, thread: ThreadId, context: RegisterContext) {
        let sets = RegisterSets { floating: !context.floating.is_empty(), debug: !context.debug.is_empty() };
        self.registers.insert(thread, KnownRegisters { context, sets });
    }
}
