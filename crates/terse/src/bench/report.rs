//! What was measured, for people and for machines. What could not be sent is said as loudly as what was answered.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::BenchArgs;
use super::histogram::Histogram;
use super::plan::{Pace, Plan};
use super::tally::{Failed, Tallies, Tally};
use crate::client::table::{align_right, count, harmless, table};
use crate::output::{Output, say, say_json};

/// Of 100,000.
const PERCENTILES: [(&str, u64); 5] = [("p50", 50_000), ("p90", 90_000), ("p99", 99_000), ("p99_9", 99_900), ("p99_99", 99_990)];
/// More requests than this share sent late, and the plan was not kept.
const LATE_PERCENT_MAX: u64 = 1;

pub(super) struct Report<'a> {
    args: &'a BenchArgs,
    pace: Pace,
    planned: u64,
    unsent: u64,
    tally: Tally,
    took: Duration,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a BenchArgs, plan: &Plan, mut tally: Tally, took: Duration) -> Self {
        let planned = plan.due();
        let unsent = plan.unsent(Instant::now());
        // At least as long as they had waited: leaving them out would make a server faster by being slower.
        for waited in &unsent {
            tally.planned.record(*waited);
        }
        let unsent = u64::try_from(unsent.len()).unwrap_or(u64::MAX);
        Self { args, pace: plan.pace, planned, unsent, tally, took }
    }

    pub(super) fn answered(&self) -> u64 {
        self.tally.answered()
    }

    pub(super) fn say(&self, output: Output) {
        match output {
            Output::Json => say_json(&self.json()),
            Output::Text => say(self.text()),
        }
    }

    fn per_s(&self, what: u64) -> f64 {
        round(float(what) / self.took.as_secs_f64(), 10.0)
    }

    fn json(&self) -> Value {
        let tally = &self.tally;
        let failed: Map<_, _> = Failed::ALL.iter().map(|failed| (failed.name().to_owned(), json!(self.failures(*failed)))).collect();
        let firsts: Map<_, _> = tally.first_failures.iter().map(|(failed, text)| (failed.name().to_owned(), json!(text))).collect();
        let statuses: Map<_, _> = tally.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
        let rate = match self.pace {
            Pace::Open { per_s } => per_s,
            Pace::Closed => 0.0,
        };
        json!({
            "urls": self.args.urls.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "loop": if self.pace == Pace::Closed { "closed" } else { "open" },
            "rate_per_s": rate,
            "connections": self.args.connections,
            "duration_s": round(self.took.as_secs_f64(), 1_000.0),
            "planned": self.planned,
            "unsent": self.unsent,
            "late": { "no_connection_free": tally.late_queued, "here": tally.late_here, "by_ms": times(&tally.behind) },
            "answered": self.answered(),
            "answered_per_s": self.per_s(self.answered()),
            "good_per_s": self.per_s(tally.good.len()),
            "statuses": statuses,
            "failed": failed,
            "first_failures": firsts,
            "connections_opened": tally.opened,
            "body_bytes": tally.body_bytes,
            "latency_ms": times(&tally.planned),
            "good_latency_ms": times(&tally.good),
            "from_sending_ms": times(&tally.sent),
        })
    }

    fn failures(&self, failed: Failed) -> u64 {
        self.tally.failures.get(&failed).copied().unwrap_or(0)
    }

    fn text(&self) -> String {
        let tally = &self.tally;
        let seconds = self.took.as_secs_f64();
        let mut text = match self.pace {
            Pace::Open { per_s } => format!("{per_s} requests/s planned over {} connections for {seconds:.1} s\n\n", self.args.connections),
            Pace::Closed => format!(
                "{} connections as fast as they were answered for {seconds:.1} s; stalls are not seen this way\n\n",
                self.args.connections
            ),
        };
        let mut sums = table(&["planned", "answered", "answered/s", "good/s", "failed", "late", "unsent"]);
        align_right(&mut sums, &[0, 1, 2, 3, 4, 5, 6]);
        let per_s = |what: u64| format!("{:.1}", self.per_s(what));
        let numbers = [self.planned, self.answered(), tally.failed(), tally.late(), self.unsent].map(|number| count(&json!(number)));
        let [planned, answered, failed, late, unsent] = numbers;
        sums.add_row([planned, answered, per_s(self.answered()), per_s(tally.good.len()), failed, late, unsent]);
        let _ = writeln!(text, "{}\n", sums.trim_fmt());
        let mut latency = table(&["milliseconds", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
        align_right(&mut latency, &[1, 2, 3, 4, 5, 6, 7]);
        for (what, histogram) in self.rows() {
            let values = times(histogram);
            let row = ["mean"].into_iter().chain(PERCENTILES.map(|(name, _)| name)).chain(["max"]);
            let row = row.map(|name| values[name].as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}")));
            latency.add_row([what.to_owned()].into_iter().chain(row));
        }
        let _ = writeln!(text, "{}\n", latency.trim_fmt());
        let statuses: Vec<_> = tally.statuses.iter().map(|(status, number)| format!("{status}: {}", count(&json!(number)))).collect();
        let _ = write!(text, "statuses  {}", if statuses.is_empty() { "none".to_owned() } else { statuses.join(", ") });
        self.warnings().iter().for_each(|warning| {
            let _ = write!(text, "\n{warning}");
        });
        text
    }

    fn rows(&self) -> Vec<(&'static str, &Histogram)> {
        match self.pace {
            Pace::Closed => vec![("from sending", &self.tally.sent)],
            Pace::Open { .. } => {
                vec![("from the plan", &self.tally.planned), ("from sending", &self.tally.sent), ("sent late by", &self.tally.behind)]
            }
        }
    }

    /// What has to be known to believe the numbers.
    fn warnings(&self) -> Vec<String> {
        let tally = &self.tally;
        let mut warnings = Vec::new();
        for failed in Failed::ALL {
            if let Some(first) = tally.first_failures.get(&failed) {
                warnings.push(format!(
                    "failed    {} {}; the first: {}",
                    count(&json!(self.failures(failed))),
                    failed.name(),
                    harmless(first)
                ));
            }
        }
        if tally.late() * 100 > self.planned * LATE_PERCENT_MAX || self.unsent > 0 {
            warnings.push(format!(
                "the plan was not kept: {} sent over a millisecond late because no connection was free, {} because this program was \
                 busy, {} not sent; latency from the plan counts all of it, those not sent with the time they had waited",
                count(&json!(tally.late_queued)),
                count(&json!(tally.late_here)),
                count(&json!(self.unsent))
            ));
        }
        if tally.answered() == 0 {
            warnings.push("nothing answered".to_owned());
        }
        warnings
    }
}

/// One line while it runs.
pub(super) fn line(tallies: &Tallies, plan: &Plan, duration: Duration) -> String {
    let (tally, elapsed) = (tallies.sum(), plan.elapsed());
    let p99 = float(tally.planned.percentile_us(99_000)) / 1_000.0;
    format!(
        "{:.0} of {:.0} s   {} answered   {:.0}/s   p99 {p99:.1} ms   {} failed   {} waiting to be sent",
        elapsed.as_secs_f64(),
        duration.as_secs_f64(),
        count(&json!(tally.answered())),
        float(tally.answered()) / elapsed.as_secs_f64().max(0.001),
        count(&json!(tally.failed())),
        count(&json!(plan.waiting())),
    )
}

/// Milliseconds by name; empty where nothing was measured.
fn times(histogram: &Histogram) -> Value {
    let mut values = Map::new();
    if histogram.len() > 0 {
        let mut put = |name: &str, us: u64| values.insert(name.to_owned(), json!(float(us) / 1_000.0));
        put("mean", histogram.mean_us());
        for (name, per_100_000) in PERCENTILES {
            put(name, histogram.percentile_us(per_100_000));
        }
        put("max", histogram.max_us());
    }
    Value::Object(values)
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[expect(clippy::cast_precision_loss, reason = "a number to look at")]
fn float(value: u64) -> f64 {
    value as f64
}
