//! Files and folders: the data folder, the admin key, the stores of a server that is stopped.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use backends::file::lock::{FolderLock, LockError};
use chassis::Finding;

use crate::config::{ClicksUrl, Config, Store};
use crate::data_folder::admin_key_path;

/// Who uses the data folder.
pub(super) enum Holder {
    Nobody,
    Somebody(String),
    /// There is no folder, or it cannot be used.
    Unknown,
}

pub(super) fn data_folder(data: &Path, findings: &mut Vec<Finding>) -> Holder {
    if !data.exists() {
        findings.push(Finding::ok("data folder", format!("{} will be made at the first start", data.display())));
        let parent = data.ancestors().skip(1).find(|folder| folder.as_os_str().is_empty() || folder.exists());
        let parent = parent.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        findings.push(free_disk(parent));
        return Holder::Unknown;
    }
    match FolderLock::take(data) {
        Ok(lock) => {
            drop(lock);
            findings.push(Finding::ok("data folder", format!("{} is writable and not in use", data.display())));
            findings.push(free_disk(data));
            Holder::Nobody
        }
        Err(LockError::Held { holder, .. }) => {
            findings.push(Finding::ok("data folder", format!("{} is in use by {holder}", data.display())));
            findings.push(free_disk(data));
            Holder::Somebody(holder)
        }
        Err(error @ LockError::Unusable { .. }) => {
            let mend = format!("sudo chown -R \"$USER\" {0} && chmod 700 {0}, or name another folder with --data", data.display());
            findings.push(Finding::fail("data folder", error.to_string(), mend));
            Holder::Unknown
        }
    }
}

/// Below the first creates and clicks will soon be refused; below the second it is time to look.
const FREE_FAIL_BYTES: u64 = 64 << 20;
const FREE_WARN_BYTES: u64 = 1 << 30;

pub(crate) fn free_disk(folder: &Path) -> Finding {
    match rustix::fs::statvfs(folder) {
        Ok(disk) => judge_free_disk(disk.f_bavail.saturating_mul(disk.f_frsize), folder),
        Err(error) => Finding::warn("free disk", format!("cannot be told: {error}"), format!("df -h {}", folder.display())),
    }
}

fn judge_free_disk(free_bytes: u64, folder: &Path) -> Finding {
    let mib = free_bytes >> 20;
    let mend = || format!("free some space on the disk of {}; clicks.retention_days keeps less", folder.display());
    if free_bytes < FREE_FAIL_BYTES {
        Finding::fail("free disk", format!("{mib} MiB left: creates and clicks are about to be refused"), mend())
    } else if free_bytes < FREE_WARN_BYTES {
        Finding::warn("free disk", format!("{mib} MiB left"), mend())
    } else {
        Finding::ok("free disk", format!("{} GiB left", mib >> 10))
    }
}

pub(super) fn admin_key(data: &Path) -> Finding {
    let path = admin_key_path(data);
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::ok("admin key", "not kept in the data folder (made there at the first start)")
        }
        Err(error) => Finding::warn("admin key", format!("{} cannot be looked at: {error}", path.display()), "check the folder's owner"),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            let detail = format!("{} may be read by others (mode {:o})", path.display(), meta.permissions().mode() & 0o777);
            Finding::fail("admin key", detail, format!("chmod 600 {}, then revoke it and make a new one", path.display()))
        }
        Ok(_) => Finding::ok("admin key", format!("{} is private", path.display())),
    }
}

/// Files that the configuration names.
pub(super) fn files(config: &Config) -> Vec<Finding> {
    let named: [(&str, &Option<PathBuf>); 9] = [
        ("geoip.path", &config.geoip.path),
        ("links.blocklist", &config.links.blocklist),
        ("tls.cert", &config.tls.cert),
        ("tls.key", &config.tls.key),
        ("grpc.cert", &config.grpc.cert),
        ("grpc.key", &config.grpc.key),
        ("services.ca", &config.services.ca),
        ("services.cert", &config.services.cert),
        ("services.key", &config.services.key),
    ];
    let named = named.into_iter().filter_map(|(key, path)| path.as_ref().map(|path| (key, path)));
    named
        .map(|(key, path)| match std::fs::File::open(path) {
            Ok(_) => Finding::ok(key, format!("{} can be read", path.display())),
            Err(error) => {
                Finding::fail(key, format!("{} cannot be read: {error}", path.display()), format!("correct {key}, or take it out"))
            }
        })
        .collect()
}

/// The stores, while no server holds them.
pub(super) fn stores(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Store::Sqlite(path) = config.store() {
        findings.push(store(&path));
    }
    if let ClicksUrl::File(folder) = config.clicks() {
        findings.push(click_log(&folder));
    }
    findings
}

fn store(path: &Path) -> Finding {
    let store = format!("sqlite:{}", path.display());
    if !path.exists() {
        return Finding::ok("store", format!("{store} will be made at the first start"));
    }
    match crate::wire::inspect_files(path) {
        Ok(states) => match states.iter().find(|state| state.from < state.to) {
            Some(old) => {
                let detail = format!("{} has schema version {} of {}", old.place, old.from, old.to);
                Finding::warn("store", detail, "terse migrate (or start the server, which does the same)")
            }
            None => Finding::ok("store", format!("{store} has the current schema")),
        },
        Err(error) => Finding::fail("store", format!("{error:#}"), "restore a backup, or name another place with --store"),
    }
}

fn click_log(folder: &Path) -> Finding {
    match std::fs::read_dir(folder) {
        Ok(entries) => Finding::ok("click log", format!("{} with {} files", folder.display(), entries.count())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::ok("click log", format!("{} will be made at the first start", folder.display()))
        }
        Err(error) => {
            let mend = format!("make {} a folder that this user may write", folder.display());
            Finding::fail("click log", format!("{} cannot be read: {error}", folder.display()), mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::Status;

    use super::*;

    #[test]
    fn free_disk_has_two_thresholds() {
        for (mib, status) in [(1, Status::Fail), (100, Status::Warn), (10_000, Status::Ok)] {
            assert_eq!(judge_free_disk(mib << 20, Path::new("/")).status, status, "{mib} MiB");
        }
        assert_eq!(free_disk(Path::new("/nonexistent")).status, Status::Warn);
    }
}
