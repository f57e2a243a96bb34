//! Statements: prepared once, with everything explicit that a driver would otherwise assume.

use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Histogram, counter, histogram};
use chassis::trace::Span;
use domain::port::{Outcome, PortError, PortErrorKind, PortResult};
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::time::Instant;

use super::error::{self, Broken, OpenError};
use super::fields::Fields;
use super::hedge::Delay;
use super::{Options, Scylla, session};
use crate::metrics::{CQL_BAD_ROWS, CQL_FAILURES, CQL_SECONDS};
use crate::traced::{self, Query};

/// Rows of one page where a whole partition is read.
const PAGE_LEN: i32 = 1_000;
/// How often in a row a server may forget a statement that it was just told.
const FORGOTTEN_MAX: u32 = 5;

/// How far a condition reaches: which replicas agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All regions (SERIAL).
    Everywhere,
    /// One data centre (`LOCAL_SERIAL`): for rows that have a home region, which are those of the ids only.
    Home,
}

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `LOCAL_QUORUM`, in `read_timeout`, hedged: what a redirect waits for.
    HotRead,
    /// `LOCAL_QUORUM`, in `list_timeout`.
    Read,
    /// Sees, and finishes, every conditional statement begun before.
    SerialRead(Reach),
    /// `LOCAL_QUORUM`, with the servers' timestamps: for rows that are written once and never change.
    Write,
    /// `… IF …`
    Condition(Reach),
    /// `… USING TIMESTAMP …`: the larger one wins, in whatever order they arrive.
    Aggregate,
    /// `LOCAL_QUORUM`, in `list_timeout`, beside the aggregates.
    AggregateRead,
}

impl Mode {
    /// What the text must and must not say: no timestamp ever comes to a table of conditions.
    fn fits(self, text: &str) -> bool {
        let (conditional, timestamp) = (text.contains(" IF "), text.contains("TIMESTAMP"));
        match self {
            Self::HotRead | Self::Read | Self::SerialRead(_) | Self::AggregateRead => text.starts_with("SELECT "),
            Self::Write => !conditional && !timestamp,
            Self::Condition(_) => conditional && !timestamp,
            Self::Aggregate => !conditional && timestamp,
        }
    }

    fn timeout(self, options: &Options) -> Duration {
        match self {
            Self::HotRead => options.read_timeout,
            Self::Read | Self::AggregateRead => options.list_timeout,
            Self::SerialRead(_) | Self::Write | Self::Condition(_) | Self::Aggregate => options.write_timeout,
        }
    }

    fn is_read(self) -> bool {
        matches!(self, Self::HotRead | Self::Read | Self::SerialRead(_) | Self::AggregateRead)
    }

    fn is_aggregate(self) -> bool {
        matches!(self, Self::Aggregate | Self::AggregateRead)
    }
}

/// A statement the servers know, with its name.
pub(super) struct Prepared {
    pub(super) op: &'static str,
    /// Verb and table.
    verb: Box<str>,
    table: Box<str>,
    mode: Mode,
    timeout: Duration,
    statement: PreparedStatement,
    seconds: Histogram,
}

/// The rows of an answer.
pub(super) struct Rows {
    op: &'static str,
    rows: QueryRowsResult,
}

/// What came of a conditional statement.
pub(super) struct Decided {
    pub(super) applied: bool,
    rows: Rows,
}

impl Scylla {
    /// `op` names the statement in errors and metrics.
    pub(super) async fn prepare(&self, mode: Mode, op: &'static str, text: &str) -> Result<Prepared, OpenError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Failed { url: self.0.url.to_string(), source };
        if !mode.fits(text) {
            return Err(failed(format!("{op}: `{text}` is no {mode:?}").into()));
        }
        let mut statement = self.session(mode).prepare(text).await.map_err(|error| failed(Box::new(error)))?;
        let timeout = mode.timeout(&self.0.options);
        statement.set_consistency(match mode {
            Mode::SerialRead(Reach::Everywhere) => Consistency::Serial,
            Mode::SerialRead(Reach::Home) => Consistency::LocalSerial,
            Mode::HotRead | Mode::Read | Mode::Write | Mode::Condition(_) | Mode::Aggregate | Mode::AggregateRead => {
                Consistency::LocalQuorum
            }
        });
        statement.set_serial_consistency(Some(match mode {
            Mode::Condition(Reach::Home) | Mode::SerialRead(Reach::Home) => SerialConsistency::LocalSerial,
            Mode::HotRead
            | Mode::Read
            | Mode::Write
            | Mode::Condition(Reach::Everywhere)
            | Mode::SerialRead(Reach::Everywhere)
            | Mode::Aggregate
            | Mode::AggregateRead => SerialConsistency::Serial,
        }));
        statement.set_request_timeout(Some(timeout));
        statement.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy)));
        // The driver sends nothing twice but a hot read.
        statement.set_is_idempotent(mode == Mode::HotRead);
        statement.set_timestamp(None);
        statement.set_page_size(PAGE_LEN);
        // Answers to conditions differ in their columns from one to the next.
        statement.set_use_cached_result_metadata(mode.is_read());
        if mode == Mode::HotRead {
            let profile = session::profile(&self.0.url, timeout).speculative_execution_policy(Some(Arc::new(Delay(self.0.hedge.clone()))));
            statement.set_execution_profile_handle(Some(profile.build().into_handle()));
            statement.set_history_listener(self.0.hedge.clone());
        }
        let (verb, table) = verb_and_table(text);
        Ok(Prepared { op, verb: verb.into(), table: table.into(), mode, timeout, statement, seconds: histogram!(CQL_SECONDS, "op" => op) })
    }

    fn session(&self, mode: Mode) -> &Session {
        if mode.is_aggregate() { &self.0.aggregates } else { &self.0.conditional }
    }

    /// The rows of one answer: for statements that bound how many there are.
    pub(super) async fn rows(&self, query: &Prepared, values: impl SerializeRow + Sync) -> PortResult<Rows> {
        let answer = self.send(query, &values, None).await?.0;
        Rows::new(query.op, answer)
    }

    /// Each row of however many there are, page by page, each page in the time of its own.
    pub(super) async fn each<F>(&self, query: &Prepared, values: impl SerializeRow + Sync, mut take: F) -> PortResult<()>
    where
        F: FnMut(&Fields<'_, '_>) -> Result<(), Broken> + Send,
    {
        let mut page = PagingState::start();
        loop {
            let (answer, next) = self.send(query, &values, Some(page)).await?;
            Rows::new(query.op, answer)?.each(&mut take)?;
            match next {
                PagingStateResponse::HasMorePages { state } => page = state,
                PagingStateResponse::NoMorePages => return Ok(()),
            }
        }
    }

    pub(super) async fn write(&self, query: &Prepared, values: impl SerializeRow + Sync) -> PortResult<()> {
        self.send(query, &values, None).await.map(drop)
    }

    /// Sends a conditional statement once. An error of unknown outcome may have been applied, or still be.
    pub(super) async fn decide(&self, query: &Prepared, values: impl SerializeRow + Sync) -> PortResult<Decided> {
        let answer = self.send(query, &values, None).await?.0;
        let rows = Rows::new(query.op, answer).map_err(|error| PortError { outcome: Outcome::Unknown, ..error })?;
        let applied = rows.first(|fields| fields.need::<bool>("[applied]"));
        let applied = applied.map_err(|error| PortError { outcome: Outcome::Unknown, ..error })?;
        let missing =
            || PortError::new(PortErrorKind::Corrupt, query.op, Outcome::Unknown).with_source(Broken::new("an answer without `[applied]`"));
        Ok(Decided { applied: applied.ok_or_else(missing)?, rows })
    }

    async fn send(
        &self,
        query: &Prepared,
        values: &(impl SerializeRow + Sync),
        page: Option<PagingState>,
    ) -> PortResult<(QueryResult, PagingStateResponse)> {
        let what = Query { system: "cassandra", operation: &query.verb, collection: Some(&query.table), op: query.op };
        let span = Span::begin(&what);
        let answer = self.send_untraced(query, values, page).await;
        traced::end(span, &answer);
        answer
    }

    async fn send_untraced(
        &self,
        query: &Prepared,
        values: &(impl SerializeRow + Sync),
        page: Option<PagingState>,
    ) -> PortResult<(QueryResult, PagingStateResponse)> {
        let began = Instant::now();
        let Ok(Ok(_place)) = tokio::time::timeout(query.timeout, self.0.in_flight.acquire()).await else {
            return Err(self.failed(query, PortError::new(PortErrorKind::Unavailable, query.op, Outcome::NotApplied)));
        };
        match self.execute(query, values, page).await {
            Ok(answer) => {
                let time = began.elapsed();
                query.seconds.record(time.as_secs_f64());
                if query.mode == Mode::HotRead {
                    self.0.hedge.answered(time);
                }
                self.0.health.answered();
                Ok(answer)
            }
            Err(error) => {
                if query.mode == Mode::HotRead {
                    self.0.hedge.answered(began.elapsed());
                }
                let error = error::of_execution(query.op, error);
                // A read changes nothing, whatever became of it.
                let outcome = if query.mode.is_read() { Outcome::NotApplied } else { error.outcome };
                Err(self.failed(query, PortError { outcome, ..error }))
            }
        }
    }

    /// A change of the schema makes the server forget statements, and it may forget one again between the moment the
    /// driver prepares it anew and the moment it runs. Nothing has run then.
    async fn execute(
        &self,
        query: &Prepared,
        values: &(impl SerializeRow + Sync),
        page: Option<PagingState>,
    ) -> Result<(QueryResult, PagingStateResponse), ExecutionError> {
        let session = self.session(query.mode);
        let mut forgotten = 0;
        loop {
            let answer = match &page {
                Some(page) => session.execute_single_page(&query.statement, values, page.clone()).await,
                None => session.execute_unpaged(&query.statement, values).await.map(|answer| (answer, PagingStateResponse::NoMorePages)),
            };
            match answer {
                Err(error) if forgotten < FORGOTTEN_MAX && error::is_unprepared(&error) => forgotten += 1,
                answer => return answer,
            }
        }
    }

    fn failed(&self, query: &Prepared, error: PortError) -> PortError {
        counter!(CQL_FAILURES, "op" => query.op, "reason" => error::reason(&error)).increment(1);
        self.0.health.failed(&error);
        error
    }
}

/// What a statement does, and to which table.
fn verb_and_table(text: &str) -> (&str, &str) {
    let mut words = text.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let table = if verb == "UPDATE" { words.next() } else { words.skip_while(|word| !matches!(*word, "FROM" | "INTO")).nth(1) };
    (verb, table.unwrap_or_default())
}

impl Rows {
    fn new(op: &'static str, answer: QueryResult) -> PortResult<Self> {
        let rows = answer.into_rows_result().map_err(|error| Broken::with_source("an answer without rows", error).into_error(op))?;
        Ok(Self { op, rows })
    }

    pub(super) fn each<F>(&self, mut take: F) -> PortResult<()>
    where
        F: FnMut(&Fields<'_, '_>) -> Result<(), Broken>,
    {
        let bad = |error: Broken| {
            counter!(CQL_BAD_ROWS, "op" => self.op).increment(1);
            error.into_error(self.op)
        };
        let rows = self.rows.rows::<Fields<'_, '_>>().map_err(|error| bad(Broken::with_source("columns", error)))?;
        for row in rows {
            let row = row.map_err(|error| bad(Broken::with_source("a row", error)))?;
            take(&row).map_err(bad)?;
        }
        Ok(())
    }

    pub(super) fn map<T>(&self, mut read: impl FnMut(&Fields<'_, '_>) -> Result<T, Broken>) -> PortResult<Vec<T>> {
        let mut all = Vec::with_capacity(self.rows.rows_num());
        self.each(|fields| {
            all.push(read(fields)?);
            Ok(())
        })?;
        Ok(all)
    }

    pub(super) fn first<T>(&self, mut read: impl FnMut(&Fields<'_, '_>) -> Result<T, Broken>) -> PortResult<Option<T>> {
        let mut first = None;
        self.each(|fields| {
            if first.is_none() {
                first = Some(read(fields)?);
            }
            Ok(())
        })?;
        Ok(first)
    }
}

impl Decided {
    /// Reads the row that stood in the way; `None` where there is none. `column` is never null in a row:
    /// `ScyllaDB` answers a row that is not there as nulls, and Cassandra without its columns.
    pub(super) fn standing<T>(&self, column: &str, mut read: impl FnMut(&Fields<'_, '_>) -> Result<T, Broken>) -> PortResult<Option<T>> {
        let row = self.rows.first(|fields| if fields.is_null(column) { Ok(None) } else { read(fields).map(Some) });
        Ok(row?.flatten().filter(|_| !self.applied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_named_by_verb_and_table() {
        for (text, expected) in [
            ("SELECT a, b FROM links WHERE domain = ?", ("SELECT", "links")),
            ("INSERT INTO jobs (id, owner) VALUES (?, ?)", ("INSERT", "jobs")),
            ("UPDATE links SET a = ? WHERE domain = ? IF version = ?", ("UPDATE", "links")),
            ("DELETE FROM claims WHERE owner = ?", ("DELETE", "claims")),
        ] {
            assert_eq!(verb_and_table(text), expected);
        }
    }
}
