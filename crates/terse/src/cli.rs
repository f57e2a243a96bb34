//! The commands. Each has its file; this one only names them and hands over.
#![expect(clippy::doc_markdown, reason = "the comments are the help, read in a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use chassis::config::{Environment, Flag, Loaded, Sources};
use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::output::Output;
use crate::role::Role;
use crate::{backup, bench, client, config_show, doctor, health, measures, migrate, output, restore, serve};

/// A URL shortener: one binary, one folder, nothing to install.
#[derive(Debug, Parser)]
#[command(name = "terse", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Start here:  terse serve")]
pub(crate) struct Cli {
    /// Answer in JSON, for machines.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process.
    #[command(after_help = "Example:  terse serve --listen 0.0.0.0:8080 --public-url https://go.example.com --data /srv/terse")]
    Serve(SettingsArgs),
    /// Run the public port alone; the services are elsewhere.
    #[command(after_help = "Example:  terse gateway --config terse.toml --listen 0.0.0.0:8080")]
    Gateway(SettingsArgs),
    /// Run the service that resolves codes.
    #[command(after_help = "Example:  terse redirect --config terse.toml --set grpc.listen=0.0.0.0:7003")]
    Redirect(SettingsArgs),
    /// Run the service that creates and changes links.
    #[command(after_help = "Example:  terse links --config terse.toml --set services.ids=ids.internal:7001")]
    Links(SettingsArgs),
    /// Run the service that hands out ids and blocks of codes.
    #[command(after_help = "Example:  terse ids --config terse.toml --set ids.worker=3")]
    Ids(SettingsArgs),
    /// Run the service that counts clicks and answers statistics.
    #[command(after_help = "Example:  terse analytics --config terse.toml")]
    Analytics(SettingsArgs),
    /// Show the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check configuration, data folder, stores and the running server; exit 1 when anything fails.
    #[command(after_help = "Example:  terse doctor --data /srv/terse")]
    Doctor(SettingsArgs),
    /// Ask the server of this machine whether it is ready; exit 1 when it is not. For container engines.
    #[command(after_help = "Example:  terse health --admin-listen 127.0.0.1:8091")]
    Health(health::HealthArgs),
    /// Bring the stores' schema, and topics, up to date. Safe to repeat; `serve` does the same at start on SQLite.
    #[command(
        after_help = "Example:  terse migrate --plan --config terse.toml    says what it would do\n          terse migrate --data /srv/terse"
    )]
    Migrate(migrate::MigrateArgs),
    /// Copy everything that a data folder holds, while its server runs.
    #[command(
        after_help = "Example:  terse backup /backups/2027-01-31 --data /srv/terse\nOf a CQL store, its servers make snapshots: docs/backup.md"
    )]
    Backup(backup::BackupArgs),
    /// Put a backup back into an empty folder, so that no code of a lost link is given out again.
    #[command(
        after_help = "Examples:\n  terse restore /backups/2027-01-31 --data /srv/terse\n  terse restore --in-place --taken-at 2027-01-31T18:00:00Z --config terse.toml\nThe second is for snapshots that the servers of a CQL store put back: docs/backup.md"
    )]
    Restore(restore::RestoreArgs),
    /// Load a server by a plan made beforehand, and measure its answers.
    #[command(
        after_help = "Example:  terse bench http://localhost:8080 --codes codes.txt --zipf 1 --rate 5000 --connections 64 --duration 30s"
    )]
    Bench(bench::BenchArgs),
    /// Print the API's OpenAPI document.
    #[command(hide = true)]
    Openapi,
    /// Print the list of metrics.
    #[command(hide = true)]
    Metrics,
    #[command(flatten)]
    Client(client::Command),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every effective value, secrets masked.
    #[command(after_help = "Example:  terse config show --origin --config terse.toml")]
    Show(config_show::ShowArgs),
}

/// What may be set on the command line. Everything else goes by `--set`, the file or the environment.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration (flags win over TERSE__SECTION__FIELD, that over the file)")]
pub(crate) struct SettingsArgs {
    /// TOML file to read [env: TERSE__CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the public port [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Address of the admin port [default: 127.0.0.1:8081].
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// Folder that holds everything [default: ./terse-data].
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// What short links begin with [default: http://localhost:8080].
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Where links are kept: sqlite:PATH or scylla://HOST,HOST/KEYSPACE [default: sqlite:DATA/terse.db].
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Second cache tier: memory:, redis://HOST:PORT or redis-cluster://HOST:PORT,… [default: memory:].
    #[arg(long, value_name = "URL")]
    cache: Option<String>,
    /// Where clicks are logged: file:FOLDER or kafka://HOST:PORT,…/TOPIC [default: file:DATA/clicks].
    #[arg(long, value_name = "URL")]
    clicks: Option<String>,
    /// `auto`, `pretty` or `json` [default: auto].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// `error`, `warn`, `info`, `debug`, `trace` or `off` [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Any other key, e.g. `--set limits.creates_per_key_per_h=1000`; `terse config show` lists them.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as limits.creates_per_key_per_h=1000")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl SettingsArgs {
    /// # Errors
    /// Every mistake of every layer at once.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded<Config>> {
        Ok(chassis::config::load(&self.sources(Environment::of_process()))?)
    }

    #[cfg(test)]
    pub(crate) fn of(data: &std::path::Path, admin_listen: Option<std::net::SocketAddr>) -> Self {
        let admin_listen = admin_listen.map(|address| address.to_string());
        Self { data: Some(data.to_string_lossy().into_owned()), admin_listen, ..Self::default() }
    }

    fn sources(&self, environment: Environment) -> Sources {
        let named = [
            ("listen", "--listen", &self.listen),
            ("admin_listen", "--admin-listen", &self.admin_listen),
            ("data", "--data", &self.data),
            ("public_url", "--public-url", &self.public_url),
            ("store", "--store", &self.store),
            ("cache", "--cache", &self.cache),
            ("clicks", "--clicks", &self.clicks),
            ("log.format", "--log-format", &self.log_format),
            ("log.level", "--log-level", &self.log_level),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, name, value)| value.clone().map(|value| Flag { key: key.into(), name: name.into(), value }));
        let set = self.set.iter().cloned().map(|(key, value)| Flag { key, name: "--set".into(), value });
        Sources { file: self.config.clone(), environment, flags: named.chain(set).collect() }
    }
}

impl Cli {
    pub(crate) fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::Text }
    }

    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let output = self.output();
        match self.command {
            Command::Serve(settings) => run(Role::Serve, &settings, output).await,
            Command::Gateway(settings) => run(Role::Gateway, &settings, output).await,
            Command::Redirect(settings) => run(Role::Redirect, &settings, output).await,
            Command::Links(settings) => run(Role::Links, &settings, output).await,
            Command::Ids(settings) => run(Role::Ids, &settings, output).await,
            Command::Analytics(settings) => run(Role::Analytics, &settings, output).await,
            Command::Config(ConfigCommand::Show(args)) => config_show::run(&args, output),
            Command::Doctor(settings) => doctor::run(&settings, output).await,
            Command::Health(args) => health::run(&args, output).await,
            Command::Migrate(args) => migrate::run(&args, output).await,
            Command::Backup(args) => backup::run(&args, output),
            Command::Restore(args) => Box::pin(restore::run(&args, output)).await,
            Command::Bench(args) => Box::pin(bench::run(&args, output)).await,
            Command::Openapi => {
                output::say(gateway::openapi_json());
                Ok(ExitCode::SUCCESS)
            }
            Command::Metrics => {
                output::say(measures::page().trim_end());
                Ok(ExitCode::SUCCESS)
            }
            Command::Client(command) => Box::pin(command.run(output)).await,
        }
    }
}

async fn run(role: Role, settings: &SettingsArgs, output: Output) -> anyhow::Result<ExitCode> {
    Box::pin(serve::run(role, &settings.load()?, output)).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_has_help_with_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.is_hide_set() || command.get_name() == "help" {
                return;
            }
            assert!(command.get_about().is_some(), "{path} says nothing");
            if command.has_subcommands() {
                command.get_subcommands().for_each(|inner| check(inner, &path));
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example") && help.contains(path.trim()), "{path} has no example");
            }
        }
        Cli::command().get_subcommands().for_each(|command| check(command, "terse"));
    }

    #[test]
    fn flags_become_keys() {
        let cli = Cli::try_parse_from(["terse", "serve", "--listen", "127.0.0.1:1", "--set", "log.level=debug", "--json"]).unwrap();
        assert_eq!(cli.output(), Output::Json);
        let Command::Serve(settings) = cli.command else { panic!("not serve") };
        let flags = settings.sources(Environment::default()).flags;
        let flags: Vec<_> = flags.iter().map(|flag| (flag.key.as_str(), flag.value.as_str())).collect();
        assert_eq!(flags, [("listen", "127.0.0.1:1"), ("log.level", "debug")]);
    }
}
