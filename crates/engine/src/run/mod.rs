//! Running and stepping: requests in, plans out, stops judged until the request is fulfilled.

mod go;
mod line;
mod operation;
mod plan;
mod request;
mod returned;
mod step;
mod unwinding;
mod up;

pub(crate) use operation::{Advance, Operation};
pub use request::{
    ReturnedValue, RunOptions, RunThreads, SignalChoice, StepKind, StepRequest, StepUnit, StepUntil, Temporary,
};
pub(crate) use returned::vector_of;
pub(crate) use unwinding::UnwindPoints;
