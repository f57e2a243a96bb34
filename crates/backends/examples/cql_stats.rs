//! How many rows a second the statistics' `apply` gets through, beside as many plain inserts of the bare driver.
//! `cargo run --release -p backends --example cql_stats -- scylla://127.0.1.1:19042/bench [rows]`; the keyspace is made, and kept.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::sync::Arc;
use std::time::Instant;

use backends::scylla::{Options, PartStamps, Scylla, Url, migrate, open_stats};
use backends::system::{SystemClock, SystemEntropy};
use domain::port::{Clock as _, Entropy as _, LogId, LogPosition, Part, StatsStore as _, Tally};
use domain::visitors::Visitors;
use domain::{Counts, Dimension, LinkId, Owner, Slot, Subject};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rows of one call, as the consumer's.
const CALL: u64 = 8_192;
const UNDER_WAY: usize = 64;

fn part(number: u64, links: u64, slot: Slot) -> Part {
    let mut visitors = Visitors::default();
    visitors.add(number);
    let dimensions = [(Dimension::Country, "DE"), (Dimension::Browser, "Chrome"), (Dimension::Referrer, "a.example")];
    let dimensions = dimensions.map(|(dimension, value)| (dimension, [(value.into(), 1)].into())).into();
    Part {
        subject: Subject::Link(LinkId::new(1 + number % links)),
        slot,
        chunk: number / links,
        upto: 1,
        owner: Owner::parse("ann").ok(),
        tally: Tally { counts: Counts { clicks: 1, humans: 1 }, dimensions, visitors: visitors.encode(), visitor_days: 0 },
    }
}

async fn bare(session: &Session, rows: u64, slot: Slot) -> Result<f64> {
    let text = "INSERT INTO click_parts (subject, span, slot, source, chunk, upto, clicks, humans, dimensions, visitors, owner) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    let statement = &session.prepare(text).await?;
    let began = Instant::now();
    let (span, slot) = (i32::try_from(slot.day())?, i32::try_from(slot.get())?);
    let writes = (0..rows).map(|number| async move {
        let (subject, blob) = (format!("l:bare{number}"), vec![7_u8; 20]);
        let visitors = vec![7_u8; 4];
        let values = (subject, span, slot, &blob, 0_i64, 1_i64, 1_i64, 1_i64, &blob, &visitors, "ann", 1_i64);
        session.execute_unpaged(statement, values).await
    });
    stream::iter(writes).buffer_unordered(UNDER_WAY).try_for_each(|_| async { Ok(()) }).await?;
    Ok(rate(rows, began))
}

#[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
fn rate(rows: u64, began: Instant) -> f64 {
    rows as f64 / began.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = Url::parse(&arguments.next().ok_or("give the URL of a keyspace")?)?;
    let rows = arguments.next().map_or(Ok(50_000), |rows| rows.parse::<u64>())?;
    migrate(&url, Options::default()).await?;
    let options = Options { write_timeout: std::time::Duration::from_secs(5), ..Options::default() };
    let cql = Scylla::connect(&url, options).await?;
    let clock = Arc::new(SystemClock);
    let slot = Slot::at(clock.now());
    let stats = open_stats(&cql, clock, &SystemEntropy, PartStamps::Counted).await?;
    let session =
        SessionBuilder::new().known_node(url.nodes().first().ok_or("no server")?).use_keyspace(url.keyspace(), false).build().await?;
    println!("{rows} rows, {UNDER_WAY} under way, {CALL} a call");
    for round in 1..=3 {
        println!("round {round}: bare driver {:>8.0} rows/s", bare(&session, rows, slot).await?);
        for (what, links) in [("each link's first row of the day", rows), ("a thousand links", 1_000)] {
            let log = LogId(u128::from(SystemEntropy.u64()).to_be_bytes());
            let began = Instant::now();
            for from in (0..rows).step_by(usize::try_from(CALL)?) {
                let parts = (from..rows.min(from + CALL)).map(|number| part(number, links, slot)).collect();
                stats.apply(parts, LogPosition { log, partition: 0, offset: from }).await?;
            }
            println!("round {round}: apply, {what:<33} {:>8.0} rows/s", rate(rows, began));
        }
    }
    Ok(())
}
