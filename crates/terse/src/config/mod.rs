//! Everything that can be configured, with its default. The TOML file, `TERSE__SECTION__FIELD` and the flags name the same keys.
//!
//! Values are parsed once into types that cannot hold wrong ones; what is wrong only together is in `conflicts`.

mod places;
mod sections;
mod services;
mod urls;

use std::path::PathBuf;

use chassis::config::{Seconds, Settings, Text};
use serde::{Deserialize, Serialize};

pub(crate) use places::{Collector, Listen, PublicUrl, Scheme};
pub(crate) use sections::{
    Analytics, Balance, Clicks, Client, Codes, Forwarded, Gateway, GeoIp, Limits, Links, Log, Redirect, Sqlite, Strategy, Tls, Traces,
};
pub(crate) use services::{Grpc, Ids, Kafka, Redis, Scylla, Services};
pub(crate) use urls::{Cache, ClicksUrl, Store};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the public port listens; port 0 takes any free one.
    pub(crate) listen: Text<Listen>,
    /// Where the admin port listens. Never open it to the public.
    pub(crate) admin_listen: Text<Listen>,
    /// The folder that holds everything this process keeps.
    pub(crate) data: PathBuf,
    /// What short links begin with. By default `localhost` with the port listened on.
    pub(crate) public_url: Option<Text<PublicUrl>>,
    /// Where links are kept. By default `sqlite:<data>/terse.db`.
    pub(crate) store: Option<Text<Store>>,
    /// What stands between memory and store.
    pub(crate) cache: Text<Cache>,
    /// How long a drain may take before what remains is cut off.
    pub(crate) drain_grace_s: Seconds,
    pub(crate) grpc: Grpc,
    pub(crate) services: Services,
    pub(crate) gateway: Gateway,
    pub(crate) limits: Limits,
    pub(crate) redirect: Redirect,
    pub(crate) ids: Ids,
    pub(crate) codes: Codes,
    pub(crate) links: Links,
    pub(crate) clicks: Clicks,
    pub(crate) analytics: Analytics,
    pub(crate) geoip: GeoIp,
    pub(crate) sqlite: Sqlite,
    pub(crate) scylla: Scylla,
    pub(crate) kafka: Kafka,
    pub(crate) redis: Redis,
    pub(crate) log: Log,
    pub(crate) traces: Traces,
    pub(crate) tls: Tls,
    pub(crate) client: Client,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Text(Listen::local(8080)),
            admin_listen: Text(Listen::local(8081)),
            data: PathBuf::from("./terse-data"),
            public_url: None,
            store: None,
            cache: Text(Cache::Memory),
            drain_grace_s: Seconds::new(30),
            grpc: Grpc::default(),
            services: Services::default(),
            gateway: Gateway::default(),
            limits: Limits::default(),
            redirect: Redirect::default(),
            ids: Ids::default(),
            codes: Codes::default(),
            links: Links::default(),
            clicks: Clicks::default(),
            analytics: Analytics::default(),
            geoip: GeoIp::default(),
            sqlite: Sqlite::default(),
            scylla: Scylla::default(),
            kafka: Kafka::default(),
            redis: Redis::default(),
            log: Log::default(),
            traces: Traces::default(),
            tls: Tls::default(),
            client: Client::default(),
        }
    }
}

impl Settings for Config {
    const SECRETS: &'static [&'static str] = &["client.key"];
    const SHORTHANDS: &'static [(&'static str, &'static str)] = &[("clicks", "clicks.url")];

    fn complete(&mut self) {
        let data = &self.data;
        self.store.get_or_insert_with(|| Text(Store::Sqlite(data.join("terse.db"))));
        self.clicks.url.get_or_insert_with(|| Text(ClicksUrl::File(data.join("clicks"))));
        // With port 0 it is known only once the port is.
        if self.public_url.is_none() && self.listen.0.port() != 0 {
            self.public_url = Some(Text(self.default_public_url(self.listen.0.port())));
        }
    }

    fn conflicts(&self) -> Vec<(&'static str, String, String)> {
        let mut found = services::pair(("tls.cert", &self.tls.cert), ("tls.key", &self.tls.key));
        if self.listen == self.admin_listen && self.listen.0.port() != 0 {
            let mend = "choose another port for one of them".to_owned();
            found.push(("admin_listen", "the public and the admin port are the same".into(), mend));
        }
        if self.data.as_os_str().is_empty() {
            found.push(("data", "the path is empty".into(), "name a folder".into()));
        }
        found.extend(self.grpc.conflicts());
        found.extend(self.services.conflicts());
        found.extend(self.redirect.conflicts());
        found.extend(self.clicks.conflicts());
        found
    }
}

impl Config {
    /// `port`: the one listened on.
    pub(crate) fn default_public_url(&self, port: u16) -> PublicUrl {
        let scheme = if self.tls.cert.is_some() { Scheme::Https } else { Scheme::Http };
        PublicUrl::local(scheme, port)
    }

    /// The Redis of limits and salts.
    pub(crate) fn limits_cache(&self) -> Cache {
        self.limits.url.as_ref().unwrap_or(&self.cache).0.clone()
    }

    pub(crate) fn store(&self) -> Store {
        self.store.clone().map_or_else(|| Store::Sqlite(self.data.join("terse.db")), |store| store.0)
    }

    pub(crate) fn clicks(&self) -> ClicksUrl {
        self.clicks.url.clone().map_or_else(|| ClicksUrl::File(self.data.join("clicks")), |url| url.0)
    }
}

#[cfg(test)]
mod tests;
