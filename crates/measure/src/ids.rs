//! How fast ids and blocks of codes are handed out by one worker on SQLite.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use backends::sqlite;
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use domain::api::{Deadline, Ids};
use domain::limits::IDS_BATCH_MAX;
use domain::port::LeaseStore as _;
use rpc::{Connector, IdsClient, Replicas, Server, Services, channel};

use crate::figures::{figure, per_s};
use crate::files::clock;

/// Codes of one block, as the shortening service asks for them.
const BLOCK: u32 = 1_000;
const CALLERS: usize = 4;

pub(crate) async fn run(seconds: &str) -> anyhow::Result<()> {
    let time = Duration::from_secs_f64(seconds.parse()?);
    let folder = tempfile::tempdir()?;
    let stores = sqlite::open_links(&folder.path().join("terse.db"), sqlite::Options::default(), &SystemEntropy)?;
    let key = stores.leases.ranges().await?.first().context("a range of codes")?.key;
    // One worker a measurement: what it takes ahead of the clock is gone for the next.
    let service = |worker| -> anyhow::Result<Arc<dyn Ids>> {
        let options = ids::Options { worker, ..ids::Options::default() };
        Ok(Arc::new(ids::Service::new(options, stores.leases.clone(), clock(), Arc::new(SystemEntropy), key)?))
    };
    figure("ids_per_s", ids_rate(service(0)?, 4_096, time).await?);
    figure("ids_per_s_batches_of_100", ids_rate(service(1)?, 100, time).await?);

    let life = Lifecycle::new(Duration::from_secs(5));
    let options = rpc::server::Options::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let listener = Server::listen(options.listen)?;
    let address = Server::new(options)?.serve(Services::default().ids(service(2)?), listener, &life).await?;
    let client = Arc::new(IdsClient::new(Replicas::one(address, Connector::new(channel::Options::default())?)));
    figure("grpc_ids_per_s", ids_rate(client.clone(), IDS_BATCH_MAX, time).await?);
    figure("grpc_ids_per_s_batches_of_100", ids_rate(client, 100, time).await?);
    figure("code_blocks_per_s", blocks_rate(&*service(3)?, time).await?);
    life.drain_in_order().await;
    stores.close().await;
    Ok(())
}

fn soon() -> Deadline {
    Deadline::after(Instant::now(), Duration::from_secs(5))
}

/// Ids a second, by several callers. A worker that has used up all it may take ahead of the clock says so: then
/// it was faster than the layout allows for ever, and what it handed out until then counts.
async fn ids_rate(ids: Arc<dyn Ids>, batch: u32, time: Duration) -> anyhow::Result<f64> {
    let began = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let ids = ids.clone();
        async move {
            let mut count = 0;
            while began.elapsed() < time {
                let Ok(some) = ids.next_ids(batch, soon()).await else { break };
                count += u64::try_from(some.len()).unwrap_or(0);
            }
            count
        }
    });
    let count = futures_util::future::join_all(callers).await.into_iter().sum();
    anyhow::ensure!(count > 0, "no id was handed out");
    Ok(per_s(count, began.elapsed()))
}

async fn blocks_rate(ids: &dyn Ids, time: Duration) -> anyhow::Result<f64> {
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < time {
        ids.lease_codes(BLOCK, soon()).await?;
        count += 1;
    }
    Ok(per_s(count, began.elapsed()))
}
