//! Running and stepping: requests in, plans out, stops judged until the request is fulfilled.

mod go;
mod operation;
mod plan;
mod request;
mod step;
mod up;

pub(crate) use operation::{Advance, Operation};
pub use request::{
    ReturnedValue, RunOptions, RunThreads, SignalChoice, StepKind, StepRequest, StepUnit, StepUntil, Temporary,
};
