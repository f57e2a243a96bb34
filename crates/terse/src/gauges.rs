//! What this crate measures itself: the build, the disk, certificates, and whether the process is ready. Looked up when
//! somebody reads the metrics, and only then.

use std::path::PathBuf;
use std::sync::Arc;

use chassis::Lifecycle;
use metrics::gauge;

use crate::certificate;
use crate::config::Config;
use crate::role::Role;
use crate::serve::{COMMIT, VERSION};
use crate::wire::Process;

chassis::metrics! {
    /// Which build runs, and as what; always 1.
    Gauge BUILD = "terse_build_info" in "processes" by ["version": "<version>", "commit": "<commit>", "role": "serve|gateway|redirect|links|ids|analytics"];
    /// 1 while requests are welcome, 0 during start and drain.
    Gauge READY = "terse_ready" in "processes";
    /// Room left on the disk of the data folder.
    Gauge DISK_FREE = "terse_data_disk_free_bytes" in "bytes";
    /// Size of the disk of the data folder.
    Gauge DISK_SIZE = "terse_data_disk_size_bytes" in "bytes";
    /// When the certificate ends, or the first of its chain, in seconds since 1970: of the public port, of the gRPC port, and the one shown to
    /// other services. 0 when the file cannot be read.
    Gauge CERTIFICATE_END = "terse_tls_certificate_not_after_timestamp_seconds" in "seconds" by ["use": "public|grpc|client"];
}

/// Tells once what does not change, and answers what sets the rest.
pub(crate) fn of(role: Role, config: &Config, process: &Process, lifecycle: &Lifecycle) -> Arc<dyn Fn() + Send + Sync> {
    gauge!(BUILD, "version" => VERSION, "commit" => COMMIT.unwrap_or("unknown"), "role" => role.as_str()).set(1.0);
    let (data, lifecycle, door) = (config.data.clone(), lifecycle.clone(), process.door_gauges());
    let certificates = certificates(role, config);
    Arc::new(move || {
        gauge!(READY).set(if lifecycle.is_ready() { 1.0 } else { 0.0 });
        // Services by themselves may have no folder.
        if let Ok(disk) = rustix::fs::statvfs(&data) {
            gauge!(DISK_FREE).set(bytes(disk.f_bavail.saturating_mul(disk.f_frsize)));
            gauge!(DISK_SIZE).set(bytes(disk.f_blocks.saturating_mul(disk.f_frsize)));
        }
        for (what_for, path) in &certificates {
            let end = certificate::not_after(path).unwrap_or(0);
            gauge!(CERTIFICATE_END, "use" => *what_for).set(seconds(end));
        }
        door();
    })
}

/// Those that this role shows.
fn certificates(role: Role, config: &Config) -> Vec<(&'static str, PathBuf)> {
    use crate::role::Door;
    let door = match role.door() {
        Door::Public => ("public", &config.tls.cert),
        Door::Grpc { .. } => ("grpc", &config.grpc.cert),
    };
    let shown = [door, ("client", &config.services.cert)];
    shown.into_iter().filter_map(|(what_for, path)| path.clone().map(|path| (what_for, path))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; petabytes are exact")]
fn bytes(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; dates are exact")]
fn seconds(number: i64) -> f64 {
    number as f64
}
