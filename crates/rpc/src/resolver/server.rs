//! Answers for the redirect service in this process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chassis::trace::{self, Scope, Span, TraceContext, Value};
use domain::api::{Answer, Ask, Resolver};
use domain::{Error, Reason, Result};
use tonic::{Code, Request, Response, Status};

use super::answers::{Writer, to_one};
use super::asks::{self, BATCH_LEN_MAX};
use crate::answer::answer;
use crate::method::resolver::{RESOLVE, RESOLVE_ONE};
use crate::proto::resolver_server::{self, ResolverServer};
use crate::proto::{ResolveOneRequest, ResolveOneResponse, ResolveRequest, ResolveResponse};
use crate::traced::{self, Answering};
use crate::{method, metrics};

pub(crate) fn server(service: Arc<dyn Resolver>, timeout_max: Duration) -> ResolverServer<Server> {
    ResolverServer::new(Server { service, timeout_max })
        .max_decoding_message_size(method::RESOLVER.request_len_max)
        .max_encoding_message_size(method::RESOLVER.response_len_max)
}

pub(crate) struct Server {
    service: Arc<dyn Resolver>,
    timeout_max: Duration,
}

impl Server {
    /// Never waits: what is not in memory is begun, and deferred.
    fn resolve_all(&self, request: &ResolveRequest) -> Result<ResolveResponse> {
        if request.asks.is_empty() || request.asks.len() > BATCH_LEN_MAX {
            return Err(Error::field("/asks", Reason::InvalidField, format!("must be 1 to {BATCH_LEN_MAX}")));
        }
        let mut writer = Writer::with_capacity(request.asks.len());
        let mut deferred = 0;
        for message in &request.asks {
            let ask = match asks::ask(message) {
                Ok(ask) => ask,
                Err(error) => {
                    writer.failed(&error);
                    continue;
                }
            };
            match traced_by(asks::trace(message), || self.resolve_now(&ask)) {
                Some(answer) => writer.answer(answer),
                None => {
                    writer.deferred();
                    deferred += 1;
                }
            }
        }
        metrics::deferred(deferred);
        Ok(writer.finish())
    }

    fn resolve_now(&self, ask: &Ask<'_>) -> Option<Answer> {
        let answer = self.service.try_resolve(ask);
        if answer.is_none() {
            self.service.begin(ask);
        }
        answer
    }
}

/// Each of a batch belongs to a trace of its own, if to any.
fn traced_by(caller: Option<TraceContext>, resolve: impl FnOnce() -> Option<Answer>) -> Option<Answer> {
    let Some(caller) = caller else { return resolve() };
    let answering = Answering(&RESOLVE);
    let span = Span::below(&answering, Some(caller));
    let scope = Scope { trace: span.context().or(Some(caller)), ..trace::current() };
    let answer = trace::within(scope, resolve);
    span.end_with(None, &[traced::status(Code::Ok), ("terse.deferred", Value::Bool(answer.is_none()))]);
    answer
}

#[async_trait]
impl resolver_server::Resolver for Server {
    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveResponse>, Status> {
        answer(&RESOLVE, self.timeout_max, request, async |request: ResolveRequest, _| self.resolve_all(&request)).await
    }

    async fn resolve_one(&self, request: Request<ResolveOneRequest>) -> Result<Response<ResolveOneResponse>, Status> {
        answer(&RESOLVE_ONE, self.timeout_max, request, async |request: ResolveOneRequest, deadline| {
            let message = request.ask.ok_or_else(|| Error::field("/ask", Reason::InvalidField, "is missing"))?;
            let (ask, deadline) = (asks::ask(&message)?, asks::deadline(&message, deadline));
            // The fill that the batch began may have ended by now.
            let answer = match self.service.try_resolve(&ask) {
                Some(answer) => answer,
                None => self.service.resolve(&ask, deadline).await?,
            };
            Ok(to_one(answer))
        })
        .await
    }
}
