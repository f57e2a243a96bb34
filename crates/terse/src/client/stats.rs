//! `terse stats CODE`

use clap::Args;
use serde_json::{Map, Value, json};

use super::api::{Api, ConnectArgs, encode, query};
use super::link::Which;
use super::table::{align_right, count, shown, sparkline, squeeze, table, time};
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
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
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

/// Columns of the chart.
const CHART_WIDTH: usize = 60;

fn print(link: &Value, series: &Value, breakdowns: &Map<String, Value>) {
    say(format!("{} → {}", shown(&link["short_url"]), shown(&link["target"])));
    say(format!("{} to {}\n", time(&series["from"]), time(&series["to"])));
    let mut totals = table(&["clicks", "by people", "by bots", "visitors"]);
    align_right(&mut totals, &[0, 1, 2, 3]);
    totals.add_row(["total", "humans", "bots", "visitors"].map(|name| count(&series[name])));
    say(totals.trim_fmt());
    chart(series);
    for (dimension, name) in DIMENSIONS {
        let rows = breakdowns.get(dimension).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        // That nothing is known is not worth a table.
        if rows.iter().all(|row| row["value"] == "unknown") {
            continue;
        }
        let mut shares = table(&[name, "clicks", "share"]);
        align_right(&mut shares, &[1, 2]);
        for row in rows {
            let share = row["share"].as_f64().unwrap_or(0.0);
            shares.add_row([shown(&row["value"]), count(&row["clicks"]), format!("{:.1} %", share * 100.0)]);
        }
        say(format!("\n{}", shares.trim_fmt()));
    }
}

fn chart(series: &Value) {
    let buckets = series["series"].as_array().map(Vec::as_slice).unwrap_or_default();
    let clicks: Vec<_> = buckets.iter().map(|bucket| bucket["clicks"].as_u64().unwrap_or(0)).collect();
    let (bars, each) = squeeze(&clicks, CHART_WIDTH);
    let (Some(first), Some(last), Some(most)) = (buckets.first(), buckets.last(), bars.iter().max()) else { return };
    let interval = shown(&series["interval"]);
    let per = if each == 1 { format!("a {interval}") } else { format!("in {each} {interval}s") };
    say(format!("\n{}  at most {} {per}", sparkline(&bars), count(&json!(most))));
    let label = |bucket: &Value| {
        let start = time(&bucket["start"]);
        start.strip_suffix(" 00:00").map_or_else(|| start.clone(), ToOwned::to_owned)
    };
    let (first, last) = (label(first), label(last));
    let gap = bars.len().saturating_sub(first.len() + last.len()).max(3);
    say(format!("{first}{:gap$}{last}", ""));
}
