//! `terse health`: whether the server beside it is ready, as an exit code. For container engines: the image has no shell and no curl.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::config::{Loaded, Origin};
use clap::Args;
use http::StatusCode;

use crate::cli::SettingsArgs;
use crate::config::Config;
use crate::data_folder::RunNote;
use crate::doctor;
use crate::output::{Output, say, say_json};

/// Shorter than the patience of those who ask every few seconds.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Ask only whether it lives, not whether it is ready.
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) async fn run(args: &HealthArgs, output: Output) -> anyhow::Result<ExitCode> {
    let address = admin_port(&args.settings.load()?);
    let (path, good, bad) = if args.live { ("/livez", "alive", "not alive") } else { ("/readyz", "ready", "not ready") };
    let status = tokio::time::timeout(TIMEOUT, doctor::get(address, path)).await.context("no answer within 3 s").flatten();
    let status = status.with_context(|| format!("the admin port {address} does not answer"))?.0;
    let healthy = status == StatusCode::OK;
    match output {
        Output::Text => say(if healthy { good } else { bad }),
        Output::Json => say_json(&serde_json::json!({ "healthy": healthy, "admin": address, "status": status.as_u16() })),
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As said on the command line, else as the running server noted it (its port may have been chosen by the system), else as configured.
fn admin_port(loaded: &Loaded<Config>) -> SocketAddr {
    let config = &loaded.settings;
    let configured = config.admin_listen.0.address();
    let address = match loaded.origin("admin_listen") {
        Origin::Flag(_) => configured,
        Origin::Default | Origin::File { .. } | Origin::Env(_) => RunNote::read(&config.data).map_or(configured, |note| note.admin),
    };
    doctor::reachable(address)
}

#[cfg(test)]
mod tests {
    use chassis::Lifecycle;
    use chassis::admin::{self, Admin};

    use super::*;

    fn asked(data: &std::path::Path, admin_listen: Option<SocketAddr>, live: bool) -> HealthArgs {
        HealthArgs { live, settings: SettingsArgs::of(data, admin_listen) }
    }

    async fn code(args: &HealthArgs) -> Option<ExitCode> {
        run(args, Output::Json).await.ok()
    }

    #[tokio::test]
    async fn ready_then_draining_then_gone() {
        let folder = tempfile::tempdir().unwrap();
        let lifecycle = Lifecycle::new(Duration::from_secs(5));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = Admin { config: serde_json::json!({}), metrics: None, before_metrics: None, checks: Vec::new() };
        let admin = admin::serve(listener, admin, &lifecycle).unwrap();
        let note = RunNote { pid: 7, version: "0".into(), role: "ids".into(), public: None, grpc: Some(admin), admin, public_url: None };
        note.write(folder.path()).unwrap();

        let by_note = asked(folder.path(), None, false);
        let by_flag = asked(&folder.path().join("elsewhere"), Some(admin), false);
        assert_eq!((code(&by_note).await, code(&by_flag).await), (Some(ExitCode::SUCCESS), Some(ExitCode::SUCCESS)));

        let latch = lifecycle.latch();
        assert_eq!(code(&by_note).await, Some(ExitCode::FAILURE));
        assert_eq!(code(&asked(folder.path(), None, true)).await, Some(ExitCode::SUCCESS), "it lives while it starts or drains");
        drop(latch);
        lifecycle.drain_in_order().await;
        assert_eq!(code(&by_note).await, None);
    }
}
