//! The contract of redirects, with the real service on SQLite behind the wire.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backends::memory::{LinkEvents, NoLinkCache};
use backends::sqlite::{self, Stores};
use backends::system::{SystemClock, SystemEntropy};
use domain::api::{Resolver, contract};
use domain::code::Issued;
use domain::port::{
    ClickBudget as _, ClickLog, Clock as _, Dropped, Geo, Inserted, IssuedBounds, LinkChanged, LinkEvents as _, LinkStore as _, PortResult,
    Replaced, SaltStore, Takedowns as _,
};
use domain::{Click, Country, Host, Link, LoggedClick, Owner, UnixMs};
use rpc::{ResolverOptions, Services};

use crate::port::Port;

/// What the stores of this test do not have.
#[derive(Default)]
struct Rest {
    clicks: Mutex<Vec<LoggedClick>>,
}

impl IssuedBounds for Rest {
    fn issued(&self) -> Option<Arc<Issued>> {
        None
    }
}

impl Geo for Rest {
    fn country(&self, _: IpAddr) -> Option<Country> {
        None
    }
}

#[async_trait]
impl SaltStore for Rest {
    async fn salt(&self, _: u32) -> PortResult<[u8; 32]> {
        Ok([7; 32])
    }
}

#[async_trait]
impl ClickLog for Rest {
    fn record(&self, click: &Click<'_>) -> Result<(), Dropped> {
        self.clicks.lock().unwrap().push(LoggedClick {
            link: click.link,
            domain: Some(click.domain),
            code: click.code.into(),
            owner: Owner::from_stored(click.owner),
            at: click.at,
            visitor: click.visitor,
            country: click.country,
            language: click.language,
            referrer: click.referrer.into(),
            browser: click.browser,
            system: click.system,
            device: click.device,
            bot: click.bot.into(),
            utm_source: click.utm_source.into(),
            utm_medium: click.utm_medium.into(),
            utm_campaign: click.utm_campaign.into(),
        });
        Ok(())
    }

    async fn flush(&self) -> PortResult<()> {
        Ok(())
    }
}

struct World {
    stores: Stores,
    events: Arc<LinkEvents>,
    rest: Arc<Rest>,
    client: Arc<dyn Resolver>,
    port: Port,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let stores = sqlite::open_links(&folder.path().join("links.db"), sqlite::Options::default(), &SystemEntropy).unwrap();
        domain::port::DomainStore::set_default(&*stores.domains, &Host::parse("sho.rt").unwrap()).await.unwrap();
        let (events, rest) = (Arc::new(LinkEvents::alone()), Arc::new(Rest::default()));
        let deps = redirect::Deps {
            links: stores.links.clone(),
            cache: Arc::new(NoLinkCache),
            budgets: stores.budgets.clone(),
            issued: rest.clone(),
            domains: stores.domains.clone(),
            clicks: rest.clone(),
            takedowns: stores.takedowns.clone(),
            events: events.clone(),
            salts: rest.clone(),
            geo: rest.clone(),
            clock: Arc::new(SystemClock),
        };
        let life = chassis::Lifecycle::new(std::time::Duration::from_secs(20));
        let service = redirect::Service::new(redirect::Options::default(), deps, &life).await.unwrap();
        let port = Port::open(Services::default().resolver(service)).await;
        let client = port.resolver(ResolverOptions::default());
        Self { stores, events, rest, client, port, _folder: folder }
    }
}

#[async_trait]
impl contract::resolver::World for World {
    fn resolver(&self) -> Arc<dyn Resolver> {
        self.client.clone()
    }

    fn now(&self) -> UnixMs {
        SystemClock.now()
    }

    async fn store(&self, link: Link) {
        if let Some(max) = link.max_clicks {
            self.stores.budgets.set_max(link.id, Some(max)).await.unwrap();
        }
        if let Some(reason) = &link.blocked {
            self.stores.takedowns.put(link.id, reason).await.unwrap();
        }
        let news = LinkChanged {
            link: link.id,
            domain: link.domain,
            key: link.code.key(),
            version: link.version,
            blocked: link.blocked.is_some(),
        };
        if link.version == 1 {
            assert_eq!(self.stores.links.insert(vec![link]).await.unwrap(), [Inserted::Stored]);
        } else {
            assert_eq!(self.stores.links.replace(vec![link]).await.unwrap(), [Replaced::Stored]);
        }
        self.events.publish(news).await.unwrap();
    }

    async fn clicks(&self) -> Vec<LoggedClick> {
        self.rest.clicks.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_redirects_holds() {
    let world = World::new().await;
    contract::resolver::all(&world).await;
    world.port.life.drain_in_order().await;
}
