//! Compiles the click record. Without `protoc`: whoever has Rust can build.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../../proto/terse/v1/click.proto");
    let files = protox::compile(["terse/v1/click.proto"], ["../../proto"])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
