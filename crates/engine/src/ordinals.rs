//! The engine's own numbers for systems, processes, threads and breakpoints: small, decimal, stable.

use std::fmt;

macro_rules! ordinal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ordinal! {
    /// A system (`||0`): what one [`Target`](outpost_target::Target) stands for. Counted from 0, never used again.
    SystemOrdinal
}
ordinal! {
    /// A process (`|0`). One count for all systems, from 0 in the order seen; begins anew when no process is left.
    ProcessOrdinal
}
ordinal! {
    /// A thread (`~0`). One count for all processes, from 0 in the order seen; begins anew when no process is left.
    ThreadOrdinal
}
ordinal! {
    /// A user's breakpoint (`bp0`). The lowest free number is taken unless the user names one.
    BreakpointNumber
}
