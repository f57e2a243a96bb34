//! What every method of every server does around its own work: the deadline, the metrics, the failure.

use std::future::Future;
use std::time::{Duration, Instant};

use domain::api::Deadline;
use domain::{Error, Kind, Reason};
use tonic::{Code, Request, Response, Status};

use crate::method::Method;
use crate::{clock, metrics, status, timeout};

/// Runs `work` until the caller's deadline, `timeout_max` at most.
pub(crate) async fn answer<Req, Res, Fut>(
    method: &'static Method,
    timeout_max: Duration,
    request: Request<Req>,
    work: impl FnOnce(Req, Deadline) -> Fut,
) -> Result<Response<Res>, Status>
where
    Fut: Future<Output = domain::Result<Res>>,
{
    let begun = Instant::now();
    let outcome = match timeout::read(request.metadata()) {
        Ok(left) => {
            let deadline = Deadline::after(begun, left.min(timeout_max));
            let work = work(request.into_inner(), deadline);
            tokio::time::timeout_at(deadline.at().into(), work).await.unwrap_or_else(|_| Err(too_late()))
        }
        Err(error) => Err(error),
    };
    let outcome = outcome.map_err(|error| {
        log(method, &error);
        status::to_status(&error)
    });
    metrics::served(method, outcome.as_ref().map_or_else(Status::code, |_| Code::Ok), begun.elapsed());
    outcome.map(|answer| {
        let mut response = Response::new(answer);
        response.metadata_mut().insert(clock::HEADER, clock::now_ms().into());
        response
    })
}

pub(crate) fn too_late() -> Error {
    Error::new(Reason::DeadlineExceeded, "no answer within the time the caller gave")
}

/// The cause ends here: it does not cross the wire.
fn log(method: &'static Method, error: &Error) {
    let cause = std::error::Error::source(error).map(tracing::field::display);
    match error.kind() {
        Kind::Internal => tracing::error!(service = method.service, method = method.name, %error, cause, "call failed"),
        Kind::Unavailable => tracing::debug!(service = method.service, method = method.name, %error, cause, "call failed"),
        Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::RateLimited => {}
    }
}
