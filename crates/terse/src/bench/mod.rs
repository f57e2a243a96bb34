//! `terse bench URL`: an open-loop load generator. Arrival times are fixed beforehand and latency counts from them, so
//! that a server that stalls is charged for every request that would have come meanwhile (no coordinated omission).
//! Read `plan.rs` (when), `choice.rs` (what), `worker.rs` (one connection), `tally.rs` (what is counted), `report.rs`.
#![expect(clippy::doc_markdown, reason = "the comments of arguments are the help, read in a terminal")]

mod choice;
mod dice;
mod histogram;
mod plan;
mod report;
mod tally;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::join_all;
use http::{HeaderName, HeaderValue, Method, Uri};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;
use choice::Choice;
use plan::{Pace, Plan};
use report::Report;
use tally::Tallies;
use worker::Worker;

/// Between two looks at the numbers.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What is asked: http:// or https://, one or several; with --codes, what stands before the slash and the code.
    #[arg(required = true, value_name = "URL", value_parser = parse_url)]
    urls: Vec<Uri>,
    /// Requests a second, planned beforehand at random moments (Poisson). 0: each connection asks as soon as it was
    /// answered, which shows throughput and hides stalls.
    #[arg(long, value_name = "R", default_value_t = 1_000.0, value_parser = parse_rate)]
    rate: f64,
    /// Connections, each kept open, with one request at a time.
    #[arg(long, value_name = "C", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// How long, such as 30s, 500ms or 5m.
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// How long an answer may take from its sending on.
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// A file of codes, one a line, asked at URL/CODE: uniformly at random, unless --zipf or --in-order says otherwise.
    #[arg(long, value_name = "FILE")]
    codes: Option<PathBuf>,
    /// Popularity: the k-th URL or code is asked for in proportion to 1/k^S.
    #[arg(long, value_name = "S", conflicts_with = "in_order", value_parser = parse_exponent)]
    zipf: Option<f64>,
    /// One after the other, from the start again at the end.
    #[arg(long)]
    in_order: bool,
    /// Such as GET, HEAD or POST.
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// Sent with every request, as application/json unless --header says otherwise; {i} becomes the request's number.
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// Another header; may be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The same number gives the same plan and the same choice.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn parse_url(text: &str) -> Result<Uri, String> {
    let url = text.parse::<Uri>().ok();
    let url = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty()));
    url.ok_or_else(|| "expected an address such as http://localhost:8080/4fK9aQz".to_owned())
}

fn parse_number(text: &str, max: f64) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| (0.0..=max).contains(number))
}

fn parse_rate(text: &str) -> Result<f64, String> {
    parse_number(text, 10_000_000.0)
        .ok_or_else(|| "expected requests a second, at most 10,000,000; 0 for as many as are answered".to_owned())
}

fn parse_exponent(text: &str) -> Result<f64, String> {
    parse_number(text, 10.0).ok_or_else(|| "expected a number from 0 (uniform) to 10, such as 1.0".to_owned())
}

/// Longer than zero, at most a day.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 30s, 500ms or 5m".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let unit_s = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit_s;
    if (0.001..=86_400.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || "expected NAME: VALUE".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    Ok((name.trim().parse().map_err(|_| wrong())?, value.trim().parse().map_err(|_| wrong())?))
}

/// # Errors
/// A file of codes that cannot be read or holds none. That nothing answered is told by the exit code.
pub(crate) async fn run(args: &BenchArgs, output: Output) -> anyhow::Result<ExitCode> {
    let choice = Arc::new(Choice::new(args)?);
    let pace = if args.rate > 0.0 { Pace::Open { per_s: args.rate } } else { Pace::Closed };
    let began = Instant::now();
    let plan = Arc::new(Plan::new(pace, began, args.duration, args.seed));
    let tallies = Arc::new(Tallies::default());
    let pacer = plan.start()?;
    let workers = (0..args.connections).map(|number| Worker {
        number,
        seed: args.seed,
        timeout: args.timeout,
        plan: plan.clone(),
        choice: choice.clone(),
        tallies: tallies.clone(),
    });
    // The only tasks of this command: it ends with them.
    #[expect(clippy::disallowed_methods, reason = "nothing is served here that a lifecycle would have to drain")]
    let tasks: Vec<_> = workers.map(|worker| tokio::spawn(worker.run())).collect();
    let mut all = Box::pin(join_all(tasks));
    let bar = progress(output);
    let mut looks = tokio::time::interval(PROGRESS_EVERY);
    let outcomes = loop {
        tokio::select! {
            outcomes = &mut all => break outcomes,
            _ = looks.tick() => bar.set_message(report::line(&tallies, &plan, args.duration)),
            // What was measured so far is told.
            _ = tokio::signal::ctrl_c() => plan.stop(),
        }
    };
    bar.finish_and_clear();
    outcomes.into_iter().collect::<Result<(), _>>()?;
    let took = plan.elapsed();
    if let Some(pacer) = pacer {
        pacer.join().map_err(|_| anyhow::anyhow!("the thread that keeps the plan panicked"))?;
    }
    let report = Report::new(args, &plan, tallies.sum(), took);
    report.say(output);
    Ok(if report.answered() == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn progress(output: Output) -> ProgressBar {
    if output == Output::Json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "30", "s", "0s", "-1s", "1d", "1 s", "25h", "1e3s", "."] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_absolute() {
        assert!(parse_url("http://[::1]:8080").is_ok() && parse_url("https://go.example.com/x").is_ok());
        for wrong in ["", "localhost:8080", "/x", "ftp://x/", "http://"] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_have_a_name_and_a_value() {
        let (name, value) = parse_header("Authorization: Bearer a:b").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer a:b"));
        assert!(parse_header("no colon").is_err() && parse_header("a b: c").is_err());
    }
}
