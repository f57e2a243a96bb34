//! Traces: whether there are any, and who takes them away.

use std::convert::Infallible;

use anyhow::Context as _;
use backends::otlp;
use chassis::config::Loaded;
use chassis::{Lifecycle, OnError, Stage, trace};

use super::entropy;
use crate::config::{Collector, Config};
use crate::role::Role;
use crate::serve::VERSION;

/// Traces from now on, if the configuration says so. What is left is exported when everything else has ended.
pub(crate) fn start(role: Role, loaded: &Loaded<Config>, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let section = &loaded.settings.traces;
    let Collector::At(endpoint) = &section.otlp_endpoint.0 else { return Ok(()) };
    let options = otlp::Options {
        endpoint: endpoint.clone(),
        service: section.service_name.clone().unwrap_or_else(|| service_name(role)),
        version: VERSION,
        instance: format!("{:016x}", entropy().u64()),
    };
    let exporter = otlp::Exporter::new(options).with_context(|| loaded.describe("traces.otlp_endpoint"))?;
    let options = trace::Options { sample_one_in: section.sample_one_in.to_u32(), slow: section.slow_ms.0 };
    let spans = trace::install(options).context("traces were begun twice")?;
    let draining = lifecycle.draining(Stage::Telemetry);
    lifecycle.spawn("trace export", Stage::Telemetry, OnError::Log, async move {
        exporter.run(spans, draining).await;
        Ok::<_, Infallible>(())
    });
    Ok(())
}

fn service_name(role: Role) -> String {
    match role {
        Role::Serve => "terse".to_owned(),
        Role::Gateway | Role::Ids | Role::Links | Role::Redirect | Role::Analytics => format!("terse-{}", role.as_str()),
    }
}
