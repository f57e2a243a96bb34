//! Answers for the redirect service in this process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::api::Resolver;
use domain::{Error, Reason, Result};
use tonic::{Request, Response, Status};

use super::answers::{Writer, to_one};
use super::asks::{self, BATCH_LEN_MAX};
use crate::answer::answer;
use crate::method::resolver::{RESOLVE, RESOLVE_ONE};
use crate::proto::resolver_server::{self, ResolverServer};
use crate::proto::{ResolveOneRequest, ResolveOneResponse, ResolveRequest, ResolveResponse};
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
            if let Some(answer) = self.service.try_resolve(&ask) {
                writer.answer(answer);
            } else {
                self.service.begin(&ask);
                writer.deferred();
                deferred += 1;
            }
        }
        metrics::deferred(deferred);
        Ok(writer.finish())
    }
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
