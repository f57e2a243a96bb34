//! Compiles the contracts. Without `protoc`: whoever has Rust can build.

use std::error::Error;
use std::path::PathBuf;

const SERVICES: [&str; 5] =
    ["terse/v1/problem.proto", "terse/v1/ids.proto", "terse/v1/links.proto", "terse/v1/resolver.proto", "terse/v1/stats.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../../proto/terse/v1");
    let files = protox::compile(SERVICES, ["../../proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(files)?;
    // What reflection tells: the click record too, whose code is made where it is read and written.
    let mut all = protox::Compiler::new(["../../proto"])?;
    all.include_imports(true).open_files(SERVICES)?.open_file("terse/v1/click.proto")?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("terse.v1.bin"), all.encode_file_descriptor_set())?;
    Ok(())
}
