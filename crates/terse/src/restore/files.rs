//! The files of a backup, into an empty data folder.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use backends::sqlite;
use backends::system::SystemEntropy;
use chassis::config::Loaded;
use ids::restored::Moved;

use super::move_beyond;
use crate::backup::{ADMIN_KEY, CLICKS, LINKS, Manifest, STATS};
use crate::config::{ClicksUrl, Config, Store};
use crate::data_folder::{UnfinishedRestore, admin_key_path, take};
use crate::output::Output;
use crate::{progress, wire};

/// What a data folder may hold that nothing was done in.
const LOCK: &str = "lock";

/// Where the files of a backup belong.
struct Places {
    store: PathBuf,
    stats: PathBuf,
    clicks: Option<PathBuf>,
    admin_key: PathBuf,
}

pub(super) async fn put_back(loaded: &Loaded<Config>, backup: &Path, per_s: Option<u64>, output: Output) -> anyhow::Result<Vec<Moved>> {
    let manifest = Manifest::read(backup)?;
    let places = places(loaded)?;
    let lock = take(loaded)?;
    must_be_empty(&loaded.settings.data, &places).with_context(|| loaded.describe("data"))?;
    for (name, schema) in [(LINKS, &sqlite::LINKS), (STATS, &sqlite::STATS)] {
        sqlite::inspect(&backup.join(name), schema)?;
    }
    let unfinished = UnfinishedRestore::begin(&loaded.settings.data).context("the data folder cannot be written")?;
    let mut made = Vec::new();
    let draft = places.store.with_extension("restoring");
    let copied = copy(backup, &manifest, &places, &draft, (output, &mut made));
    let moved = match copied {
        Ok(()) => move_links(&manifest, &draft, &places.store, per_s).await,
        Err(error) => Err(error),
    };
    if moved.is_err() {
        // What is not whole must not be started, and a second attempt wants an empty folder.
        made.push(draft);
        for path in made.iter().rev() {
            let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
        }
    }
    unfinished.end().context("the data folder cannot be written")?;
    drop(lock);
    moved
}

fn places(loaded: &Loaded<Config>) -> anyhow::Result<Places> {
    let config = &loaded.settings;
    let Store::Sqlite(store) = config.store() else {
        bail!("{}\n  a backup of files is put back to files: sqlite:PATH", loaded.describe("store"));
    };
    let clicks = match config.clicks() {
        ClicksUrl::File(folder) => Some(folder),
        ClicksUrl::Kafka(_) => None,
    };
    Ok(Places { stats: wire::stats_path(&store), store, clicks, admin_key: admin_key_path(&config.data) })
}

fn must_be_empty(data: &Path, places: &Places) -> anyhow::Result<()> {
    const MEND: &str = "a backup is put back into an empty folder: name another one with --data, or move this one away";
    for entry in std::fs::read_dir(data)? {
        let name = entry?.file_name();
        ensure!(name == LOCK, "`{}` holds `{}`: {MEND}", data.display(), name.to_string_lossy());
    }
    for path in [&places.store, &places.stats].into_iter().chain(&places.clicks) {
        ensure!(!path.exists(), "`{}` is there already: {MEND}", path.display());
    }
    Ok(())
}

/// Everything but the links is put in its place; those wait under another name.
fn copy(
    backup: &Path,
    manifest: &Manifest,
    places: &Places,
    draft: &Path,
    (output, made): (Output, &mut Vec<PathBuf>),
) -> anyhow::Result<()> {
    let bar = progress::bytes(output, "restoring", manifest.bytes());
    if let (Some(clicks), Some(_)) = (&places.clicks, &manifest.clicks) {
        DirBuilder::new().mode(0o700).recursive(true).create(clicks).with_context(|| format!("`{}` cannot be made", clicks.display()))?;
        made.push(clicks.clone());
    }
    for file in &manifest.files {
        let to = match file.name.split_once('/') {
            None if file.name == LINKS => draft.to_owned(),
            None if file.name == STATS => places.stats.clone(),
            None if file.name == ADMIN_KEY => places.admin_key.clone(),
            Some((CLICKS, name)) if !name.contains('/') && name != ".." => match &places.clicks {
                Some(clicks) => clicks.join(name),
                // Clicks go elsewhere now. Those few that were not counted yet stay in the backup.
                None => continue,
            },
            _ => bail!("the backup is damaged: its manifest names `{}`", file.name),
        };
        made.push(to.clone());
        file.copy(backup, &to, &mut |bytes| bar.inc(bytes))?;
    }
    bar.finish_and_clear();
    ensure!(draft.exists(), "the backup is damaged: it holds no {LINKS}");
    Ok(())
}

/// Last of all, and under its name only when its codes are safe: nobody can start on what is not.
async fn move_links(manifest: &Manifest, draft: &Path, store: &Path, per_s: Option<u64>) -> anyhow::Result<Vec<Moved>> {
    let links = sqlite::open_links(draft, sqlite::Options::default(), &SystemEntropy)?;
    let moved = move_beyond(links.leases.clone(), manifest.begun_at()?, per_s).await;
    links.close().await;
    let moved = moved?;
    std::fs::rename(draft, store).with_context(|| format!("`{}` cannot be made", store.display()))?;
    if let Some(folder) = store.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(moved)
}
