//! `terse`: the server and its tools in one binary. It knows how everything is wired and nothing of how it works.
//! Read `cli.rs` for the commands, `serve.rs` for a start and an end, `wire.rs` for what runs where.

mod backup;
mod bench;
mod certificate;
mod cli;
mod client;
mod config;
mod config_show;
mod data_folder;
mod doctor;
mod failure;
mod gauges;
mod health;
mod key_create;
mod measures;
mod migrate;
mod output;
mod progress;
mod restore;
mod role;
mod serve;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let output = cli.output();
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("terse").enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => Err(anyhow::Error::new(error).context("the runtime cannot start its threads")),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => failure::report(&error, output),
    }
}
