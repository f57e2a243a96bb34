//! `terse link …`

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::api::{Api, ConnectArgs, Refused, encode, query};
use super::table::{shown, table, time};
use crate::failure::WrongUse;
use crate::output::{Output, say, say_json};
use crate::progress;

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
    /// What the link is called in lists.
    #[arg(long)]
    title: Option<String>,
    /// May be given again.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// 301, 302, 307 or 308.
    #[arg(long, value_name = "STATUS")]
    redirect_status: Option<String>,
    /// `exact`, `balanced` or `fast`.
    #[arg(long, value_name = "MODE")]
    caching: Option<String>,
    /// Append the request's query to the target: `true` or `false`.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    forward_query: Option<String>,
    /// From when the link redirects, e.g. 2026-12-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    starts_at: Option<String>,
    /// Until when the link redirects.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// After how many redirects the link is used up.
    #[arg(long, value_name = "NUMBER")]
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
    /// How many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Only links with this tag.
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
    /// Where the link shall lead.
    #[arg(long, value_name = "URL")]
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
    /// The host the code belongs to.
    #[arg(long, value_name = "HOST", requires = "link")]
    of_domain: Option<String>,
    /// Every link with this tag, as a job.
    #[arg(long, group = "what")]
    tag: Option<String>,
    /// Every link of this domain, as a job.
    #[arg(long, group = "what", value_name = "HOST")]
    all_of_domain: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// How a text of the command line becomes a value of the API.
type Reading = fn(&str) -> Value;

impl FieldArgs {
    /// Empty texts become null; numbers are left to the server to judge.
    fn write_to(&self, body: &mut Map<String, Value>) {
        let text = |text: &str| json!(text);
        let number = |text: &str| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
        let flag = |text: &str| text.parse::<bool>().map_or_else(|_| json!(text), |flag| json!(flag));
        let fields: [(&str, &Option<String>, Reading); 7] = [
            ("title", &self.title, text),
            ("redirect_status", &self.redirect_status, number),
            ("caching", &self.caching, text),
            ("forward_query", &self.forward_query, flag),
            ("starts_at", &self.starts_at, text),
            ("expires_at", &self.expires_at, text),
            ("max_clicks", &self.max_clicks, number),
        ];
        for (name, given, value) in fields {
            if let Some(given) = given {
                body.insert(name.to_owned(), if given.is_empty() { Value::Null } else { value(given) });
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
    let (host, code) = host_and_code(link, domain);
    if code.is_empty() {
        return Err(WrongUse(format!("`{}` names no link; give a code, a short URL or an id", link.escape_debug())).into());
    }
    let answer = if code.len() >= 15 && code.bytes().all(|byte| byte.is_ascii_digit()) {
        api.get(&format!("/api/v1/links/{code}")).await
    } else {
        api.get(&format!("/api/v1/links/lookup{}", query(&[("domain", host), ("code", Some(code.to_owned()))]))).await
    };
    answer.map_err(|error| match error.downcast_ref::<Refused>() {
        Some(refused) if refused.status == http::StatusCode::NOT_FOUND => {
            error.context(format!("there is no link `{}` for this key; `terse link list` shows what there is", link.escape_debug()))
        }
        Some(_) | None => error,
    })
}

/// What follows the path of a short URL is not part of its code.
fn host_and_code(link: &str, domain: Option<String>) -> (Option<String>, &str) {
    let link = link.trim();
    let Some((_, rest)) = link.split_once("://") else { return (domain, link) };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, code) = rest.split_once('/').unwrap_or((rest, ""));
    (Some(host.to_owned()), code.trim_end_matches('/').trim_end_matches('+'))
}

fn path(link: &Value) -> String {
    format!("/api/v1/links/{}", encode(link["id"].as_str().unwrap_or_default()))
}

impl Command {
    pub(crate) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Create(args) => create(args, output).await,
            Self::Show(args) => {
                show(&args.which.find(&args.connect.connect()?).await?, output);
                Ok(())
            }
            Self::List(args) => list(args, output).await,
            Self::Update(args) => update(args, output).await,
            Self::Delete(args) => delete(args, output).await,
            Self::Restore(args) => {
                let api = args.connect.connect()?;
                let link = args.which.find(&api).await?;
                show(&api.post(&format!("{}/restore", path(&link)), &json!({})).await?, output);
                Ok(())
            }
        }
    }
}

fn show(link: &Value, output: Output) {
    match output {
        Output::Json => say_json(link),
        Output::Text => {
            let fields = link.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null() && **value != json!([]));
            for (name, value) in fields {
                say(format!("{name:<15}  {}", shown(value)));
            }
        }
    }
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
        Output::Text => say(shown(&link["short_url"])),
    }
    Ok(())
}

async fn list(args: ListArgs, output: Output) -> anyhow::Result<()> {
    let api = args.connect.connect()?;
    let (mut links, mut cursor) = (Vec::new(), None);
    let limit = usize::try_from(args.limit)?;
    while links.len() < limit {
        let limit = (limit - links.len()).min(1_000).to_string();
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
        Output::Text if links.is_empty() && (args.tag.is_some() || args.state.is_some() || args.q.is_some()) => say("No link matches."),
        Output::Text if links.is_empty() => say("No links. Make one:  terse link create https://example.com"),
        Output::Text => {
            let mut rows = table(&["short url", "target", "title", "tags", "state", "created"]);
            for link in &links {
                let texts = ["short_url", "target", "title", "tags", "state"].map(|name| shown(&link[name]));
                rows.add_row(texts.into_iter().chain([time(&link["created_at"])]));
            }
            say(rows.trim_fmt());
            if cursor.is_some() {
                say(format!("\nThe newest {}; --limit shows more.", links.len()));
            }
        }
    }
    Ok(())
}

async fn update(args: UpdateArgs, output: Output) -> anyhow::Result<()> {
    let mut body = Map::new();
    args.fields.write_to(&mut body);
    for (name, value) in [("target", args.target), ("state", args.state)] {
        if let Some(value) = value {
            body.insert(name.into(), json!(value));
        }
    }
    if body.is_empty() {
        return Err(WrongUse("nothing to change; see `terse link update --help`".into()).into());
    }
    let api = args.connect.connect()?;
    let path = path(&args.which.find(&api).await?);
    let (link, headers) = api.call(http::Method::GET, &path, None).await?;
    if let Some(version) = args.if_version {
        anyhow::ensure!(
            link["version"] == json!(version),
            "the link is at version {}, not {version}; nothing was changed",
            link["version"]
        );
    }
    // Of the version just compared, so that a change in between is not overwritten unseen.
    let etag = headers.get(http::header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or("*").to_owned();
    let body = Value::Object(body);
    let headers: &[_] = if args.if_version.is_some() { &[(http::header::IF_MATCH, etag.as_str())] } else { &[] };
    show(&api.call(http::Method::PATCH, &path, Some((&body, headers))).await?.0, output);
    Ok(())
}

async fn delete(args: DeleteArgs, output: Output) -> anyhow::Result<()> {
    let api = args.connect.connect()?;
    let selection = match (&args.link, &args.tag, &args.all_of_domain) {
        (Some(link), ..) => {
            let link = find(&api, link, args.of_domain.clone()).await?;
            api.delete(&path(&link)).await?;
            match output {
                Output::Json => say_json(&json!({"deleted": link["id"]})),
                Output::Text => say(format!("deleted {}; undo:  terse link restore {}", shown(&link["short_url"]), shown(&link["id"]))),
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
    anyhow::ensure!(job["state"] == "done" && job["errors"] == 0, "the job ended as {}", shown(&job["state"]));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::host_and_code;

    #[test]
    fn of_a_short_url_host_and_code_are_taken() {
        for (link, host, code) in [
            ("spring", None, "spring"),
            (" a/b ", None, "a/b"),
            ("http://go.example.com/spring", Some("go.example.com"), "spring"),
            ("https://localhost:8080/spring/?utm_source=x#y", Some("localhost:8080"), "spring"),
            ("https://go.example.com/spring+", Some("go.example.com"), "spring"),
            ("https://go.example.com/", Some("go.example.com"), ""),
            ("https://go.example.com?x", Some("go.example.com"), ""),
            ("://", Some(""), ""),
        ] {
            assert_eq!(host_and_code(link, None), (host.map(ToOwned::to_owned), code), "{link}");
        }
        assert_eq!(host_and_code("a", Some("b".into())), (Some("b".to_owned()), "a"));
    }
}
