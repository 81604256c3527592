//! Fuzz target: connection strings, whose text never shows a password again.
#![no_main]

use outpost_transport::{ClientTransport, ServerTransport};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(transport) = text.parse::<ClientTransport>() {
        let _ = transport.to_string();
    }
    if let Ok(transport) = text.parse::<ServerTransport>() {
        let _ = transport.to_string();
    }
});
