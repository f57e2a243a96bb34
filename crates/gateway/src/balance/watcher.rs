//! The task that follows the list of replicas and probes those that are silent or left out. A probe
//! is a question of our own, so no user waits for a replica that may be frozen.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use domain::DomainNo;
use domain::api::{Ask, Deadline, Purpose, Visit};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use super::health::Outcome;
use super::roster::Probed;
use super::{Core, Member, Replica};

/// No link can have it, which a replica knows without looking anywhere.
const PROBE_CODE: &str = ".";

pub(super) async fn run(core: &Core, mut replicas: watch::Receiver<Arc<[Replica]>>, draining: CancellationToken) {
    let mut sweeps = interval(core.options.outlier.sweep_every);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probes = FuturesUnordered::new();
    let mut followed = true;
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            changed = replicas.changed(), if followed => match changed {
                Ok(()) => {
                    let list = replicas.borrow_and_update().clone();
                    core.update(&list);
                }
                Err(_) => followed = false,
            },
            _ = sweeps.tick() => probes.extend(core.sweep(Instant::now()).into_iter().map(|member| probe(core, member))),
            Some((member, probed)) = probes.next() => core.probed(&member, probed, Instant::now()),
        }
    }
}

async fn probe(core: &Core, member: Arc<Member>) -> (Arc<Member>, Probed) {
    let visit = Visit {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: "",
        referrer: "",
        language: "",
        country: None,
        query: "",
        purpose: Purpose::Inspect,
    };
    let ask = Ask { domain: DomainNo::DEFAULT, code: PROBE_CODE, visit };
    let deadline = Deadline::after(Instant::now().into_std(), core.options.outlier.probe_timeout);
    let answered = timeout_at(deadline.at().into(), member.resolver.resolve(&ask, deadline)).await;
    let outcome = answered.map_or(Outcome::TooLate, |answered| Outcome::of(&answered));
    let probed = match outcome {
        Outcome::Answered | Outcome::Refused => Probed::Lives,
        Outcome::Unreachable => Probed::Gone,
        Outcome::TooLate | Outcome::BrokenOff => Probed::Silent,
    };
    (member, probed)
}
