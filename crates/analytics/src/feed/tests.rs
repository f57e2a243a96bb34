//! Partitions that come and go, without a log behind them.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use domain::port::{ClickBatch, LiveClicks, LogId, LogPosition, PortResult};
use domain::{Browser, Device, DomainNo, LinkId, LoggedClick, System, UnixMs};
use tokio::sync::mpsc;

use super::*;
use crate::testing::{At, MemoryStats, owner};

const LOG: LogId = LogId([4; 16]);
const NOW: UnixMs = UnixMs::new(1_795_000_000_000);

struct Feed(mpsc::Receiver<Assignment>);

#[async_trait]
impl ClickFeed for Feed {
    async fn next(&mut self) -> PortResult<Assignment> {
        match self.0.recv().await {
            Some(change) => Ok(change),
            None => std::future::pending().await,
        }
    }
}

/// Ten clicks, then none.
struct Source {
    partition: u32,
    at: u64,
    commits: mpsc::Sender<(u32, u64)>,
}

#[async_trait]
impl ClickSource for Source {
    fn log(&self) -> LogId {
        LOG
    }

    fn partition(&self) -> u32 {
        self.partition
    }

    async fn start(&self) -> PortResult<u64> {
        Ok(0)
    }

    async fn seek(&mut self, offset: u64) -> PortResult<u64> {
        self.at = offset;
        Ok(offset)
    }

    async fn next_batch(&mut self, _max: usize) -> PortResult<ClickBatch> {
        if self.at == 10 {
            std::future::pending::<()>().await;
        }
        let start = LogPosition { log: LOG, partition: self.partition, offset: self.at };
        let (offsets, clicks) = (self.at..10).map(|offset| (offset, click())).unzip();
        self.at = 10;
        Ok(ClickBatch { start, clicks, next_offset: 10, offsets, traces: Vec::new() })
    }

    async fn commit(&mut self, offset: u64) -> PortResult<()> {
        self.commits.send((self.partition, offset)).await.unwrap();
        Ok(())
    }

    /// As if much were left: nobody waits for it.
    fn lag(&self) -> u64 {
        1_000_000
    }
}

fn click() -> LoggedClick {
    LoggedClick {
        link: LinkId::new(7),
        domain: Some(DomainNo::DEFAULT),
        code: "4fK9aQz".into(),
        owner: owner("ann"),
        at: NOW,
        visitor: 1,
        country: None,
        language: None,
        referrer: "".into(),
        browser: Browser::Firefox,
        system: System::Linux,
        device: Device::Desktop,
        bot: "".into(),
        utm_source: "".into(),
        utm_medium: "".into(),
        utm_campaign: "".into(),
    }
}

#[derive(Default)]
struct Counts(Mutex<u64>);

#[async_trait]
impl LiveCounts for Counts {
    async fn add(&self, counts: &[LiveClicks]) -> PortResult<()> {
        *self.0.lock().unwrap() += counts.iter().map(|counts| counts.clicks).sum::<u64>();
        Ok(())
    }
}

#[tokio::test]
async fn each_partition_is_counted_while_it_is_ours_and_what_is_read_again_is_not_counted_live() {
    let (store, live, life) = (Arc::new(MemoryStats::default()), Arc::new(Counts::default()), Lifecycle::new(Duration::from_secs(5)));
    let (changes, feed) = mpsc::channel(8);
    let (sender, mut commits) = mpsc::channel(8);
    let gain = async |partition| {
        let source = Source { partition, at: 0, commits: sender.clone() };
        changes.send(Assignment::Gained(Box::new(source))).await.unwrap();
    };
    let service = Service::new(Feed(feed), store.clone(), live.clone(), Arc::new(At(NOW)), Options::default());
    let mut handle = service.spawn(&life);
    gain(1).await;
    assert_eq!(commits.recv().await, Some((1, 10)));
    assert!(!handle.leads());
    gain(0).await;
    assert_eq!(commits.recv().await, Some((0, 10)));
    handle.until(true).await;
    assert_eq!(handle.partitions(), [0, 1]);
    changes.send(Assignment::Lost { partition: 0 }).await.unwrap();
    handle.until(false).await;
    // It comes back, and its open chunk is read again: there is nothing new to store.
    gain(0).await;
    handle.until(true).await;
    life.drain_in_order().await;
    assert!(handle.partitions().is_empty());
    assert_eq!(*live.0.lock().unwrap(), 20);
    let clicks: u64 = store
        .data()
        .parts
        .values()
        .filter(|part| part.subject == domain::Subject::Link(LinkId::new(7)))
        .map(|part| part.tally.counts.clicks)
        .sum();
    assert_eq!(clicks, 20);
}

#[tokio::test]
async fn what_is_counted_is_stored_when_the_partition_goes() {
    let (store, life) = (Arc::new(MemoryStats::default()), Lifecycle::new(Duration::from_secs(5)));
    let (changes, feed) = mpsc::channel(8);
    let (sender, mut commits) = mpsc::channel(8);
    // Nothing is stored by itself within the hour but the first click.
    let options = Options { flush_interval: Duration::from_hours(1), ..Options::default() };
    let service = Service::new(Feed(feed), store.clone(), Arc::new(Counts::default()), Arc::new(At(NOW)), options);
    service.spawn(&life);
    for partition in [3, 5] {
        changes.send(Assignment::Gained(Box::new(Source { partition, at: 0, commits: sender.clone() }))).await.unwrap();
        assert_eq!(commits.recv().await, Some((partition, 10)));
    }
    changes.send(Assignment::Lost { partition: 3 }).await.unwrap();
    life.drain_in_order().await;
    assert_eq!(store.data().progress.values().copied().collect::<Vec<_>>(), [10, 10]);
}

struct Panics;

#[async_trait]
impl ClickSource for Panics {
    fn log(&self) -> LogId {
        LOG
    }

    fn partition(&self) -> u32 {
        0
    }

    async fn start(&self) -> PortResult<u64> {
        Ok(0)
    }

    async fn seek(&mut self, _offset: u64) -> PortResult<u64> {
        panic!("as it must")
    }

    async fn next_batch(&mut self, _max: usize) -> PortResult<ClickBatch> {
        std::future::pending().await
    }

    async fn commit(&mut self, _offset: u64) -> PortResult<()> {
        Ok(())
    }

    fn lag(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn a_consumer_that_panics_ends_the_process_instead_of_leaving_its_partition_alone() {
    let life = Lifecycle::new(Duration::from_secs(5));
    let (changes, feed) = mpsc::channel(8);
    let store = Arc::new(MemoryStats::default());
    Service::new(Feed(feed), store, Arc::new(Counts::default()), Arc::new(At(NOW)), Options::default()).spawn(&life);
    changes.send(Assignment::Gained(Box::new(Panics))).await.unwrap();
    assert_eq!(life.run_to_end().await, 1);
}
