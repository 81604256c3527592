//! The layers, checked against what cargo says: no arrow that `docs/ARCHITECTURE.md` does not draw.

use std::collections::BTreeSet;
use std::process::Command;

/// `a -> b c`: crate a may depend on b and c. `base` is everybody's vocabulary. What is not here is refused.
const ARROWS: &str = "
    base ->
    target -> base
    symbols -> base
    unwind -> base
    transport ->
    wire -> base target
    ptrace -> base target
    dump -> base target
    server -> base target wire transport
    remote -> base target wire transport
    engine -> base target symbols unwind
    commands -> base engine dump
    session -> commands engine transport
    console -> session
    testkit ->
    live -> base target server ptrace
    dbgsrv -> base server live target transport
    dbengprx -> transport
    benches -> testkit
    cdb -> base target engine commands session console server live remote transport dump
";

#[test]
fn no_arrow_beyond_the_drawn_ones() {
    let allowed: BTreeSet<(String, String)> = ARROWS
        .lines()
        .filter_map(|line| line.split_once("->"))
        .flat_map(|(from, to)| to.split_whitespace().map(move |to| (from.trim().into(), to.into())))
        .collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let short = |name: &serde_json::Value| {
        let name = name.as_str().expect("a name");
        name.strip_prefix("outpost-").unwrap_or(name).to_owned()
    };
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<String> = packages.iter().map(|package| short(&package["name"])).collect();
    let mut refused = Vec::new();
    for package in packages {
        let from = short(&package["name"]);
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = short(&dependency["name"]);
            // Tests may reach anywhere.
            let is_ours = ours.contains(&to) && dependency["kind"].as_str() != Some("dev");
            if is_ours && !allowed.contains(&(from.clone(), to.clone())) {
                refused.push(format!("{from} -> {to}"));
            }
        }
    }
    assert!(packages.len() > 10, "the workspace was read");
    assert!(refused.is_empty(), "arrows that are not drawn: {refused:?}");
}
