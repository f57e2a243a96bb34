//! The commands that talk to a server through its API.

mod api;
mod domain;
mod export;
mod import;
pub(crate) mod key;
mod link;
mod stats;
pub(crate) mod table;

use std::process::ExitCode;

use clap::Subcommand;

use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, show, list, change and delete links.
    #[command(subcommand)]
    Link(link::Command),
    /// Clicks of a link, as a chart and tables.
    #[command(after_help = "Example:  terse stats 4fK9aQz --interval hour")]
    Stats(stats::StatsArgs),
    /// API keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Hosts that serve short links.
    #[command(subcommand)]
    Domain(domain::Command),
    /// Write all links to a file, with their codes.
    #[command(after_help = "Example:  terse export links.jsonl --history")]
    Export(export::ExportArgs),
    /// Read links from a file, keeping their codes. Safe to repeat: what is there already is left alone.
    #[command(after_help = "Example:  terse import links.jsonl\n          terse import bitly.csv --format csv")]
    Import(import::ImportArgs),
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Link(command) => command.run(output).await?,
            Self::Stats(args) => stats::run(&args, output).await?,
            Self::Key(command) => return command.run(output).await,
            Self::Domain(command) => command.run(output).await?,
            Self::Export(args) => export::run(&args, output).await?,
            Self::Import(args) => return import::run(&args, output).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}
