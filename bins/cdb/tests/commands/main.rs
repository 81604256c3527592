//! Commands as they are typed, on programs that run: what they say must be so.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod attaching;
mod breakpoints;
mod calls;
mod children;
mod common;
mod elements;
mod images;
mod json;
mod memory;
mod objects;
mod output;
mod safety;
mod scope;
mod served_sources;
mod sources;
mod types;
