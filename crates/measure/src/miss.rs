//! Lookups that no cache answers: uniform over all codes of a SQLite file, as it grows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::port::LinkStore as _;
use domain::{DomainNo, Slug};

use crate::figures::{Times, figure, per_s};
use crate::files::Links;
use crate::zipf::Dice;

/// Lookups at once when throughput is measured.
const AT_ONCE: u64 = 64;

pub(crate) async fn run(folder: &str, seconds: &str, sizes: &[&str]) -> anyhow::Result<()> {
    let folder = Path::new(folder);
    let time = Duration::from_secs_f64(seconds.parse()?);
    let mut sizes: Vec<u64> = sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
    sizes.sort_unstable();
    let mut links = Links::open(folder).await?;
    let mut first = None;
    for size in sizes {
        links.grow(size).await?;
        let name = size_name(size);
        // What the kernel and the readers keep of the file is there in the steady state as well.
        one_by_one(&links, time / 4).await?;
        let times = one_by_one(&links, time).await?;
        for (percentile, per_mille) in [("p50", 500), ("p99", 990)] {
            figure(&format!("{percentile}_us_{name}"), times.us(per_mille));
        }
        figure(&format!("lookups_per_s_{name}"), many(&links, time).await?);
        let p50 = times.us(500);
        let smallest = *first.get_or_insert(p50);
        figure(&format!("p50_ratio_{name}"), p50 / smallest);
    }
    links.stores.close().await;
    Ok(())
}

/// 1000000 is `1m`.
fn size_name(size: u64) -> String {
    match size {
        1_000_000.. if size.is_multiple_of(1_000_000) => format!("{}m", size / 1_000_000),
        1_000.. if size.is_multiple_of(1_000) => format!("{}k", size / 1_000),
        _ => size.to_string(),
    }
}

async fn look_up(links: &Links, dice: &mut Dice) -> anyhow::Result<()> {
    let code = links.some_code(dice);
    let slug = Slug::parse(code.as_str()).context("a code that is no slug")?;
    let found = links.stores.links.find(DomainNo::DEFAULT, slug).await?;
    anyhow::ensure!(found.is_some(), "{} is missing", code.as_str());
    Ok(())
}

async fn one_by_one(links: &Links, time: Duration) -> anyhow::Result<Times> {
    let (mut dice, mut times, began) = (Dice::new(1), Vec::new(), Instant::now());
    while began.elapsed() < time {
        let asked = Instant::now();
        look_up(links, &mut dice).await?;
        times.push(asked.elapsed());
    }
    Ok(Times::new(times))
}

async fn many(links: &Links, time: Duration) -> anyhow::Result<f64> {
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let began = Instant::now();
    let workers = (0..AT_ONCE).map(|worker| {
        let count = count.clone();
        async move {
            let mut dice = Dice::new(1_000 + worker);
            while began.elapsed() < time {
                look_up(links, &mut dice).await?;
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            anyhow::Ok(())
        }
    });
    futures_util::future::try_join_all(workers).await?;
    Ok(per_s(count.load(std::sync::atomic::Ordering::Relaxed), began.elapsed()))
}
