//! No live counts: in one process the statistics are seconds old at most.

use async_trait::async_trait;
use domain::port::{LiveClicks, LiveCounts, PortResult};

pub struct NoLiveCounts;

#[async_trait]
impl LiveCounts for NoLiveCounts {
    async fn add(&self, _counts: &[LiveClicks]) -> PortResult<()> {
        Ok(())
    }
}
