//! `terse serve`, and each service by itself: a start, a life and an end.
//!
//! Start: folder locked → ports bound → stores opened → services wired → door open → admin key, if first → ready.
//! End: as `chassis::lifecycle` says, then the stores are closed and the folder is given back.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chassis::admin::{self, Admin};
use chassis::config::{Loaded, Origin};
use chassis::{Lifecycle, telemetry};
use tokio::net::TcpListener;

use crate::config::{Config, Listen, PublicUrl};
use crate::data_folder::{self, RunNote, admin_key_path};
use crate::key_create::make_admin_key;
use crate::output::{Output, say};
use crate::role::{Door, Role};
use crate::wire::{self, Process};
use crate::{doctor, gauges};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const COMMIT: Option<&str> = option_env!("TERSE_COMMIT");

pub(crate) async fn run(role: Role, loaded: &Loaded<Config>, output: Output) -> anyhow::Result<ExitCode> {
    let config = &loaded.settings;
    telemetry::init_logs(config.log.format, config.log.level);
    let metrics = telemetry::install_metrics()?;
    doctor::raise_open_files();

    // Services by themselves keep nothing in it.
    let lock = if role == Role::Serve { Some(data_folder::take(loaded)?) } else { None };
    let door = bind_door(role, loaded)?;
    let admin = bind(loaded, "admin_listen", admin_listen(role, loaded))?;
    let lifecycle = Lifecycle::new(config.drain_grace_s.0);
    let starting = lifecycle.latch();
    telemetry::spawn_upkeep(&lifecycle, metrics.clone());
    wire::start_traces(role, loaded, &lifecycle)?;

    let public_url = public_url(config, door.local_addr()?.port());
    let process = wire::start(role, loaded, &public_url, &lifecycle).await?;
    let door = process.open_door(door, &lifecycle).await.with_context(|| tls_mend(role, loaded))?;
    // Last of what can fail: the key is shown once.
    let new_key = first_admin_key(&process, &config.data).await?;

    let admin_state = Admin {
        config: loaded.to_json(),
        metrics: Some(metrics),
        before_metrics: Some(gauges::of(role, config, &process, &lifecycle)),
        checks: process.checks(&config.data),
    };
    let is_public = role.door() == Door::Public;
    let note = RunNote {
        pid: std::process::id(),
        version: VERSION.into(),
        role: role.as_str().into(),
        admin: admin::serve(admin, admin_state, &lifecycle)?,
        public: is_public.then_some(door),
        grpc: (!is_public).then_some(door),
        public_url: is_public.then(|| public_url.to_string()),
    };
    leave_note(role, &note, loaded)?;
    drop(starting);
    match output {
        Output::Text => say(banner(role, loaded, &note, new_key.as_deref())),
        Output::Json => say(serde_json::json!({ "run": note, "admin_key": new_key })),
    }

    let code = lifecycle.run_to_end().await;
    process.close().await;
    RunNote::remove(&config.data);
    drop(lock);
    tracing::info!(exit_code = code, "stores closed, data folder given back");
    Ok(ExitCode::from(code))
}

/// Services may run where nothing can be written: then there is no note, and nobody needs one.
fn leave_note(role: Role, note: &RunNote, loaded: &Loaded<Config>) -> anyhow::Result<()> {
    let data = &loaded.settings.data;
    let written = std::fs::create_dir_all(data).and_then(|()| note.write(data));
    match written {
        Err(error) if role != Role::Serve => {
            tracing::info!(folder = %data.display(), %error, "no note of this process in the data folder");
            Ok(())
        }
        written => written.with_context(|| loaded.describe("data")),
    }
}

fn bind_door(role: Role, loaded: &Loaded<Config>) -> anyhow::Result<TcpListener> {
    let config = &loaded.settings;
    match role.door() {
        Door::Public => bind(loaded, "listen", config.listen.0),
        Door::Grpc { usual_port } => {
            let listen = config.grpc.listen.as_ref().map_or_else(|| Listen::local(usual_port), |listen| listen.0);
            bind(loaded, "grpc.listen", listen)
        }
    }
}

fn admin_listen(role: Role, loaded: &Loaded<Config>) -> Listen {
    match loaded.origin("admin_listen") {
        Origin::Default => role.usual_admin(),
        Origin::File { .. } | Origin::Env(_) | Origin::Flag(_) => loaded.settings.admin_listen.0,
    }
}

fn public_url(config: &Config, port: u16) -> PublicUrl {
    config.public_url.clone().map_or_else(|| config.default_public_url(port), |url| url.0)
}

fn bind(loaded: &Loaded<Config>, key: &str, listen: Listen) -> anyhow::Result<TcpListener> {
    gateway::Server::listen(listen.address()).map_err(|error| {
        let flag = if key.contains('.') { format!("set {key}=ADDRESS:PORT") } else { key.replace('_', "-") };
        let known = [
            (ErrorKind::AddrInUse, "another process listens there: stop it, or choose another port"),
            (ErrorKind::PermissionDenied, "this user may not listen there: grant CAP_NET_BIND_SERVICE, or choose a port from 1024 on"),
            (ErrorKind::AddrNotAvailable, "this machine does not have that address: choose 0.0.0.0 or another"),
        ];
        let mend = known.iter().find(|(kind, _)| *kind == error.kind()).map_or("choose another", |(_, mend)| mend);
        let value = loaded.describe(key);
        let address = listen.address();
        anyhow::Error::new(error).context(format!("{value}: {address}\n  cannot listen there; {mend} with --{flag}"))
    })
}

fn tls_mend(role: Role, loaded: &Loaded<Config>) -> String {
    let section = if role.door() == Door::Public { "tls" } else { "grpc" };
    let (cert, key) = (loaded.describe(&format!("{section}.cert")), loaded.describe(&format!("{section}.key")));
    format!("{cert}\n{key}\n  certificate and key cannot be used; name two PEM files that belong together, or leave both out")
}

/// A store without any key gets one, so that the first start is enough to begin.
async fn first_admin_key(process: &Process, data: &Path) -> anyhow::Result<Option<String>> {
    let Some(services) = process.door_services() else { return Ok(None) };
    if services.keys.any().await.context("the keys cannot be read")? {
        return Ok(None);
    }
    let key = make_admin_key(services.keys.as_ref(), services.ids.as_ref(), data, "first start").await?;
    Ok(Some(key))
}

fn banner(role: Role, loaded: &Loaded<Config>, note: &RunNote, new_key: Option<&str>) -> String {
    let (Some(public), Some(url)) = (note.public, &note.public_url) else { return service_banner(role, loaded, note) };
    let data = &loaded.settings.data;
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.clone());
    let key_path = admin_key_path(&absolute);
    let state = if new_key.is_some() { "new" } else { "existing" };
    let mut lines = vec![
        format!("terse {VERSION}: {}", role.what()),
        String::new(),
        format!("  Public     {url}  (listening on {public})"),
        format!("  API        {url}/api/v1"),
        format!("  Admin      http://{}  (/livez /readyz /metrics /config)", note.admin),
        format!("  Data       {}  ({state})", absolute.display()),
        format!("  Config     {}  (terse config show --origin)", loaded.summary()),
    ];
    if let Some(key) = new_key {
        lines.push(format!("  Admin key  {key}"));
        lines.push(format!("             shown once; also in {}", key_path.display()));
    }
    if new_key.is_some() || key_path.exists() {
        lines.push(String::new());
        lines.push("Try:".into());
        lines.push(curl(loaded, url, public, &key_path));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn service_banner(role: Role, loaded: &Loaded<Config>, note: &RunNote) -> String {
    let grpc = note.grpc.map_or_else(String::new, |grpc| grpc.to_string());
    let lines = [
        format!("terse {VERSION}: {}", role.what()),
        String::new(),
        format!("  gRPC       {grpc}"),
        format!("  Admin      http://{}  (/livez /readyz /metrics /config)", note.admin),
        format!("  Config     {}  (terse config show --origin)", loaded.summary()),
        String::new(),
    ];
    lines.join("\n")
}

/// A line that works when it is pasted into a shell on this machine.
fn curl(loaded: &Loaded<Config>, url: &str, public: SocketAddr, key_path: &Path) -> String {
    // Loopback names are the default domain, so the line works before DNS and proxies do.
    let base = match &loaded.settings.tls.cert {
        Some(_) => url.to_owned(),
        None => format!("http://{}", doctor::reachable(public)),
    };
    format!(
        "  curl -sS {base}/api/v1/links -H \"Authorization: Bearer $(cat {})\" -H 'Content-Type: application/json' -d '{{\"target\":\"https://example.com/a\"}}'",
        shell_quoted(&key_path.display().to_string())
    )
}

fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use chassis::config::{Flag, Sources, load};

    use super::*;

    fn loaded(data: &str) -> Loaded<Config> {
        let flags = vec![Flag { key: "data".into(), name: "--data".into(), value: data.into() }];
        load(&Sources { flags, ..Sources::default() }).unwrap()
    }

    fn note() -> RunNote {
        RunNote {
            pid: 1,
            version: VERSION.into(),
            role: "serve".into(),
            public: Some(([0, 0, 0, 0], 8080).into()),
            grpc: None,
            admin: ([127, 0, 0, 1], 8081).into(),
            public_url: Some("https://go.example.com".into()),
        }
    }

    #[test]
    fn the_banner_shows_the_key_once_and_a_curl_line() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = loaded(folder.path().to_str().unwrap());
        let first = banner(Role::Serve, &loaded, &note(), Some("tk_first"));
        for part in [
            "https://go.example.com/api/v1",
            "http://127.0.0.1:8081",
            "tk_first",
            "(new)",
            "1 from flags",
            "curl -sS http://127.0.0.1:8080/api/v1/links",
        ] {
            assert!(first.contains(part), "{part} not in {first}");
        }
        std::fs::write(admin_key_path(folder.path()), "tk_first").unwrap();
        let second = banner(Role::Serve, &loaded, &note(), None);
        assert!(!second.contains("tk_first") && second.contains("curl") && second.contains("(existing)"), "{second}");
    }

    #[test]
    fn odd_paths_are_quoted_for_the_shell() {
        assert_eq!(shell_quoted("/srv/terse-data"), "/srv/terse-data");
        assert_eq!(shell_quoted("/my data/it's"), r"'/my data/it'\''s'");
    }

    #[tokio::test]
    async fn a_port_in_use_names_value_origin_and_mend() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = taken.local_addr().unwrap().to_string();
        let flags = vec![Flag { key: "listen".into(), name: "--listen".into(), value: text.clone() }];
        let loaded: Loaded<Config> = load(&Sources { flags, ..Sources::default() }).unwrap();
        let error = format!("{:#}", bind(&loaded, "listen", loaded.settings.listen.0).unwrap_err());
        for part in [text.as_str(), "flag --listen", "another process listens there", "choose another port with --listen"] {
            assert!(error.contains(part), "{part} not in {error}");
        }
    }
}
