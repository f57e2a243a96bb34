//! What every request sees: the services, the options, and what is counted across requests.

use std::net::IpAddr;
use std::sync::Arc;

use domain::Domain;

use crate::Services;
use crate::limits::{MissBudget, RequestRate, SubjectKey};
use crate::metrics::RequestMetrics;
use crate::options::Options;
use crate::request::{RequestId, RequestIds};
use crate::shedding::{Class, Shed};

/// The state of the gateway; shared by all connections.
pub struct Gateway {
    pub(crate) services: Services,
    pub(crate) options: Options,
    pub(crate) shed: Shed,
    pub(crate) subjects: SubjectKey,
    pub(crate) misses: MissBudget,
    pub(crate) rate: RequestRate,
    pub(crate) request_ids: RequestIds,
    pub(crate) metrics: RequestMetrics,
}

/// Who sent a request, as established by the server: in the extensions of every API request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The client's address, past trusted proxies.
    pub(crate) ip: IpAddr,
    pub(crate) request_id: RequestId,
}

impl Gateway {
    pub fn new(services: Services, options: Options) -> Arc<Self> {
        Arc::new(Self {
            shed: Shed::new(options.concurrency),
            subjects: SubjectKey::new(&options.limits_key),
            misses: MissBudget::new(options.limits.misses_per_min),
            rate: RequestRate::new(options.limits.requests_per_s),
            request_ids: RequestIds::new(services.entropy.as_ref()),
            metrics: RequestMetrics::new(),
            services,
            options,
        })
    }

    /// Sets what only a reader of metrics wants to know.
    pub fn show_gauges(&self) {
        for class in Class::ALL {
            self.metrics.at_work(class, self.shed.at_work(class));
        }
    }

    /// What people are given: scheme, host and code, never from the request's own headers.
    pub(crate) fn short_url(&self, domain: &Domain, code: &str) -> String {
        let scheme = self.options.scheme.as_str();
        let host = domain.host.as_str();
        let mut url = String::with_capacity(scheme.len() + 3 + host.len() + 1 + code.len());
        for part in [scheme, "://", host, "/", code] {
            url.push_str(part);
        }
        url
    }
}
