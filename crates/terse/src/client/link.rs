//! `terse link …`

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::api::{Api, ConnectArgs, encode, query};
use super::progress;
use super::table::{cell, table};
use crate::output::{Output, say, say_json};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a link.
    #[command(after_help = "Example:  terse link create https://example.com/spring --alias spring --tag sale")]
    Create(CreateArgs),
    /// Show a link.
    #[command(after_help = "Example:  terse link show 4fK9aQz")]
    Show(OneArgs),
    /// List links, newest first.
    #[command(after_help = "Example:  terse link list --tag sale --limit 20")]
    List(ListArgs),
    /// Change a link. An empty value restores the default.
    #[command(after_help = "Example:  terse link update 4fK9aQz --target https://example.com/new --title ''")]
    Update(UpdateArgs),
    /// Delete a link, or all links with a tag. Codes are never reused.
    #[command(after_help = "Example:  terse link delete 4fK9aQz\n          terse link delete --tag old")]
    Delete(DeleteArgs),
    /// Restore a deleted link.
    #[command(after_help = "Example:  terse link restore 4fK9aQz")]
    Restore(OneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Where the link leads.
    target: String,
    #[command(flatten)]
    fields: FieldArgs,
    /// The code, instead of a generated one.
    #[arg(long)]
    alias: Option<String>,
    /// The host that serves the link.
    #[arg(long)]
    domain: Option<String>,
    /// `leased`, `counter`, `snowflake`, `hash` or `random`.
    #[arg(long)]
    strategy: Option<String>,
    /// Characters of a `hash` or `random` code, 7 to 22.
    #[arg(long)]
    code_length: Option<u8>,
    /// Answer the link made for this target before, if there is one.
    #[arg(long)]
    find_or_create: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What both `create` and `update` set.
#[derive(Debug, Args)]
struct FieldArgs {
    #[arg(long)]
    title: Option<String>,
    /// May be given again.
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// 301, 302, 307 or 308.
    #[arg(long)]
    redirect_status: Option<String>,
    /// `exact`, `balanced` or `fast`.
    #[arg(long)]
    caching: Option<String>,
    /// Append the request's query to the target: `true` or `false`.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    forward_query: Option<String>,
    /// From when the link redirects, e.g. 2026-12-01T00:00:00Z.
    #[arg(long)]
    starts_at: Option<String>,
    /// Until when the link redirects.
    #[arg(long)]
    expires_at: Option<String>,
    /// After how many redirects the link is used up.
    #[arg(long)]
    max_clicks: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// A link by code, short URL or id.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Code, short URL, or id.
    #[arg(value_name = "CODE|URL|ID")]
    link: String,
    /// The host the code belongs to.
    #[arg(long = "of-domain", value_name = "HOST")]
    domain: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[arg(long)]
    tag: Option<String>,
    /// `active`, `disabled`, `blocked` or `deleted`.
    #[arg(long)]
    state: Option<String>,
    /// A part of code, target or title.
    #[arg(long, short)]
    q: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    which: Which,
    #[arg(long)]
    target: Option<String>,
    /// `active` or `disabled`.
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    fields: FieldArgs,
    /// Only if the link is still at this version.
    #[arg(long)]
    if_version: Option<u32>,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct DeleteArgs {
    /// Code, short URL, or id.
    #[arg(value_name = "CODE|URL|ID", group = "what")]
    link: Option<String>,
    /// Every link with this tag, as a job.
    #[arg(long, group = "what")]
    tag: Option<String>,
    /// Every link of this domain, as a job.
    #[arg(long, group = "what", value_name = "HOST")]
    all_of_domain: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl FieldArgs {
    /// Empty texts become null; numbers are left to the server to judge.
    fn write_to(&self, body: &mut Map<String, Value>) {
        let number = |text: &String| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
        let or_null = |text: &String, value: &dyn Fn(&String) -> Value| if text.is_empty() { Value::Null } else { value(text) };
        let text = |text: &String| json!(text);
        let flag = |text: &String| text.parse::<bool>().map_or_else(|_| json!(text), |flag| json!(flag));
        let fields: [(&str, &Option<String>, &dyn Fn(&String) -> Value); 7] = [
            ("title", &self.title, &text),
            ("redirect_status", &self.redirect_status, &number),
            ("caching", &self.caching, &text),
            ("forward_query", &self.forward_query, &flag),
            ("starts_at", &self.starts_at, &text),
            ("expires_at", &self.expires_at, &text),
            ("max_clicks", &self.max_clicks, &number),
        ];
        for (name, given, value) in fields {
            if let Some(given) = given {
                body.insert(name.to_owned(), or_null(given, value));
            }
        }
        if !self.tags.is_empty() {
            let tags: Vec<_> = self.tags.iter().filter(|tag| !tag.is_empty()).collect();
            body.insert("tags".to_owned(), json!(tags));
        }
    }
}

impl Which {
    pub(crate) async fn find(&self, api: &Api) -> anyhow::Result<Value> {
        find(api, &self.link, self.domain.clone()).await
    }
}

/// By id when it looks like one, else by code; of a short URL, host and code are taken.
async fn find(api: &Api, link: &str, domain: Option<String>) -> anyhow::Result<Value> {
    if link.len() >= 15 && link.bytes().all(|b| b.is_ascii_digit()) {
        return api.get(&format!("/api/v1/links/{link}")).await;
    }
    let (host, code) = match link.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
        Some((host, code)) => (Some(host.to_owned()), code),
        None => (domain, link),
    };
    api.get(&format!("/api/v1/links/lookup{}", query(&[("domain", host), ("code", Some(code.to_owned()))]))).await
}

fn path(link: &Value) -> String {
    format!("/api/v1/links/{}", encode(link["id"].as_str().unwrap_or_default()))
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Create(args) => create(args, output).await,
            Self::Show(args) => show(&args.which.find(&args.connect.connect()?).await?, output),
            Self::List(args) => list(args, output).await,
            Self::Update(args) => update(args, output).await,
            Self::Delete(args) => delete(args, output).await,
            Self::Restore(args) => {
                let api = args.connect.connect()?;
                let link = args.which.find(&api).await?;
                show(&api.post(&format!("{}/restore", path(&link)), &json!({})).await?, output)
            }
        }
    }
}

fn show(link: &Value, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => say_json(link),
        Output::Text => {
            let mut rows = table(&["field", "value"]);
            for (name, value) in link.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
                rows.add_row([name.clone(), cell(value)]);
            }
            say(rows);
        }
    }
    Ok(())
}

async fn create(args: CreateArgs, output: Output) -> anyhow::Result<()> {
    let mut body = Map::new();
    body.insert("target".into(), json!(args.target));
    args.fields.write_to(&mut body);
    for (name, value) in [("alias", args.alias), ("domain", args.domain), ("strategy", args.strategy)] {
        if let Some(value) = value {
            body.insert(name.into(), json!(value));
        }
    }
    if let Some(length) = args.code_length {
        body.insert("code_length".into(), json!(length));
    }
    if args.find_or_create {
        body.insert("find_or_create".into(), json!(true));
    }
    let link = args.connect.connect()?.post("/api/v1/links", &Value::Object(body)).await?;
    match output {
        Output::Json => say_json(&link),
        Output::Text => say(cell(&link["short_url"])),
    }
    Ok(())
}

async fn list(args: ListArgs, output: Output) -> anyhow::Result<()> {
    let api = args.connect.connect()?;
    let (mut links, mut cursor) = (Vec::new(), None);
    while links.len() < args.limit {
        let limit = (args.limit - links.len()).min(1_000).to_string();
        let pairs =
            [("limit", Some(limit)), ("tag", args.tag.clone()), ("state", args.state.clone()), ("q", args.q.clone()), ("cursor", cursor)];
        let mut page = api.get(&format!("/api/v1/links{}", query(&pairs))).await?;
        if let Value::Array(data) = page["data"].take() {
            links.extend(data);
        }
        cursor = page["next_cursor"].as_str().map(ToOwned::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    match output {
        Output::Json => say_json(&links),
        Output::Text if links.is_empty() => say("No links. Make one:  terse link create https://example.com"),
        Output::Text => {
            let mut rows = table(&["short url", "target", "title", "tags", "state", "created"]);
            for link in &links {
                rows.add_row(["short_url", "target", "title", "tags", "state", "created_at"].map(|name| cell(&link[name])));
            }
            say(rows);
        }
    }
    Ok(())
}

async fn update(args: UpdateArgs, output: Output) -> anyhow::Result<()> {
    let api = args.connect.connect()?;
    let link = args.which.find(&api).await?;
    let mut body = Map::new();
    args.fields.write_to(&mut body);
    for (name, value) in [("target", args.target), ("state", args.state)] {
        if let Some(value) = value {
            body.insert(name.into(), json!(value));
        }
    }
    anyhow::ensure!(!body.is_empty(), "nothing to change; see `terse link update --help`");
    if let Some(version) = args.if_version {
        anyhow::ensure!(link["version"] == json!(version), "the link is at version {}, not {version}", link["version"]);
    }
    // The version just read, so that a change in between is not overwritten unseen.
    let (_, headers) = api.call(http::Method::GET, &path(&link), None).await?;
    let etag = headers.get(http::header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or("*").to_owned();
    let body = Value::Object(body);
    let headers: &[_] = if args.if_version.is_some() { &[(http::header::IF_MATCH, etag.as_str())] } else { &[] };
    show(&api.call(http::Method::PATCH, &path(&link), Some((&body, headers))).await?.0, output)
}

async fn delete(args: DeleteArgs, output: Output) -> anyhow::Result<()> {
    let api = args.connect.connect()?;
    let selection = match (&args.link, &args.tag, &args.all_of_domain) {
        (Some(link), ..) => {
            let link = find(&api, link, None).await?;
            api.delete(&path(&link)).await?;
            match output {
                Output::Json => say_json(&json!({"deleted": link["id"]})),
                Output::Text => say(format!("deleted {}; undo:  terse link restore {}", cell(&link["short_url"]), cell(&link["id"]))),
            }
            return Ok(());
        }
        (None, Some(tag), _) => json!({"tag": tag}),
        (None, None, domain) => json!({"domain": domain}),
    };
    let mut job = api.post("/api/v1/links/bulk-delete", &selection).await?;
    let job_path = format!("/api/v1/jobs/{}", encode(job["id"].as_str().unwrap_or_default()));
    let bar = progress::bar(output, "deleting", Some(0));
    while job["state"] == "running" {
        bar.set_length(job["total"].as_u64().unwrap_or(0));
        bar.set_position(job["done"].as_u64().unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(200)).await;
        job = api.get(&job_path).await?;
    }
    bar.finish_and_clear();
    match output {
        Output::Json => say_json(&job),
        Output::Text => say(format!("{} deleted, {} failed", job["done"], job["errors"])),
    }
    anyhow::ensure!(job["state"] == "done" && job["errors"] == 0, "the job ended as {}", cell(&job["state"]));
    Ok(())
}
