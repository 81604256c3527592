//! Files by build-id from servers: debuginfod, and stores that lay debug files out as symbol servers do.
//!
//! A [`Debuginfod`] is asked for an artifact of a build ([`FetchRequest`]) and answers from the disk cache that it shares
//! with `debuginfod-find` and gdb, else it asks the servers of the request, all at once, on threads of its own. Whoever
//! asked may wait, look again later, or give up; no call of this module blocks on the network but [`Fetch::wait`],
//! and that ends when the caller's flag says so. A server that does not answer within the time-out is not asked again.
//!
//! Nothing that servers send is believed: an ELF file goes into the cache only if it has the build-id asked for, sizes
//! are bounded, and text of theirs is never shown.

mod cache;
mod client;
mod http;
mod request;

pub use client::{Debuginfod, Fetch, FetchResult, Fetching, Patience};
pub use request::{Artifact, FetchOptions, FetchRequest, ServerLayout};
