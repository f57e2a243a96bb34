//! `terse doctor`: what is wrong, and how to mend it. It changes nothing.

mod certificates;
mod clocks;
pub(crate) mod codes;
mod cql;
mod kafka;
mod machine;
mod places;
mod redis;
mod server;
mod services;
mod settings;

use std::process::ExitCode;

pub(crate) use machine::raise_open_files;
pub(crate) use places::free_disk;
pub(crate) use server::{get, reachable};

use chassis::config::{ConfigError, Loaded};
use chassis::{Finding, Status};

use crate::cli::SettingsArgs;
use crate::config::{ClicksUrl, Config, Store};
use crate::output::{Output, say, say_json};

pub(crate) async fn run(settings: &SettingsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let findings = match settings.load() {
        Ok(loaded) => examine(&loaded).await,
        Err(error) => match error.downcast::<ConfigError>() {
            Ok(error) => of_mistakes(&error),
            Err(other) => return Err(other),
        },
    };
    print(&findings, output);
    let failed = findings.iter().any(|finding| finding.status == Status::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn of_mistakes(error: &ConfigError) -> Vec<Finding> {
    let finding = |mistake: &chassis::config::Mistake| {
        let mend = mistake.mend.clone().unwrap_or_else(|| "correct it where it was set".into());
        let text = mistake.to_string().replace("\n    ", " — ");
        Finding::fail("config", text, mend)
    };
    error.mistakes.iter().map(finding).collect()
}

async fn examine(loaded: &Loaded<Config>) -> Vec<Finding> {
    let config = &loaded.settings;
    let mut findings = vec![Finding::ok("config", loaded.summary())];
    let holder = places::data_folder(&config.data, &mut findings);
    findings.push(places::admin_key(&config.data));
    findings.extend(places::files(config));
    findings.extend(certificates::examine(config));
    findings.extend(settings::examine(config));
    findings.push(machine::clock(config));
    findings.push(machine::open_files(config));
    findings.push(machine::public_url(config));
    findings.extend(shared(loaded).await);
    match holder {
        places::Holder::Nobody => {
            findings.extend(places::stores(config));
            findings.extend(machine::ports(config));
        }
        places::Holder::Somebody(who) => {
            let of_server = server::ask(config, &who).await;
            let is_new = |finding: &Finding| findings.iter().all(|known| known.name != finding.name);
            let new: Vec<Finding> = of_server.into_iter().filter(is_new).collect();
            findings.extend(new);
        }
        places::Holder::Unknown => {}
    }
    findings
}

/// What processes of a fleet share, asked from here.
async fn shared(loaded: &Loaded<Config>) -> Vec<Finding> {
    let config = &loaded.settings;
    let mut findings = Vec::new();
    if let Store::Scylla(url) = config.store() {
        findings.extend(cql::examine(config, &url).await);
    }
    if let ClicksUrl::Kafka(url) = config.clicks() {
        findings.extend(kafka::examine(config, &url).await);
    }
    findings.extend(redis::examine(config).await);
    findings.extend(services::examine(loaded).await);
    findings
}

fn print(findings: &[Finding], output: Output) {
    if output == Output::Json {
        let worst = findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
        say_json(&serde_json::json!({ "status": worst, "findings": findings }));
        return;
    }
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    for finding in findings {
        say(format!("{:<4}  {:<width$}  {}", finding.status, finding.name, finding.detail));
        if let (Some(mend), true) = (&finding.mend, finding.status != Status::Ok) {
            say(format!("{:>width$}    mend: {mend}", "", width = width + 4));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(data: &std::path::Path, more: &[(&str, &str)]) -> Loaded<Config> {
        use chassis::config::{Flag, Sources, load};
        let data = data.to_str().unwrap();
        let flags = [("data", data), ("listen", "127.0.0.1:0"), ("admin_listen", "127.0.0.1:0")]
            .into_iter()
            .chain(more.iter().copied())
            .map(|(key, value)| Flag { key: key.into(), name: key.into(), value: value.into() });
        load(&Sources { flags: flags.collect(), ..Sources::default() }).unwrap()
    }

    fn status(findings: &[Finding], name: &str) -> Status {
        findings.iter().find(|finding| finding.name == name).unwrap_or_else(|| panic!("no {name} in {findings:#?}")).status
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_yet_is_fine_and_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new");
        let findings = examine(&loaded(&data, &[])).await;
        assert!(findings.iter().all(|finding| finding.status != Status::Fail), "{findings:#?}");
        assert!(!data.exists());
    }

    #[tokio::test]
    async fn what_is_wrong_fails_with_a_mend() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        std::fs::write(data.join("admin.key"), "tk_x").unwrap();
        std::fs::set_permissions(data.join("admin.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(
            data.join("terse.db"),
            "not a database, though as long as the header of one is: 100 bytes and then a few more of them",
        )
        .unwrap();
        let missing = data.join("missing.mmdb");
        let findings = examine(&loaded(data, &[("geoip.path", missing.to_str().unwrap())])).await;
        for name in ["admin key", "geoip.path", "store"] {
            assert_eq!(status(&findings, name), Status::Fail, "{name}");
        }
        for finding in findings.iter().filter(|finding| finding.status == Status::Fail) {
            assert!(finding.mend.as_ref().is_some_and(|mend| !mend.is_empty()), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn a_held_folder_without_an_admin_port_fails() {
        let folder = tempfile::tempdir().unwrap();
        let _held = backends::file::lock::FolderLock::take(folder.path()).unwrap();
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let findings = examine(&loaded(folder.path(), &[("admin_listen", &gone)])).await;
        assert_eq!(status(&findings, "data folder"), Status::Ok);
        assert_eq!(status(&findings, "server"), Status::Fail);
    }

    #[test]
    fn mistakes_of_the_configuration_are_findings() {
        use chassis::config::{Flag, Sources, load};
        let flags = vec![Flag { key: "lisen".into(), name: "--set".into(), value: "1".into() }];
        let error = load::<Config>(&Sources { flags, ..Sources::default() }).unwrap_err();
        let findings = of_mistakes(&error);
        assert_eq!(findings[0].status, Status::Fail);
        assert!(findings[0].mend.as_ref().unwrap().contains("did you mean"), "{findings:?}");
    }
}
