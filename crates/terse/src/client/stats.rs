//! `terse stats CODE`

use clap::Args;
use serde_json::{Map, Value, json};

use super::api::{Api, ConnectArgs, encode, query};
use super::link::Which;
use super::table::{cell, sparkline, table};
use crate::output::{Output, say, say_json};

const DIMENSIONS: [(&str, &str); 10] = [
    ("countries", "country"),
    ("referrers", "referrer"),
    ("browsers", "browser"),
    ("systems", "system"),
    ("devices", "device"),
    ("languages", "language"),
    ("utm_source", "UTM source"),
    ("utm_medium", "UTM medium"),
    ("utm_campaign", "UTM campaign"),
    ("bots", "bot"),
];

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    which: Which,
    /// From when, e.g. 2026-11-01T00:00:00Z.
    #[arg(long)]
    from: Option<String>,
    /// Until when.
    #[arg(long)]
    to: Option<String>,
    /// `hour`, `day` or `month`.
    #[arg(long)]
    interval: Option<String>,
    /// IANA time zone, such as Europe/Vienna.
    #[arg(long)]
    tz: Option<String>,
    /// Rows of each table.
    #[arg(long, default_value_t = 5)]
    limit: usize,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(crate) async fn run(args: &StatsArgs, output: Output) -> anyhow::Result<()> {
    let api = args.connect.connect()?;
    let link = args.which.find(&api).await?;
    let path = format!("/api/v1/links/{}/stats", encode(link["id"].as_str().unwrap_or_default()));
    let pairs = [("from", args.from.clone()), ("to", args.to.clone()), ("interval", args.interval.clone()), ("tz", args.tz.clone())];
    let series = api.get(&format!("{path}{}", query(&pairs))).await?;
    let breakdowns = breakdowns(&api, &path, args).await?;
    match output {
        Output::Json => say_json(&json!({"link": link, "stats": series, "breakdowns": breakdowns})),
        Output::Text => print(&link, &series, &breakdowns),
    }
    Ok(())
}

async fn breakdowns(api: &Api, path: &str, args: &StatsArgs) -> anyhow::Result<Map<String, Value>> {
    let pairs = [("from", args.from.clone()), ("to", args.to.clone()), ("limit", Some(args.limit.to_string()))];
    let query = query(&pairs);
    let mut found = Map::new();
    for (dimension, _) in DIMENSIONS {
        let mut answer = api.get(&format!("{path}/{dimension}{query}")).await?;
        found.insert(dimension.to_owned(), answer["data"].take());
    }
    Ok(found)
}

fn print(link: &Value, series: &Value, breakdowns: &Map<String, Value>) {
    say(format!("{}  →  {}", cell(&link["short_url"]), cell(&link["target"])));
    let number = |name: &str| cell(&series[name]);
    say(format!(
        "{} clicks   {} by people   {} by bots   {} visitors",
        number("total"),
        number("humans"),
        number("bots"),
        number("visitors")
    ));
    let buckets = series["series"].as_array().map(Vec::as_slice).unwrap_or_default();
    let clicks: Vec<_> = buckets.iter().map(|bucket| bucket["clicks"].as_u64().unwrap_or(0)).collect();
    say(format!("\n{}", sparkline(&clicks)));
    say(format!("{}  to  {}, by {}, at most {}\n", number("from"), number("to"), number("interval"), clicks.iter().max().unwrap_or(&0)));
    for (dimension, name) in DIMENSIONS {
        let rows = breakdowns.get(dimension).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            continue;
        }
        let mut shown = table(&[name, "clicks", "share"]);
        for row in rows {
            let share = row["share"].as_f64().unwrap_or(0.0);
            shown.add_row([cell(&row["value"]), cell(&row["clicks"]), format!("{:.1} %", share * 100.0)]);
        }
        say(shown);
    }
}
