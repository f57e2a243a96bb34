//! Every contract, with the real services on SQLite behind the wire.

use std::sync::Arc;
use std::time::Duration;

use backends::memory::{LinkEvents, NoLinkCache};
use backends::sqlite::{self, Stores};
use backends::system::{SystemClock, SystemEntropy};
use domain::Host;
use domain::api::{History, HistoryDay, Ids, Stats, contract};
use domain::port::LeaseStore as _;
use domain::{Counts, LinkId, Owner, UnixMs};
use rpc::{IdsClient, LinksClient, Services, StatsClient};

use crate::port::{Port, soon};

async fn stores(folder: &tempfile::TempDir) -> Stores {
    let stores = sqlite::open_links(&folder.path().join("links.db"), sqlite::Options::default(), &SystemEntropy).unwrap();
    domain::port::DomainStore::set_default(&*stores.domains, &Host::parse("sho.rt").unwrap()).await.unwrap();
    stores
}

async fn real_ids(stores: &Stores) -> Arc<dyn Ids> {
    let key = stores.leases.ranges().await.unwrap()[0].key;
    Arc::new(
        ids::Service::new(ids::Options::default(), stores.leases.clone(), Arc::new(SystemClock), Arc::new(SystemEntropy), key).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ids() {
    let folder = tempfile::TempDir::new().unwrap();
    let stores = stores(&folder).await;
    let port = Port::open(Services::default().ids(real_ids(&stores).await)).await;
    let client = || Arc::new(IdsClient::new(port.replicas())) as Arc<dyn Ids>;
    contract::ids::ids_ascend_and_never_repeat(client()).await;
    contract::ids::concurrent_calls_share_nothing(client()).await;
    contract::ids::blocks_are_whole_and_disjoint(client()).await;
    contract::ids::counts_are_bounded(client()).await;
    contract::ids::two_services_share_nothing(client(), client()).await;
    port.life.drain_in_order().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links() {
    let folder = tempfile::TempDir::new().unwrap();
    let stores = stores(&folder).await;
    let key = stores.leases.ranges().await.unwrap()[0].key;
    let deps = links::Deps {
        ids: real_ids(&stores).await,
        links: stores.links.clone(),
        claims: stores.claims.clone(),
        budgets: stores.budgets.clone(),
        domains: stores.domains.clone(),
        jobs: stores.jobs.clone(),
        takedowns: stores.takedowns.clone(),
        cache: Arc::new(NoLinkCache),
        events: Arc::new(LinkEvents::alone()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let life = chassis::Lifecycle::new(Duration::from_secs(20));
    let service = links::Service::start(links::Options::new(key), deps, &life);
    let port = Port::open(Services::default().links(service)).await;
    let client = Arc::new(LinksClient::new(port.replicas()));
    contract::links::all(client, || tokio::time::sleep(Duration::from_millis(5))).await;
    port.life.drain_in_order().await;
    life.drain_in_order().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_and_history() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = sqlite::open_stats(&folder.path().join("stats.db"), sqlite::Options::default()).unwrap();
    let stats = Arc::new(analytics::Service::new(store.clone(), Arc::new(SystemClock)));
    let history = Arc::new(analytics::history::Service::new(store, Arc::new(SystemClock)));
    let port = Port::open(Services::default().stats(stats, history)).await;
    let client = || Arc::new(StatsClient::new(port.replicas()));
    contract::stats::a_series_is_filled_with_zeros(client()).await;
    contract::stats::a_period_is_moved_to_quarter_hours(client()).await;
    contract::stats::thirty_days_when_no_period_is_said(client()).await;
    contract::stats::wrong_questions_name_the_field(client()).await;
    contract::stats::without_clicks_there_is_nothing_to_rank(client()).await;
    // 2026-09-04T00:00Z.
    let start = UnixMs::new(20_700 * 86_400_000);
    let day = HistoryDay { start, counts: Counts { clicks: 9, humans: 7 }, visitors: 5 };
    let (link, ann) = (LinkId::new(9), Owner::parse("ann").unwrap());
    client().import(link, &ann, &[day], soon()).await.unwrap();
    let top = client().top_links(&domain::Subject::Owner(ann.clone()), None, 10, soon()).await.unwrap();
    assert!(top.len() <= 1);
    let wrong = HistoryDay { start: UnixMs::new(1), ..day };
    let error = client().import(link, &ann, &[day, wrong], soon()).await.unwrap_err();
    assert_eq!(error.field_errors()[0].pointer, "/days/1/start");
    port.life.drain_in_order().await;
}
