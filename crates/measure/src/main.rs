//! What `scripts/bench` measures inside a process, through the product's own services and stores: a program for the workshop, which
//! no other crate knows. Each file is one measurement; lines that begin with FIGURE are for the script.
//! Read `work.rs` for the functions of the redirect path that are counted one by one.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

mod clicks;
mod count;
mod cql_ratio;
mod figures;
mod files;
mod ids;
mod kafka_ratio;
mod l1;
mod load;
mod miss;
mod placement;
mod redis_mapping;
mod stats;
mod work;
mod zipf;

use std::process::ExitCode;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "measure NAME …
  clicks FOLDER CLICKS [scylla://HOST/KEYSPACE]   appending, and consuming into a sink, SQLite, CQL
  count NAME TIMES                                runs a function of work.rs so often, for callgrind; without arguments: names them
  cql_ratio HOST:PORT ROUNDS                      creates and finds of the store beside the bare driver
  ids SECONDS                                     ids and blocks of codes, in process and over gRPC
  kafka_ratio HOST:PORT RECORDS FOLDER            the consumer of clicks beside the bare client; FOLDER is the broker's
  l1 LINKS                                        bytes of memory a link in L1 takes
  load FOLDER LINKS CLICK_BYTES                   a server's data folder with so many links, and uncounted clicks of so many bytes
  miss FOLDER SECONDS LINKS…                      lookups in a SQLite file that grows to so many links
  placement REQUESTS                              who answers which code, and what moves when a replica joins or leaves
  redis_mapping LINKS                             bytes and time of a link in Redis beside plain SET and GET
  stats FOLDER CLICKS LINKS                       a link's 30 days and breakdown, on quarter-hours and rolled up";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        // On this thread alone, so that callgrind sees all of it in one place.
        ["count"] => count::names(),
        ["count", name, times] => count::run(name, times),
        arguments => match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(run(arguments)),
            Err(error) => Err(error.into()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        ["clicks", folder, clicks] => Box::pin(clicks::run(folder, clicks, None)).await,
        ["clicks", folder, clicks, cql] => Box::pin(clicks::run(folder, clicks, Some(cql))).await,
        ["cql_ratio", servers, rounds] => Box::pin(cql_ratio::run(servers, rounds)).await,
        ["kafka_ratio", brokers, records, folder] => Box::pin(kafka_ratio::run(brokers, records, folder)).await,
        ["redis_mapping", links] => Box::pin(redis_mapping::run(links)).await,
        ["ids", seconds] => Box::pin(ids::run(seconds)).await,
        ["l1", links] => Box::pin(l1::run(links)).await,
        ["load", folder, links, click_bytes] => Box::pin(load::run(folder, links, click_bytes)).await,
        ["miss", folder, seconds, links @ ..] if !links.is_empty() => Box::pin(miss::run(folder, seconds, links)).await,
        ["placement", requests] => Box::pin(placement::run(requests)).await,
        ["stats", folder, clicks, links] => Box::pin(stats::run(folder, clicks, links)).await,
        _ => anyhow::bail!("usage: {USAGE}"),
    }
}
