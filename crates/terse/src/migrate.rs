//! `terse migrate`: brings the schema of the stores, and the topics, up to date, and says what it did.

use std::process::ExitCode;

use anyhow::Context as _;
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use chassis::config::Loaded;
use clap::Args;

use crate::cli::SettingsArgs;
use crate::config::{Config, Store};
use crate::data_folder::{admin_key_path, take};
use crate::key_create::make_admin_key;
use crate::output::{Output, say, say_json};
use crate::wire::{self, Step};

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) async fn run(args: &MigrateArgs, output: Output) -> anyhow::Result<ExitCode> {
    let loaded = &args.settings.load()?;
    if args.plan {
        plan(&wire::plan(loaded).await?, output);
        return Ok(ExitCode::SUCCESS);
    }
    let lock = take(loaded)?;
    let steps = wire::migrate(loaded).await?;
    let new_key = match loaded.settings.store() {
        // The first start does it.
        Store::Sqlite(_) => None,
        Store::Scylla(_) => begin(loaded).await?,
    };
    drop(lock);
    if output == Output::Json {
        say_json(&serde_json::json!({ "steps": steps, "admin_key": new_key }));
        return Ok(ExitCode::SUCCESS);
    }
    for step in &steps {
        say(format!("{}  {}", step.place, in_words(step, "")));
    }
    if let Some(key) = new_key {
        let path = admin_key_path(&loaded.settings.data);
        say(format!("\nAdmin key  {key}\n           shown once; also in {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(step: &Step, would_be: &str) -> String {
    if step.from == step.to {
        format!("is at version {}, nothing to do", step.to)
    } else if step.from == 0 {
        format!("{would_be}made at version {}", step.to)
    } else {
        format!("{would_be}brought from version {} to {}", step.from, step.to)
    }
}

/// A migration of a shared store begins with rows that every process relies on, too: they are made where they are missing.
fn plan(steps: &[Step], output: Output) {
    if output == Output::Json {
        say_json(&serde_json::json!({ "plan": steps }));
        return;
    }
    for step in steps {
        say(format!("{}  {}", step.place, in_words(step, "would be ")));
        for statement in &step.statements {
            say(format!("    {}", statement.lines().next().unwrap_or_default()));
        }
    }
    let mend = if steps.iter().any(|step| step.from != step.to) { " Do it with:  terse migrate" } else { "" };
    say(format!("\nNothing was changed.{mend}"));
}

/// What every process of a shared store relies on: the first key epoch, the default domain, a key to begin with.
async fn begin(loaded: &Loaded<Config>) -> anyhow::Result<Option<String>> {
    let config = &loaded.settings;
    let lifecycle = Lifecycle::new(config.drain_grace_s.0);
    let stores = wire::open_stores(loaded, &lifecycle).await?;
    if stores.leases.ranges().await.context("the key epochs cannot be read")?.is_empty() {
        stores.leases.add_range(ids::first_range(&SystemEntropy)).await.context("the first key epoch cannot be stored")?;
    }
    if stores.domains.directory().default_domain().is_none() {
        let url = config.public_url.clone().map_or_else(|| config.default_public_url(config.listen.0.port()), |url| url.0);
        stores.domains.set_default(url.host()).await.with_context(|| loaded.describe("public_url"))?;
    }
    let new_key = if stores.keys.any().await.context("the keys cannot be read")? {
        None
    } else {
        let ids = wire::ids(loaded, &stores)?;
        Some(make_admin_key(stores.keys.as_ref(), ids.as_ref(), &config.data, "first migration").await?)
    };
    lifecycle.drain_in_order().await;
    stores.close().await;
    Ok(new_key)
}
