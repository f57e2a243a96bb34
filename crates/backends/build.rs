//! Compiles the records of the logs. Without `protoc`: whoever has Rust can build.

use std::error::Error;

const RECORDS: [&str; 2] = ["terse/v1/click.proto", "terse/v1/link_changed.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for record in RECORDS {
        println!("cargo::rerun-if-changed=../../proto/{record}");
    }
    let files = protox::compile(RECORDS, ["../../proto"])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
