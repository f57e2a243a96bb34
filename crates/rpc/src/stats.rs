//! The statistics across processes.

mod convert;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::api::{Deadline, History, HistoryDay, Period, Series, SeriesQuery, Share, Stats, TopLink};
use domain::{Dimension, LinkId, Owner, Result, Subject};
use tonic::{Request, Response, Status};

use crate::answer::answer;
use crate::method;
use crate::method::stats::{BREAKDOWN, IMPORT_HISTORY, LINK_STATS, TOP_LINKS, TOTALS};
use crate::proto;
use crate::proto::stats_server::{self, StatsServer};
use crate::replicas::Replicas;

pub(crate) fn server(stats: Arc<dyn Stats>, history: Arc<dyn History>, timeout_max: Duration) -> StatsServer<Server> {
    StatsServer::new(Server { stats, history, timeout_max })
        .max_decoding_message_size(method::STATS.request_len_max)
        .max_encoding_message_size(method::STATS.response_len_max)
}

/// Answers for the service in this process.
pub(crate) struct Server {
    stats: Arc<dyn Stats>,
    history: Arc<dyn History>,
    timeout_max: Duration,
}

#[async_trait]
impl stats_server::Stats for Server {
    async fn link_stats(&self, request: Request<proto::LinkStatsRequest>) -> Result<Response<proto::Series>, Status> {
        answer(&LINK_STATS, self.timeout_max, request, async |request: proto::LinkStatsRequest, deadline| {
            let subject = Subject::Link(LinkId::new(request.link));
            let series = self.stats.series(&subject, &convert::query(request.query)?, deadline).await?;
            Ok(convert::to_series(&series))
        })
        .await
    }

    async fn totals(&self, request: Request<proto::TotalsRequest>) -> Result<Response<proto::Series>, Status> {
        answer(&TOTALS, self.timeout_max, request, async |request: proto::TotalsRequest, deadline| {
            let subject = convert::subject(request.subject)?;
            let series = self.stats.series(&subject, &convert::query(request.query)?, deadline).await?;
            Ok(convert::to_series(&series))
        })
        .await
    }

    async fn breakdown(&self, request: Request<proto::BreakdownRequest>) -> Result<Response<proto::BreakdownResponse>, Status> {
        answer(&BREAKDOWN, self.timeout_max, request, async |request: proto::BreakdownRequest, deadline| {
            let (subject, dimension) = (convert::subject(request.subject)?, convert::dimension(request.dimension)?);
            let period = request.period.map(convert::period);
            let shares = self.stats.breakdown(&subject, dimension, period, convert::limit(request.limit)?, deadline).await?;
            Ok(proto::BreakdownResponse { shares: shares.into_iter().map(convert::to_share).collect() })
        })
        .await
    }

    async fn top_links(&self, request: Request<proto::TopLinksRequest>) -> Result<Response<proto::TopLinksResponse>, Status> {
        answer(&TOP_LINKS, self.timeout_max, request, async |request: proto::TopLinksRequest, deadline| {
            let subject = convert::subject(request.subject)?;
            let period = request.period.map(convert::period);
            let links = self.stats.top_links(&subject, period, convert::limit(request.limit)?, deadline).await?;
            Ok(proto::TopLinksResponse { links: links.into_iter().map(convert::to_top_link).collect() })
        })
        .await
    }

    async fn import_history(
        &self,
        request: Request<proto::ImportHistoryRequest>,
    ) -> Result<Response<proto::ImportHistoryResponse>, Status> {
        answer(&IMPORT_HISTORY, self.timeout_max, request, async |request: proto::ImportHistoryRequest, deadline| {
            let (owner, days) = (convert::owner_of(&request.owner)?, convert::days(request.days)?);
            self.history.import(LinkId::new(request.link), &owner, &days, deadline).await?;
            Ok(proto::ImportHistoryResponse {})
        })
        .await
    }
}

/// The statistics in another process.
pub struct Client {
    replicas: Replicas,
}

impl Client {
    pub fn new(replicas: Replicas) -> Self {
        Self { replicas }
    }
}

#[async_trait]
impl Stats for Client {
    async fn series(&self, subject: &Subject, query: &SeriesQuery, deadline: Deadline) -> Result<Series> {
        let query = Some(convert::to_query(query));
        let answer = match subject {
            Subject::Link(link) => {
                let request = proto::LinkStatsRequest { link: link.get(), query };
                self.replicas.call(&LINK_STATS, method::STATS, &request, deadline).await?
            }
            Subject::Owner(_) | Subject::Everyone => {
                let request = proto::TotalsRequest { subject: Some(convert::to_subject(subject)), query };
                self.replicas.call(&TOTALS, method::STATS, &request, deadline).await?
            }
        };
        convert::series(answer)
    }

    async fn breakdown(
        &self,
        subject: &Subject,
        dimension: Dimension,
        period: Option<Period>,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Vec<Share>> {
        let request = proto::BreakdownRequest {
            subject: Some(convert::to_subject(subject)),
            dimension: convert::to_dimension(dimension),
            period: period.map(convert::to_period),
            limit: convert::to_limit(limit),
        };
        convert::shares(self.replicas.call(&BREAKDOWN, method::STATS, &request, deadline).await?)
    }

    async fn top_links(&self, subject: &Subject, period: Option<Period>, limit: usize, deadline: Deadline) -> Result<Vec<TopLink>> {
        let request = proto::TopLinksRequest {
            subject: Some(convert::to_subject(subject)),
            period: period.map(convert::to_period),
            limit: convert::to_limit(limit),
        };
        convert::top_links(self.replicas.call(&TOP_LINKS, method::STATS, &request, deadline).await?)
    }
}

#[async_trait]
impl History for Client {
    async fn import(&self, link: LinkId, owner: &Owner, days: &[HistoryDay], deadline: Deadline) -> Result<()> {
        let request = proto::ImportHistoryRequest {
            link: link.get(),
            owner: owner.as_str().to_owned(),
            days: days.iter().map(convert::to_day).collect(),
        };
        let proto::ImportHistoryResponse {} = self.replicas.call(&IMPORT_HISTORY, method::STATS, &request, deadline).await?;
        Ok(())
    }
}
