//! What a link takes in L1, by the process's own resident memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backends::file::salt_store::FileSaltStore;
use backends::memory::{LinkEvents, NoLinkCache};
use backends::mmdb::NoGeo;
use backends::system::SystemEntropy;
use chassis::Lifecycle;
use domain::api::{Answer, Ask, Deadline, Purpose, Resolver as _, Visit};
use domain::port::{ClickLog, Dropped, PortResult};
use domain::{Click, DomainNo, Link};
use redirect::{Deps, Options, Service};

use crate::figures::{figure, float, len, resident};
use crate::files::{Links, clock};

/// Of all links: read before the first look at memory, so that what fills up once is full.
const WARM_UP_PART: u64 = 10;
/// More than any link takes, so that none is evicted.
const BYTES_A_LINK: u64 = 2_048;

pub(crate) async fn run(count: &str) -> anyhow::Result<()> {
    let count: u64 = count.parse()?;
    let folder = tempfile::tempdir()?;
    let mut links = Links::open(folder.path()).await?;
    links.grow(count).await?;
    let life = Lifecycle::new(Duration::from_secs(5));
    let options = Options { l1_bytes: count * BYTES_A_LINK, ..Options::default() };
    let service = Service::new(options, deps(&links, folder.path())?, &life).await?;
    let counters: Vec<u64> = (0..links.range.next).filter(|counter| links.maker.has_code(*counter)).collect();
    let (first, rest) = counters.split_at(usize::try_from(count / WARM_UP_PART)?);
    resolve_all(&service, &links, first).await?;
    let before = resident()?;
    resolve_all(&service, &links, rest).await?;
    let per_entry = float(resident()?.saturating_sub(before)) / len(rest.len());
    let payload = rest.iter().map(|counter| links.maker.link(*counter));
    let (row, text) =
        payload.fold((0, 0), |(row, text), link| (row + size(&link), text + link.code.as_str().len() + link.target.as_str().len()));
    figure("l1_bytes_per_entry", per_entry);
    figure("l1_overhead", per_entry / (len(row) / len(rest.len())));
    figure("l1_overhead_code_and_target", per_entry / (len(text) / len(rest.len())));
    life.drain_in_order().await;
    links.stores.close().await;
    Ok(())
}

/// Bytes of a link's own fields in memory, and of the text they point to.
fn size(link: &Link) -> usize {
    size_of::<Link>() + link.target.as_str().len() + link.owner.as_str().len()
}

fn deps(links: &Links, folder: &std::path::Path) -> anyhow::Result<Deps> {
    let stores = &links.stores;
    Ok(Deps {
        links: stores.links.clone(),
        cache: Arc::new(NoLinkCache),
        budgets: stores.budgets.clone(),
        issued: stores.leases.clone(),
        domains: stores.domains.clone(),
        clicks: Arc::new(Forget),
        takedowns: stores.takedowns.clone(),
        events: Arc::new(LinkEvents::alone()),
        salts: Arc::new(FileSaltStore::open(folder, Arc::new(SystemEntropy))?),
        geo: Arc::new(NoGeo),
        clock: clock(),
    })
}

async fn resolve_all(service: &Service, links: &Links, counters: &[u64]) -> anyhow::Result<()> {
    for counter in counters {
        let code = links.maker.code(*counter);
        let visit = Visit {
            ip: IpAddr::from([127, 0, 0, 1]),
            user_agent: "curl/8",
            referrer: "",
            language: "",
            country: None,
            query: "",
            purpose: Purpose::Follow,
        };
        let ask = Ask { domain: DomainNo::DEFAULT, code: code.as_str(), visit };
        let answer = service.resolve(&ask, Deadline::after(Instant::now(), Duration::from_secs(10))).await?;
        anyhow::ensure!(matches!(answer, Answer::Redirect(_)), "{} leads nowhere", code.as_str());
    }
    Ok(())
}

struct Forget;

#[async_trait::async_trait]
impl ClickLog for Forget {
    fn record(&self, _: &Click<'_>) -> Result<(), Dropped> {
        Ok(())
    }

    async fn flush(&self) -> PortResult<()> {
        Ok(())
    }
}
