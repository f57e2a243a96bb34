//! `terse key create --data DIR`: a new admin key when all are lost. Whoever may write the data folder may have it.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chassis::Lifecycle;
use clap::Args;
use domain::api::{Deadline, Ids};
use domain::port::{Clock as _, KeyStore};
use domain::{ApiKey, KeyId, KeyName, Owner, Scope};

use backends::system::{SystemClock, SystemEntropy};

use crate::cli::SettingsArgs;
use crate::config::Store;
use crate::data_folder::{admin_key_path, take, write_private};
use crate::output::{Output, say, say_json};
use crate::wire;

/// Whom admin keys act for, when they create links and do not say for whom.
const ADMIN: &str = "admin";

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) async fn run(args: &CreateArgs, output: Output) -> anyhow::Result<ExitCode> {
    let loaded = args.settings.load()?;
    let data = &loaded.settings.data;
    if let Store::Sqlite(path) = loaded.settings.store() {
        let place = path.display();
        let data = loaded.describe("data");
        anyhow::ensure!(
            path.exists(),
            "{data}\n  there is no store at `sqlite:{place}` yet; `terse serve` makes it, with its first admin key"
        );
    }
    let lock = take(&loaded)?;
    let lifecycle = Lifecycle::new(loaded.settings.drain_grace_s.0);
    let stores = wire::open_stores(&loaded, &lifecycle).await?;
    let made = make_admin_key(stores.keys.as_ref(), wire::ids(&loaded, &stores)?.as_ref(), data, "terse key create").await;
    lifecycle.drain_in_order().await;
    stores.close().await;
    drop(lock);
    let key = made?;
    let path = admin_key_path(data);
    match output {
        Output::Text => {
            say(format!("{key}\n\nThe new admin key, also in {}. Older keys stay valid until they are revoked.", path.display()));
        }
        Output::Json => say_json(&serde_json::json!({ "key": key, "path": path })),
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes an admin key, writes it to the data folder, then makes it valid: after a crash in between there
/// is a file that opens nothing, never a valid key that nobody knows.
pub(crate) async fn make_admin_key(keys: &dyn KeyStore, ids: &dyn Ids, data: &Path, name: &str) -> anyhow::Result<String> {
    let (text, hash) = gateway::auth::generate_key(&SystemEntropy);
    let deadline = Deadline::after(Instant::now(), Duration::from_secs(10));
    let id = ids.next_ids(1, deadline).await?.pop().context("no id was given")?;
    let path = admin_key_path(data);
    write_private(&path, &format!("{text}\n")).with_context(|| format!("the admin key cannot be written to `{}`", path.display()))?;
    let key = ApiKey {
        id: KeyId::new(id.get()),
        name: KeyName::parse(name)?,
        hash,
        owner: Owner::parse(ADMIN)?,
        scopes: [Scope::Admin].into_iter().collect(),
        created_at: SystemClock.now(),
        expires_at: None,
        revoked_at: None,
    };
    keys.insert(key).await.context("the new admin key cannot be stored")?;
    Ok(text)
}
