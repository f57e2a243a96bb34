//! `terse export FILE`: one link a line, as JSON, or a CSV table.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::api::{Api, ConnectArgs, encode, query};
use super::table::cell;
use crate::output::{Output, say, say_json};
use crate::progress;

/// Columns of CSV files, in order.
pub(super) const COLUMNS: [&str; 13] = [
    "domain",
    "code",
    "code_kind",
    "target",
    "title",
    "tags",
    "redirect_status",
    "caching",
    "forward_query",
    "starts_at",
    "expires_at",
    "max_clicks",
    "state",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line.
    Jsonl,
    /// A table with a header line.
    Csv,
}

impl Format {
    /// As said, else by the file's ending.
    pub(super) fn of(said: Option<Self>, file: &std::path::Path) -> Self {
        let is_csv = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        said.unwrap_or(if is_csv { Self::Csv } else { Self::Jsonl })
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write; `-` is standard output.
    file: PathBuf,
    /// By default what the file's ending says.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// With the clicks of every day (JSON only; two requests more for each link).
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(crate) async fn run(args: &ExportArgs, output: Output) -> anyhow::Result<()> {
    let api = args.connect.connect()?;
    let format = Format::of(args.format, &args.file);
    anyhow::ensure!(!(args.history && format == Format::Csv), "history needs JSON lines: leave out --format csv");
    let is_stdout = args.file.as_os_str() == "-";
    let part = args.file.with_extension("part");
    let mut sink: Box<dyn std::io::Write + Send> = if is_stdout {
        Box::new(std::io::stdout())
    } else {
        let file = std::fs::File::create(&part).with_context(|| format!("`{}` cannot be written", part.display()))?;
        Box::new(std::io::BufWriter::new(file))
    };
    let default_domain = default_domain(&api).await?;
    let bar = progress::bar(output, "exporting", None);
    let mut rows = match format {
        Format::Jsonl => Rows::Jsonl,
        Format::Csv => {
            writeln!(sink, "{}", COLUMNS.join(","))?;
            Rows::Csv
        }
    };
    let (mut count, mut cursor) = (0_u64, None);
    loop {
        let page = api.get(&format!("/api/v1/links{}", query(&[("limit", Some("1000".into())), ("cursor", cursor)]))).await?;
        for link in page["data"].as_array().into_iter().flatten() {
            let history = if args.history { Some(history(&api, link).await?) } else { None };
            rows.write(&mut sink, &exported(link, &default_domain, history))?;
            count += 1;
            bar.inc(1);
        }
        cursor = page["next_cursor"].as_str().map(ToOwned::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    sink.flush()?;
    drop(sink);
    bar.finish_and_clear();
    if is_stdout {
        return Ok(());
    }
    // Whole or not at all: a half-written export is not mistaken for one.
    std::fs::rename(&part, &args.file).with_context(|| format!("`{}` cannot be written", args.file.display()))?;
    match output {
        Output::Json => say_json(&json!({"links": count, "file": args.file})),
        Output::Text => say(format!("{count} links in {}", args.file.display())),
    }
    Ok(())
}

async fn default_domain(api: &Api) -> anyhow::Result<String> {
    let domains = api.get("/api/v1/domains").await?;
    let domains = domains["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(domains.iter().find(|domain| domain["default"] == true).map(|domain| cell(&domain["host"])).unwrap_or_default())
}

/// The days on which there were clicks.
async fn history(api: &Api, link: &Value) -> anyhow::Result<Value> {
    let id = encode(link["id"].as_str().unwrap_or_default());
    // Imported clicks are older than the link: months first, to see when it began.
    let pairs = [("from", Some("1970-01-01T00:00:00Z".into())), ("interval", Some("month".into()))];
    let months = api.get(&format!("/api/v1/links/{id}/stats{}", query(&pairs))).await?;
    let first = months["series"].as_array().and_then(|months| months.iter().find(|month| month["clicks"] != 0));
    let Some(first) = first.and_then(|month| month["start"].as_str()) else { return Ok(json!([])) };
    let mut from: jiff::civil::Date = first.get(..10).unwrap_or_default().parse().context("the start of a month is not a date")?;
    // 1,000 buckets are the most a call answers.
    let tomorrow = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow()?;
    let mut days = Vec::new();
    while from < tomorrow {
        let to = from.saturating_add(jiff::Span::new().days(900)).min(tomorrow);
        let pairs =
            [("from", Some(format!("{from}T00:00:00Z"))), ("to", Some(format!("{to}T00:00:00Z"))), ("interval", Some("day".into()))];
        let mut stats = api.get(&format!("/api/v1/links/{id}/stats{}", query(&pairs))).await?;
        if let Value::Array(buckets) = stats["series"].take() {
            days.extend(buckets.into_iter().filter(|bucket| bucket["clicks"] != 0));
        }
        from = to;
    }
    Ok(Value::Array(days))
}

/// What `import` can make a link from. The default domain is left out, so that it may have another name elsewhere.
fn exported(link: &Value, default_domain: &str, history: Option<Value>) -> Map<String, Value> {
    let keep = COLUMNS.iter().chain(&["created_at", "id", "owner"]);
    let mut row: Map<String, Value> = keep.map(|name| ((*name).to_owned(), link[*name].clone())).collect();
    if link["domain"] == default_domain {
        row.insert("domain".to_owned(), Value::Null);
    }
    row.extend(history.map(|history| ("history".to_owned(), history)));
    row
}

enum Rows {
    Jsonl,
    Csv,
}

impl Rows {
    fn write(&mut self, sink: &mut dyn std::io::Write, row: &Map<String, Value>) -> std::io::Result<()> {
        match self {
            Self::Jsonl => writeln!(sink, "{}", serde_json::to_string(row)?),
            Self::Csv => {
                let fields = COLUMNS.map(|name| csv_field(&csv_text(row.get(name).unwrap_or(&Value::Null))));
                writeln!(sink, "{}", fields.join(","))
            }
        }
    }
}

/// Between the tags of one field.
pub(super) const TAG_ENDS: [char; 3] = [',', ';', '|'];

/// What begins a formula; `import` takes the apostrophe before it away again.
pub(super) const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Tags that hold what separates tags are a JSON list, any others as people write them.
fn csv_text(value: &Value) -> String {
    let is_unclear = |tag: &Value| tag.as_str().is_some_and(|tag| tag.contains(TAG_ENDS) || tag.starts_with('['));
    if value.as_array().is_some_and(|tags| tags.iter().any(is_unclear)) { value.to_string() } else { cell(value) }
}

/// Quoted where needed (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe, and so
/// does what looks as if it had got one.
fn csv_field(text: &str) -> String {
    let is_formula = text.trim_start_matches('\'').starts_with(FORMULA_STARTS);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{csv_field, csv_text};

    #[test]
    fn fields_are_quoted_and_formulas_disarmed() {
        assert_eq!(csv_field("plain"), "plain");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_field("=1+1"), "'=1+1");
        assert_eq!(csv_field("@x"), "'@x");
        assert_eq!(csv_field("'=1"), "''=1");
        assert_eq!(csv_field("'tis"), "'tis");
    }

    #[test]
    fn tags_are_a_list_where_a_comma_would_be_unclear() {
        assert_eq!(csv_text(&json!(["a", "b c"])), "a, b c");
        assert_eq!(csv_text(&json!(["a,b", "c"])), r#"["a,b","c"]"#);
        assert_eq!(csv_text(&json!(["[x"])), r#"["[x"]"#);
    }
}
