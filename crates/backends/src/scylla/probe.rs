//! Whether conditional statements work: tried at the start of each process, since a keyspace with tablets of
//! an older `ScyllaDB` refuses them, and everything here rests on them.

use super::error::OpenError;
use super::query::{Mode, Prepared, Reach};
use super::{Scylla, value};

const INSERT: &str = "INSERT INTO lwt_probe (attempt, at) VALUES (?, ?) IF NOT EXISTS";
const SELECT: &str = "SELECT at FROM lwt_probe WHERE attempt = ?";
/// A server that is only slow must not keep a process from starting.
const ATTEMPTS: usize = 5;

pub(super) async fn conditions_work(scylla: &Scylla) -> Result<(), OpenError> {
    let insert = scylla.prepare(Mode::Condition(Reach::Everywhere), "cql: probe conditions", INSERT).await?;
    let select = scylla.prepare(Mode::SerialRead(Reach::Everywhere), "cql: read the probe", SELECT).await?;
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        match attempt(scylla, &insert, &select).await {
            Ok(()) => return Ok(()),
            Err(error) => why = error,
        }
    }
    Err(OpenError::NoConditions { url: scylla.url().to_string(), why })
}

/// Each attempt has a row of its own; the same row is refused the second time, and is read back.
async fn attempt(scylla: &Scylla, insert: &Prepared, select: &Prepared) -> Result<(), String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    let (attempt, at) = (i64::from_le_bytes(bytes), 1_i64);
    let told = |error: domain::port::PortError| error.source.as_deref().map_or_else(|| error.to_string(), ToString::to_string);
    let first = scylla.decide(insert, (attempt, at)).await.map_err(told)?;
    let second = scylla.decide(insert, (attempt, at + 1)).await.map_err(told)?;
    let rows = scylla.rows(select, (attempt,)).await.map_err(told)?;
    let stored = rows.first(|fields| fields.need::<i64>("at").and_then(value::to_count)).map_err(told)?;
    match (first.applied, second.applied, stored) {
        (true, false, Some(1)) => Ok(()),
        (first, second, stored) => {
            Err(format!("a row inserted twice `IF NOT EXISTS` was answered {first} and {second}, and holds {stored:?}"))
        }
    }
}
