//! Figures on their way to the script, and what they are made of.

use std::time::{Duration, Instant};

/// A line that the script takes up.
pub(crate) fn figure(name: &str, value: f64) {
    println!("FIGURE {name} {}", (value * 1_000.0).round() / 1_000.0);
}

#[expect(clippy::cast_precision_loss, reason = "a number to look at")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

pub(crate) fn len(value: usize) -> f64 {
    float(u64::try_from(value).unwrap_or(u64::MAX))
}

pub(crate) fn per_s(count: u64, took: Duration) -> f64 {
    float(count) / took.as_secs_f64()
}

/// User and system time of this process so far.
pub(crate) fn cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
}

/// Bytes of this process in memory.
pub(crate) fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().next().unwrap_or("0").parse::<u64>()? * 1_024)
}

/// Wall and processor time since it was made.
pub(crate) struct Watch {
    began: Instant,
    cpu: Duration,
}

impl Watch {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Ok(Self { began: Instant::now(), cpu: cpu()? })
    }

    pub(crate) fn wall(&self) -> Duration {
        self.began.elapsed()
    }

    /// The kernel counts it in hundredths of a second.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(cpu()?.saturating_sub(self.cpu).max(Duration::from_millis(10)))
    }
}

/// Times in the order of their length.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub(crate) fn at(&self, per_mille: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last * per_mille).div_ceil(1_000)).copied().unwrap_or_default()
    }

    pub(crate) fn us(&self, per_mille: usize) -> f64 {
        self.at(per_mille).as_secs_f64() * 1e6
    }
}
