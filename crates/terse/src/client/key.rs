//! `terse key …`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::api::{ConnectArgs, encode};
use super::table::{shown, table, time};
use crate::key_create::{self, CreateArgs};
use crate::output::{Output, say, say_json};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key: with --scope through the API; without, a new admin key in a data folder when all others
    /// are lost, only while the server is stopped.
    #[command(
        after_help = "Example:  terse key create --name ci --scope links:write --scope links:read --owner team-a\n          terse key create --data ./terse-data"
    )]
    Create(Box<MakeArgs>),
    /// List keys; their texts are not kept.
    #[command(after_help = "Example:  terse key list")]
    List(ConnectArgs),
    /// Revoke a key.
    #[command(after_help = "Example:  terse key revoke 7301445920374784")]
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MakeArgs {
    /// What the key is called in lists.
    #[arg(long, requires = "scopes", default_value = "terse key create", hide_default_value = true)]
    name: String,
    /// `links:read`, `links:write`, `stats:read`, `keys:write` or `admin`; may be given again.
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "data")]
    scopes: Vec<String>,
    /// Whom the key acts for.
    #[arg(long, requires = "scopes")]
    owner: Option<String>,
    /// Until when it is valid, e.g. 2027-01-01T00:00:00Z.
    #[arg(long, requires = "scopes", value_name = "TIME")]
    expires_at: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    offline: CreateArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The key's id, as listed.
    id: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(args) if args.scopes.is_empty() => return key_create::run(&args.offline, output).await,
            Self::Create(args) => {
                let mut body = json!({"name": args.name, "scopes": args.scopes});
                for (name, value) in [("owner", args.owner), ("expires_at", args.expires_at)] {
                    if let Some(value) = value {
                        body[name] = json!(value);
                    }
                }
                let made = args.connect.connect()?.post("/api/v1/keys", &body).await?;
                match output {
                    Output::Json => say_json(&made),
                    Output::Text => {
                        say(format!("{}\n\nShown once. Id {}, for {}.", shown(&made["key"]), shown(&made["id"]), shown(&made["owner"])));
                    }
                }
            }
            Self::List(connect) => {
                let keys = connect.connect()?.get("/api/v1/keys").await?;
                match output {
                    Output::Json => say_json(&keys["data"]),
                    Output::Text => {
                        let mut rows = table(&["id", "name", "owner", "scopes", "created", "expires", "revoked"]);
                        for key in keys["data"].as_array().into_iter().flatten() {
                            let texts = ["id", "name", "owner", "scopes"].map(|name| shown(&key[name]));
                            let times = ["created_at", "expires_at", "revoked_at"].map(|name| time(&key[name]));
                            rows.add_row(texts.into_iter().chain(times));
                        }
                        say(rows.trim_fmt());
                    }
                }
            }
            Self::Revoke(args) => {
                args.connect.connect()?.delete(&format!("/api/v1/keys/{}", encode(&args.id))).await?;
                match output {
                    Output::Json => say_json(&json!({"revoked": args.id})),
                    Output::Text => say(format!("revoked {}", args.id)),
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
