//! `terse backup FOLDER`: everything of a data folder at one moment, while its server runs.
//!
//! First the statistics, then the end of the click log: what the one has not counted is in the other. Then the links: every
//! link that was clicked is among them. The salts of visitors stay where they are, since a backup would outlive them.

mod manifest;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use backends::file::click_log;
use backends::sqlite;
use backends::system::SystemClock;
use chassis::config::Loaded;
use clap::Args;
use domain::limits::CLICK_CHUNK_LEN;
use domain::port::Clock as _;
use indicatif::HumanBytes;

use crate::cli::SettingsArgs;
use crate::config::{ClicksUrl, Config, Store};
use crate::data_folder::admin_key_path;
use crate::output::{Output, say, say_json};
use crate::{progress, wire};

pub(crate) use manifest::{ADMIN_KEY, CLICKS, Entry, LINKS, Manifest, STATS, parse_time};
use manifest::{Clicks, Schema};

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The folder to make; it must not be there yet. Whoever can read it can do what the administrator can.
    folder: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) fn run(args: &BackupArgs, output: Output) -> anyhow::Result<ExitCode> {
    let loaded = args.settings.load()?;
    let Store::Sqlite(store) = loaded.settings.store() else {
        bail!(
            "{}\n  the servers of this store make their own backups: `nodetool snapshot -t NAME {}`, or Scylla Manager; \
             after putting one back, run `terse restore --in-place --taken-at TIME`",
            loaded.describe("store"),
            keyspace(&loaded.settings)
        );
    };
    ensure!(store.exists(), "{}\n  there is no store at `{}` yet", loaded.describe("store"), store.display());
    let folder = &args.folder;
    ensure!(!folder.exists(), "`{}` is there already: name a folder to make", folder.display());
    let draft = draft_of(folder)?;
    ensure!(!draft.exists(), "`{0}` is left of a backup that was cut off: rm -r {0}", draft.display());
    let made = DirBuilder::new().mode(0o700).create(&draft).with_context(|| format!("`{}` cannot be made", draft.display()));
    let copied = made.and_then(|()| copy(&loaded, &store, &draft, output));
    let copied = copied.and_then(|manifest| {
        std::fs::rename(&draft, folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
        sync_folder(folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")))?;
        Ok(manifest)
    });
    let manifest = copied.inspect_err(|_| {
        // Half a backup is of no use. What stays is named at the next attempt.
        let _ = std::fs::remove_dir_all(&draft);
    })?;
    match output {
        Output::Json => say_json(&serde_json::json!({ "folder": folder, "manifest": manifest })),
        Output::Text => {
            say(format!("{} files, {}, in {}", manifest.files.len(), HumanBytes(manifest.bytes()), folder.display()));
            say(format!("Put it back with:  terse restore {} --data NEW_FOLDER", folder.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn keyspace(config: &Config) -> String {
    match config.store() {
        Store::Scylla(url) => url.keyspace().to_owned(),
        Store::Sqlite(_) => String::new(),
    }
}

/// Beside the folder, so that it is moved there whole or not at all.
fn draft_of(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut name = folder.file_name().with_context(|| format!("`{}` names no folder to make", folder.display()))?.to_owned();
    name.push(".part");
    Ok(folder.with_file_name(name))
}

fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("`{}` cannot be made durable", folder.display()))
}

fn copy(loaded: &Loaded<Config>, store: &Path, draft: &Path, output: Output) -> anyhow::Result<Manifest> {
    let begun_at = SystemClock.now();
    let stats = wire::stats_path(store);
    let mut files = Vec::new();
    let stats = if stats.exists() {
        copy_database(&stats, &sqlite::STATS, &draft.join(STATS), output, &mut files)?
    } else {
        // Nothing was ever counted.
        0
    };
    let clicks = match loaded.settings.clicks() {
        ClicksUrl::File(folder) => copy_clicks(&folder, draft, &mut files).with_context(|| loaded.describe("clicks.url"))?,
        ClicksUrl::Kafka(_) => None,
    };
    let links = copy_database(store, &sqlite::LINKS, &draft.join(LINKS), output, &mut files).with_context(|| loaded.describe("store"))?;
    let key = admin_key_path(&loaded.settings.data);
    if key.exists() {
        let text = std::fs::read_to_string(&key).with_context(|| format!("`{}` cannot be read", key.display()))?;
        let to = draft.join(ADMIN_KEY);
        crate::data_folder::write_private(&to, &text).with_context(|| format!("`{}` cannot be written", to.display()))?;
        files.push(to);
    }
    let entries = checksums(draft, &files, output)?;
    sync_folder(draft)?;
    let manifest = Manifest::new(begun_at, SystemClock.now(), Schema { links, stats }, clicks, entries);
    manifest.write(draft).context("the manifest cannot be written")?;
    Ok(manifest)
}

fn copy_database(from: &Path, schema: &sqlite::Schema, to: &Path, output: Output, files: &mut Vec<PathBuf>) -> anyhow::Result<i64> {
    let bar = progress::bytes(output, schema.name, 0);
    let version = sqlite::copy(from, schema, to, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    files.push(to.to_owned());
    Ok(version)
}

/// The end of the log, from the start of the chunk that the copied statistics are in.
fn copy_clicks(folder: &Path, draft: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<Option<Clicks>> {
    let Some(log) = click_log::find(folder)? else { return Ok(None) };
    let stats = draft.join(STATS);
    let counted = if stats.exists() { sqlite::counted(&stats, log.id)?.unwrap_or(0) } else { 0 };
    let to = draft.join(CLICKS);
    let copied = log.copy(counted / CLICK_CHUNK_LEN * CLICK_CHUNK_LEN, &to)?;
    ensure!(copied.end >= counted, "the click log ends at {}, but {counted} of its clicks are counted: it was cut or replaced", copied.end);
    sync_folder(&to)?;
    files.extend(copied.files);
    Ok(Some(Clicks { log: format!("{:032x}", u128::from_be_bytes(log.id.0)), counted, end: copied.end }))
}

fn checksums(draft: &Path, files: &[PathBuf], output: Output) -> anyhow::Result<Vec<Entry>> {
    let total = files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let bar = progress::bytes(output, "checksums", total);
    let entries = files.iter().map(|file| Entry::of(draft, file, &mut |bytes| bar.inc(bytes))).collect();
    bar.finish_and_clear();
    entries
}
