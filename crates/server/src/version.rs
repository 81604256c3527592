//! What a server program says of itself.

/// What `--version` prints: the program's name, its release, the protocol it speaks.
pub fn version_text(program: &str) -> String {
    let versions: Vec<_> = outpost_wire::VERSIONS.iter().map(u32::to_string).collect();
    format!("{program} {} (Outpost), protocol {}", outpost_wire::RELEASE, versions.join(", "))
}
