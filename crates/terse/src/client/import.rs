//! `terse import FILE`: makes links with the codes they had, a thousand a request.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::api::{Api, ConnectArgs, Refused, encode, query};
use super::export::{FORMULA_STARTS, Format, TAG_ENDS};
use super::table::{cell, harmless};
use crate::output::{Output, say, say_json};
use crate::progress;

const BATCH_LEN: usize = 1_000;
/// Before what was refused for now is sent again.
const PAUSES: [Duration; 4] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// Days of history in one request: its body stays below the server's limit.
const DAYS_LEN: usize = 400;
/// Bytes of one line: the longest link, its tags and ten years of days.
const LINE_LEN_MAX: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file to read. CSV needs a header line; `target` (or `url`, `long_url`) and `code` (or `alias`,
    /// `keyword`, `slug`, `short_code`) are enough.
    file: PathBuf,
    /// By default what the file's ending says.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Say what would be made, and make nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// A link of the file: its line, and what to ask for.
struct Row {
    line: usize,
    body: Map<String, Value>,
    state: Option<String>,
    /// On the server it was exported from.
    id: Option<String>,
    /// Clicks by day, as `export --history` wrote them.
    history: Vec<Value>,
}

#[derive(Default)]
struct Summary {
    made: u64,
    /// There already, leading to the same target.
    present: u64,
    failed: u64,
    /// The first of what failed, with lines.
    problems: Vec<String>,
}

impl Summary {
    fn fail(&mut self, line: usize, why: &str) {
        self.failed += 1;
        if self.problems.len() < 20 {
            self.problems.push(format!("line {line}: {why}"));
        }
    }
}

pub(crate) async fn run(args: &ImportArgs, output: Output) -> anyhow::Result<ExitCode> {
    let format = Format::of(args.format, &args.file);
    let mut summary = Summary::default();
    let rows = read(&args.file, format, &mut summary)?;
    if args.dry_run {
        summary.made = u64::try_from(rows.len())?;
    } else {
        let api = args.connect.connect()?;
        let bar = progress::bar(output, "importing", u64::try_from(rows.len()).ok());
        for batch in rows.chunks(BATCH_LEN) {
            send(&api, batch, &mut summary).await?;
            bar.inc(u64::try_from(batch.len())?);
        }
        bar.finish_and_clear();
    }
    match output {
        Output::Json => say_json(&json!({
            "made": summary.made, "present": summary.present, "failed": summary.failed, "problems": summary.problems, "dry_run": args.dry_run,
        })),
        Output::Text => {
            for problem in &summary.problems {
                say(problem);
            }
            let would = if args.dry_run { "would be made" } else { "made" };
            say(format!("{} {would}, {} there already, {} failed", summary.made, summary.present, summary.failed));
        }
    }
    Ok(if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path, format: Format, summary: &mut Summary) -> anyhow::Result<Vec<Row>> {
    let file = std::fs::File::open(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
    let mut rows = Vec::new();
    match format {
        Format::Jsonl => {
            for (i, line) in BufReader::new(file).lines().enumerate() {
                let line = line.with_context(|| format!("`{}` line {}", path.display(), i + 1))?;
                if line.len() > LINE_LEN_MAX {
                    summary.fail(i + 1, "longer than 1 MiB");
                } else if !line.trim().is_empty() {
                    match serde_json::from_str::<Map<String, Value>>(&line) {
                        Ok(link) => rows.push(row(i + 1, &link)),
                        Err(error) => summary.fail(i + 1, &format!("not a JSON object: {error}")),
                    }
                }
            }
        }
        Format::Csv => {
            let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(file);
            let names = reader.headers().with_context(|| format!("`{}` has no header line", path.display()))?;
            let header: Vec<_> = names.iter().map(column).collect();
            if !header.contains(&"target") {
                let names: Vec<_> = names.iter().map(harmless).collect();
                bail!("`{}` has no column `target`, `url` or `long_url`; its columns are: {}", path.display(), names.join(", "));
            }
            for (i, record) in reader.records().enumerate() {
                match record {
                    Ok(record) => rows.push(row(i + 2, &link_of(&header, &record))),
                    Err(error) => summary.fail(i + 2, &error.to_string()),
                }
            }
        }
    }
    Ok(rows)
}

/// Our name for a column, whichever shortener wrote the file.
fn column(name: &str) -> &'static str {
    match name.trim().trim_start_matches('\u{feff}').to_ascii_lowercase().replace([' ', '-'], "_").as_str() {
        "target" | "url" | "long_url" | "original_url" | "destination" | "longurl" => "target",
        "code" | "keyword" | "short_code" | "slug" | "shortcode" => "code",
        "alias" | "custom_alias" => "alias",
        "code_kind" => "code_kind",
        "domain" => "domain",
        "title" => "title",
        "tags" => "tags",
        "redirect_status" => "redirect_status",
        "caching" => "caching",
        "forward_query" => "forward_query",
        "starts_at" | "valid_since" => "starts_at",
        "expires_at" | "valid_until" => "expires_at",
        "max_clicks" | "max_visits" => "max_clicks",
        "state" => "state",
        _ => "",
    }
}

fn link_of(header: &[&'static str], record: &csv::StringRecord) -> Map<String, Value> {
    let mut link = Map::new();
    for (name, text) in header.iter().zip(record.iter()) {
        // The apostrophe that keeps spreadsheets from running a value is ours.
        let text = text.strip_prefix('\'').filter(|rest| rest.trim_start_matches('\'').starts_with(FORMULA_STARTS)).unwrap_or(text);
        if name.is_empty() || text.is_empty() {
            continue;
        }
        let value = match *name {
            "tags" => tags(text),
            "redirect_status" | "max_clicks" => text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)),
            "forward_query" => text.parse::<bool>().map_or_else(|_| json!(text), |flag| json!(flag)),
            _ => json!(text),
        };
        link.insert((*name).to_owned(), value);
    }
    link
}

/// As `export` writes them: a JSON list, or separated by what no tag has then.
fn tags(text: &str) -> Value {
    if let Ok(list @ Value::Array(_)) = serde_json::from_str(text) {
        return list;
    }
    text.split(TAG_ENDS).map(str::trim).filter(|tag| !tag.is_empty()).map(|tag| json!(tag)).collect()
}

/// What the API is asked for. An alias stays one, matched in any case; every other code is kept as it is.
fn row(line: usize, link: &Map<String, Value>) -> Row {
    let mut body = Map::new();
    for name in [
        "target",
        "alias",
        "domain",
        "title",
        "tags",
        "redirect_status",
        "caching",
        "forward_query",
        "starts_at",
        "expires_at",
        "max_clicks",
    ] {
        if let Some(value) = link.get(name).filter(|value| !value.is_null()) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(code) = link.get("code").filter(|code| !code.is_null()) {
        let name = if link.get("code_kind").is_some_and(|kind| kind == "alias") { "alias" } else { "code" };
        body.insert(name.to_owned(), code.clone());
    }
    // What was taken down there must not lead anywhere here.
    let is_off = link.get("state").is_some_and(|state| state == "disabled" || state == "blocked");
    let state = is_off.then(|| "disabled".to_owned());
    let history = link.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let id = link.get("id").and_then(Value::as_str).map(ToOwned::to_owned);
    Row { line, body, state, id, history }
}

/// What the server cannot do now is asked for again, with longer and longer pauses.
async fn send(api: &Api, batch: &[Row], summary: &mut Summary) -> anyhow::Result<()> {
    let mut rows: Vec<&Row> = batch.iter().collect();
    for pause in PAUSES {
        rows = attempt(api, rows, false, summary).await?;
        if rows.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
    }
    attempt(api, rows, true, summary).await.map(drop)
}

/// Answers the rows that may be tried again; at the last attempt they have failed.
async fn attempt<'a>(api: &Api, batch: Vec<&'a Row>, is_last: bool, summary: &mut Summary) -> anyhow::Result<Vec<&'a Row>> {
    let mut again = Vec::new();
    let links: Vec<_> = batch.iter().map(|row| &row.body).collect();
    let answer = api.post("/api/v1/links/bulk", &json!({ "links": links })).await?;
    let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    anyhow::ensure!(results.len() == batch.len(), "{} results for {} links", results.len(), batch.len());
    for (row, result) in batch.into_iter().zip(results) {
        if result["link"].is_object() {
            complete(api, row, &result["link"]).await?;
            summary.made += 1;
        } else if result["problem"]["code"] == "alias_taken"
            && let Some(link) = present(api, row).await?
        {
            // An import that was cut short may have made the link and not come to the rest.
            complete(api, row, &link).await?;
            summary.present += 1;
        } else if !is_last && result["problem"]["code"] == "unavailable" {
            again.push(row);
        } else {
            let problem = &result["problem"];
            summary.fail(row.line, &format!("{}: {}", cell(&problem["code"]), cell(&problem["detail"])));
        }
    }
    Ok(again)
}

/// What a create cannot say: a link that is disabled, and what was counted before.
async fn complete(api: &Api, row: &Row, link: &Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/links/{}", encode(link["id"].as_str().unwrap_or_default()));
    if let Some(state) = &row.state
        && link["state"] != **state
    {
        api.patch(&path, &json!({ "state": state })).await?;
    }
    if row.id.is_some() && link["id"].as_str() == row.id.as_deref() {
        // The very link that was exported: its clicks are counted here.
        return Ok(());
    }
    for days in row.history.chunks(DAYS_LEN) {
        api.post(&format!("{path}/history"), &json!({ "days": days })).await?;
    }
    Ok(())
}

/// The link that has the code, if it leads to the same target: then an earlier import made it.
async fn present(api: &Api, row: &Row) -> anyhow::Result<Option<Value>> {
    let code = row.body.get("code").or_else(|| row.body.get("alias")).and_then(Value::as_str);
    let domain = row.body.get("domain").and_then(Value::as_str);
    let pairs = [("domain", domain.map(ToOwned::to_owned)), ("code", code.map(ToOwned::to_owned))];
    match api.get(&format!("/api/v1/links/lookup{}", query(&pairs))).await {
        Ok(link) => Ok(Some(link).filter(|link| Some(&link["target"]) == row.body.get("target"))),
        Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == http::StatusCode::NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{column, link_of, row};

    #[test]
    fn columns_of_other_shorteners_are_known() {
        for (theirs, ours) in
            [("Long URL", "target"), ("\u{feff}keyword", "code"), ("short-code", "code"), ("maxVisits", ""), ("max visits", "max_clicks")]
        {
            assert_eq!(column(theirs), ours, "{theirs}");
        }
    }

    #[test]
    fn an_alias_stays_an_alias_and_all_else_a_code() {
        let header = ["code", "target", "tags", "code_kind", "max_clicks", "title"];
        let record = csv::StringRecord::from(vec!["Sale", "https://example.com", "a; b", "alias", "7", "'=1"]);
        let body = row(2, &link_of(&header, &record)).body;
        assert_eq!(
            json!(body),
            json!({"target": "https://example.com", "alias": "Sale", "title": "=1", "tags": ["a", "b"], "max_clicks": 7})
        );
        let record = csv::StringRecord::from(vec!["AbC1234", "https://example.com", "", "generated", "", ""]);
        assert_eq!(json!(row(3, &link_of(&header, &record)).body), json!({"target": "https://example.com", "code": "AbC1234"}));
    }
}
