//! What commands work on.

use std::cell::RefCell;
use std::rc::Rc;

use outpost_engine::Engine;

use crate::log::Log;
use crate::{Host, Settings};

/// The engine, what the user has set, and the program around it.
pub(crate) struct Context {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) host: Box<dyn Host>,
    pub(crate) log: Rc<RefCell<Log>>,
}

impl Context {
    pub(crate) fn new(engine: Engine, host: Box<dyn Host>, settings: Settings) -> Context {
        Context { engine, settings, host, log: Rc::default() }
    }
}
