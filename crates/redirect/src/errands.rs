//! Work that no request waits for: bounded in what waits for its turn and in what is under way.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Does `each` of what comes out of `queue`, at most `at_once` at a time, until `draining`.
pub(crate) async fn run<T, F: Future<Output = ()> + Send>(
    mut queue: mpsc::Receiver<T>,
    at_once: usize,
    draining: CancellationToken,
    each: impl Fn(T) -> F,
) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            errand = queue.recv(), if under_way.len() < at_once => {
                let Some(errand) = errand else { return };
                under_way.push(each(errand));
            }
        }
    }
}
