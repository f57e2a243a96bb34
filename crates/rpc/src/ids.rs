//! The ID service across processes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::api::{CodeBlock, Deadline, Ids};
use domain::limits::{CODE_BLOCK_MAX, CODE_SPACE, IDS_BATCH_MAX};
use domain::{Error, LinkId, Reason, Result};
use tonic::{Request, Response, Status};

use crate::answer::answer;
use crate::call::broken;
use crate::method::{self, ids::LEASE_CODES, ids::NEXT_IDS};
use crate::proto::ids_server::{self, IdsServer};
use crate::proto::{LeaseCodesRequest, LeaseCodesResponse, NextIdsRequest, NextIdsResponse};
use crate::replicas::Replicas;

pub(crate) fn server(service: Arc<dyn Ids>, timeout_max: Duration) -> IdsServer<Server> {
    IdsServer::new(Server { service, timeout_max })
        .max_decoding_message_size(method::IDS.request_len_max)
        .max_encoding_message_size(method::IDS.response_len_max)
}

/// Answers for the service in this process.
pub(crate) struct Server {
    service: Arc<dyn Ids>,
    timeout_max: Duration,
}

#[async_trait]
impl ids_server::Ids for Server {
    async fn next_ids(&self, request: Request<NextIdsRequest>) -> Result<Response<NextIdsResponse>, Status> {
        answer(&NEXT_IDS, self.timeout_max, request, async |request: NextIdsRequest, deadline| {
            let ids = self.service.next_ids(request.count, deadline).await?;
            Ok(NextIdsResponse { ids: ids.into_iter().map(LinkId::get).collect() })
        })
        .await
    }

    async fn lease_codes(&self, request: Request<LeaseCodesRequest>) -> Result<Response<LeaseCodesResponse>, Status> {
        answer(&LEASE_CODES, self.timeout_max, request, async |request: LeaseCodesRequest, deadline| {
            let block = self.service.lease_codes(request.count, deadline).await?;
            Ok(LeaseCodesResponse { epoch: block.epoch, key: block.key.to_vec(), start: block.start, end: block.end })
        })
        .await
    }
}

/// The ID service in another process.
pub struct Client {
    replicas: Replicas,
}

impl Client {
    pub fn new(replicas: Replicas) -> Self {
        Self { replicas }
    }
}

#[async_trait]
impl Ids for Client {
    async fn next_ids(&self, count: u32, deadline: Deadline) -> Result<Vec<LinkId>> {
        check_count(count, IDS_BATCH_MAX)?;
        let answer: NextIdsResponse = self.replicas.call(&NEXT_IDS, method::IDS, &NextIdsRequest { count }, deadline).await?;
        ids(&answer, count)
    }

    async fn lease_codes(&self, count: u32, deadline: Deadline) -> Result<CodeBlock> {
        check_count(count, CODE_BLOCK_MAX)?;
        let answer: LeaseCodesResponse = self.replicas.call(&LEASE_CODES, method::IDS, &LeaseCodesRequest { count }, deadline).await?;
        block(answer, count)
    }
}

fn check_count(count: u32, max: u32) -> Result<()> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(Error::new(Reason::InvalidField, format!("`count` is 1 to {max}")))
}

/// An id that is handed out must be as good as one made here: an answer that breaks the contract is none.
fn ids(answer: &NextIdsResponse, count: u32) -> Result<Vec<LinkId>> {
    let whole = u32::try_from(answer.ids.len()) == Ok(count);
    if !whole || !answer.ids.is_sorted_by(|a, b| a < b) || answer.ids.last().is_some_and(|id| i64::try_from(*id).is_err()) {
        return Err(broken("ids that are not the ascending ones asked for"));
    }
    Ok(answer.ids.iter().copied().map(LinkId::new).collect())
}

fn block(answer: LeaseCodesResponse, count: u32) -> Result<CodeBlock> {
    let key = <[u8; 16]>::try_from(answer.key).map_err(|_| broken("a key that has not 16 bytes"))?;
    if answer.end.checked_sub(answer.start) != Some(u64::from(count)) || answer.end > CODE_SPACE {
        return Err(broken("a block that is not the one asked for"));
    }
    Ok(CodeBlock { epoch: answer.epoch, key, start: answer.start, end: answer.end })
}
