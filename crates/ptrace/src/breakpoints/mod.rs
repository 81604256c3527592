//! Breakpoints: what the client asked for, the sites that carry them, and what a hit means.
//!
//! A site is one changed byte of one address space with everybody who wants it: breakpoints of the client, threads
//! on their way through a step plan, the tracer itself. It is planted while at least one owner is left. Its bytes are
//! hidden from reads, and writes go under it. A thread passes a site without leaving anybody else unguarded: the
//! displaced instruction is emulated (`emulate`) where it is simple enough; else it runs in the site's pad
//! (`protection`); else the other threads of the address space are held while the byte is back for one step (`pass`).
//!
//! Data is watched by debug registers, and what they cannot hold by the protection of its pages (`watching`).

mod debug_registers;
mod emulate;
mod guarding;
mod hits;
mod jumps;
mod keeping;
mod kernel_access;
mod logs;
mod page_faults;
mod pages;
mod pass;
mod protection;
mod robust;
mod sites;
mod table;
mod watching;

pub(crate) use debug_registers::DebugRegisters;
pub(crate) use hits::{Judgement, Unbroken};
pub(crate) use logs::Logs;
pub(crate) use pages::Pages;
pub(crate) use pass::Passed;
pub(crate) use protection::Protection;
pub(crate) use sites::{Owner, Retired, Sites, TRAP};
pub(crate) use table::Table;
