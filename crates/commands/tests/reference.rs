//! `docs/commands.md` says what the registry says.

#[test]
fn the_command_reference_is_not_stale() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");
    let written = std::fs::read_to_string(path).unwrap();
    let hint = "cargo run -p outpost-commands --example reference > docs/commands.md";
    assert!(written == outpost_commands::reference::markdown(), "renew it: {hint}");
}
