//! `terse restore`: puts a backup back, and makes sure that no code is given out twice.
//!
//! The store that is put back knows nothing of the links made after it was copied. Their codes are out in the world, so code
//! ranges and worker windows are moved beyond all that may have been handed out since: `ids::restored` says how far that is.

mod files;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use backends::system::SystemClock;
use chassis::Lifecycle;
use chassis::config::Loaded;
use clap::Args;
use domain::UnixMs;
use domain::port::LeaseStore;
use ids::restored::{self, Moved};

use crate::backup::parse_time;
use crate::cli::SettingsArgs;
use crate::config::{Config, Store};
use crate::data_folder::take;
use crate::output::{Output, say, say_json};
use crate::wire;

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// A folder that `terse backup` made.
    #[arg(required_unless_present = "in_place")]
    backup: Option<PathBuf>,
    /// The store was put back by other means already (a snapshot of its servers or of its disk): only see to the codes.
    #[arg(long, requires = "taken_at", conflicts_with = "backup")]
    in_place: bool,
    /// When that snapshot was begun.
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "in_place")]
    taken_at: Option<UnixMs>,
    /// How many links were made a second at most, over all since then, where that is known. By default what is possible: 419,430.
    #[arg(long, value_name = "N")]
    codes_per_s: Option<u64>,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) async fn run(args: &RestoreArgs, output: Output) -> anyhow::Result<ExitCode> {
    let loaded = args.settings.load()?;
    let moved = match (&args.backup, args.taken_at) {
        (Some(backup), _) => files::put_back(&loaded, backup, args.codes_per_s, output).await?,
        (None, Some(taken_at)) => in_place(&loaded, taken_at, args.codes_per_s).await?,
        (None, None) => return Err(crate::failure::WrongUse("name a backup, or --in-place and --taken-at".into()).into()),
    };
    if output == Output::Json {
        let moved: Vec<_> =
            moved.iter().map(|moved| serde_json::json!({ "epoch": moved.epoch, "from": moved.from, "to": moved.to })).collect();
        say_json(&serde_json::json!({ "data": loaded.settings.data, "code_ranges": moved }));
        return Ok(ExitCode::SUCCESS);
    }
    for moved in &moved {
        say(format!("Codes go on at counter {}; the copy stood at {}. None that was lost is given out again.", moved.to, moved.from));
    }
    say("As they were then: keys revoked, links blocked, deleted or changed, and clicks used of one-time links since. Look them over.");
    say("Caches of a CDN may still know links that are gone: purge them.");
    Ok(ExitCode::SUCCESS)
}

/// Of a store that is there already, and that no process may be using.
async fn in_place(loaded: &Loaded<Config>, taken_at: UnixMs, per_s: Option<u64>) -> anyhow::Result<Vec<Moved>> {
    if let Store::Sqlite(path) = loaded.settings.store() {
        ensure!(path.exists(), "{}\n  there is no store at `{}`", loaded.describe("store"), path.display());
    }
    let lock = take(loaded)?;
    let lifecycle = Lifecycle::new(loaded.settings.drain_grace_s.0);
    let stores = wire::open_stores(loaded, &lifecycle).await?;
    let moved = move_beyond(stores.leases.clone(), taken_at, per_s).await;
    lifecycle.drain_in_order().await;
    stores.close().await;
    drop(lock);
    moved
}

async fn move_beyond(leases: Arc<dyn LeaseStore>, copied_at: UnixMs, per_s: Option<u64>) -> anyhow::Result<Vec<Moved>> {
    restored::move_beyond(leases, copied_at, &SystemClock, per_s).await.context("the codes cannot be made safe, so do not start it")
}
