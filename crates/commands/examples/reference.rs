//! Prints the command reference: `cargo run -p outpost-commands --example reference > docs/commands.md`.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(outpost_commands::reference::markdown().as_bytes())
}
