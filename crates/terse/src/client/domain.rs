//! `terse domain …`

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::api::{ConnectArgs, encode};
use super::table::{shown, table};
use crate::failure::WrongUse;
use crate::output::{Output, say, say_json};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the hosts that serve short links.
    #[command(after_help = "Example:  terse domain list")]
    List(ConnectArgs),
    /// Add a host.
    #[command(after_help = "Example:  terse domain create go.example.com --redirect-status 301")]
    Create(DomainArgs),
    /// Change a host's defaults. An empty value restores the built-in one.
    #[command(after_help = "Example:  terse domain update go.example.com --landing-url https://example.com/")]
    Update(DomainArgs),
    /// Remove a host that has no links.
    #[command(after_help = "Example:  terse domain delete go.example.com")]
    Delete(HostArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DomainArgs {
    /// The host, with its port if it has an unusual one.
    host: String,
    /// 301, 302, 307 or 308, for links that do not say.
    #[arg(long, value_name = "STATUS")]
    redirect_status: Option<String>,
    /// `exact`, `balanced` or `fast`, for links that do not say.
    #[arg(long, value_name = "MODE")]
    caching: Option<String>,
    /// Where the bare host leads.
    #[arg(long, value_name = "URL")]
    landing_url: Option<String>,
    /// Where browsers are sent when a code leads nowhere.
    #[arg(long, value_name = "URL")]
    not_found_url: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// The host, with its port if it has an unusual one.
    host: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl DomainArgs {
    fn body(&self) -> Map<String, Value> {
        let number = |text: &String| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
        let status = self.redirect_status.as_ref().map(number);
        let texts = [("caching", &self.caching), ("landing_url", &self.landing_url), ("not_found_url", &self.not_found_url)];
        let texts = texts.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, json!(value))));
        let given = status.map(|status| ("redirect_status", status)).into_iter().chain(texts);
        given.map(|(name, value)| (name.to_owned(), if value == json!("") { Value::Null } else { value })).collect()
    }
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        let answer = match self {
            Self::List(connect) => connect.connect()?.get("/api/v1/domains").await?["data"].take(),
            Self::Create(args) => {
                let mut body = args.body();
                body.insert("host".to_owned(), json!(args.host));
                args.connect.connect()?.post("/api/v1/domains", &Value::Object(body)).await?
            }
            Self::Update(args) => {
                let path = format!("/api/v1/domains/{}", encode(&args.host));
                let body = args.body();
                if body.is_empty() {
                    return Err(WrongUse("nothing to change; see `terse domain update --help`".into()).into());
                }
                args.connect.connect()?.patch(&path, &Value::Object(body)).await?
            }
            Self::Delete(args) => {
                args.connect.connect()?.delete(&format!("/api/v1/domains/{}", encode(&args.host))).await?;
                json!({"deleted": args.host})
            }
        };
        if output == Output::Json {
            say_json(&answer);
            return Ok(());
        }
        if let Some(host) = answer["deleted"].as_str() {
            say(format!("deleted {host}"));
            return Ok(());
        }
        let mut rows = table(&["host", "status", "caching", "landing", "not found"]);
        let one = [answer.clone()];
        for domain in answer.as_array().map_or(one.as_slice(), Vec::as_slice) {
            rows.add_row(["host", "redirect_status", "caching", "landing_url", "not_found_url"].map(|name| shown(&domain[name])));
        }
        say(rows.trim_fmt());
        Ok(())
    }
}
