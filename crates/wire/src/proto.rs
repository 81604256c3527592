//! Structures generated from the schema.
#![expect(unreachable_pub, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/outpost.v1.rs"));
