//! Visitors who follow links, one request after another, until they are told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::Client;

pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    /// `None`: no answer at all.
    pub(crate) status: Option<u16>,
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    visitors: JoinSet<Vec<Seen>>,
}

impl Load {
    pub(crate) fn start(server: SocketAddr, paths: &[String], visitors: usize) -> Self {
        let (stop, paths): (_, Arc<[String]>) = (Arc::new(AtomicBool::new(false)), paths.into());
        let mut tasks = JoinSet::new();
        for visitor in 0..visitors {
            let (client, stop, paths) = (Client::new(server), stop.clone(), paths.clone());
            tasks.spawn(async move {
                let mut seen = Vec::new();
                // Each begins elsewhere, and all of them come by everywhere.
                for path in paths.iter().cycle().skip(visitor * 7) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let began = Instant::now();
                    let answer = client.try_send(http::Method::GET, path, None).await;
                    let status = answer.ok().map(|reply| reply.status.as_u16());
                    seen.push(Seen { path: path.clone(), began, took: began.elapsed(), status });
                }
                seen
            });
        }
        Self { stop, visitors: tasks }
    }

    pub(crate) async fn end(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.visitors.join_all().await.into_iter().flatten().collect()
    }
}

/// Those that did not lead anywhere.
pub(crate) fn failed(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.status != Some(302)).count()
}

/// Of a link that exists, nobody must hear that it does not.
#[track_caller]
pub(crate) fn none_is_denied(seen: &[Seen]) {
    let denied = seen.iter().find(|seen| matches!(seen.status, Some(404 | 410)));
    assert!(denied.is_none(), "{:?}", denied.map(|seen| (&seen.path, seen.status)));
}
