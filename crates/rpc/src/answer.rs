//! What every method of every server does around its own work: the deadline, the metrics, the failure.

use std::future::Future;
use std::time::{Duration, Instant};

use chassis::trace::{self, Scope, Span};
use domain::api::Deadline;
use domain::{Error, Kind, Reason};
use tonic::{Code, Request, Response, Status};

use crate::method::Method;
use crate::traced::{self, Answering};
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
    let caller = traced::read(request.metadata());
    let answering = Answering(method);
    let span = Span::below(&answering, caller.trace);
    // With traces off here, the caller's still stands in the log.
    let scope = Scope { trace: span.context().or(caller.trace), ..caller };
    let outcome = trace::in_scope(scope, work_off(method, timeout_max, request, work)).await;
    let code = outcome.as_ref().map_or_else(Status::code, |_| Code::Ok);
    span.end_with(traced::error_type(code), &[traced::status(code)]);
    outcome.map(|answer| {
        let mut response = Response::new(answer);
        response.metadata_mut().insert(clock::HEADER, clock::now_ms().into());
        response
    })
}

async fn work_off<Req, Res, Fut>(
    method: &'static Method,
    timeout_max: Duration,
    request: Request<Req>,
    work: impl FnOnce(Req, Deadline) -> Fut,
) -> Result<Res, Status>
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
    outcome
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
