//! Live processes through the seam: each test has debuggees of its own and a deadline on every wait.

mod attach;
mod breakpoints;
mod common;
