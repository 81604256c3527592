//! Compiles the schema in pure Rust, so that building needs no `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/outpost.proto");
    let descriptors = protox::compile(["proto/outpost.proto"], ["proto"])?;
    prost_build::Config::new().boxed(".outpost.v1.BreakpointSpec.jump").compile_fds(descriptors)?;
    Ok(())
}
