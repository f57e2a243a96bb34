//! `terse metrics`: the list of everything that is measured, for people. Each crate keeps its own; here they come together.

use std::fmt::Write as _;

use chassis::catalogue::{self, Label, Metric};

use crate::gauges;

/// The metrics of one crate.
struct Part {
    title: &'static str,
    /// Which processes have them.
    told_by: &'static str,
    metrics: &'static [Metric],
}

const PARTS: [Part; 11] = [
    Part { title: "The public door", told_by: "`gateway`, `serve`", metrics: gateway::METRICS },
    Part { title: "Redirects", told_by: "`redirect`, `serve`", metrics: redirect::metrics::METRICS },
    Part { title: "Creates and changes", told_by: "`links`, `serve`", metrics: links::METRICS },
    Part {
        title: "Ids and blocks of codes",
        told_by: "`ids`, `serve`; `gateway` and `links` too, which do the same themselves while the ID service does not answer",
        metrics: ids::metrics::METRICS,
    },
    Part { title: "Clicks counted", told_by: "`analytics`, `serve`", metrics: analytics::metrics::METRICS },
    Part {
        title: "Stores, caches, click log",
        told_by: "every process, of what it uses: `terse_store_…` and `terse_click_log_…` are SQLite and files, `terse_cql_…`, `terse_redis_…` the servers",
        metrics: backends::metrics::METRICS,
    },
    Part { title: "Calls between services", told_by: "every process but `serve`", metrics: rpc::METRICS },
    Part { title: "Traces", told_by: "every process, where `traces.otlp_endpoint` is set", metrics: chassis::trace::METRICS },
    Part { title: "The process, as Terse sees it", told_by: "every process", metrics: gauges::METRICS },
    Part { title: "Files that change", told_by: "every process with certificates", metrics: chassis::reload::METRICS },
    Part { title: "The process, as the kernel and the runtime see it", told_by: "every process", metrics: chassis::process::METRICS },
];

/// Gives units and help texts to the recorder.
pub(crate) fn describe() {
    for part in &PARTS {
        catalogue::describe(part.metrics);
    }
}

const HEAD: &str = "\
# Metrics

Every process answers `GET /metrics` on its admin port, in the text format of Prometheus. This page is what `terse metrics` prints, made
from the same lists as the code; `scripts/check metrics` fails when they differ. A metric without any event yet may be missing from an
answer. Histograms have `_bucket`, `_sum` and `_count`; those in seconds have buckets from 50 µs to 10 s. Labels are bounded: never a code,
a URL or an address.

How they are watched: [rules](../deploy/prometheus/), [dashboards](../deploy/grafana/), [what to do](runbooks/README.md).

Two sums hold, over all processes together, as far as two moments of reading agree:

- redirects with `result=\"redirect\"` = clicks recorded + dropped + in queue;
- clicks recorded = records stored by analytics + lag + unstored.

There is no metric of CDN purges yet: nothing purges.
";

/// The page, in Markdown.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for Part { title, told_by, metrics } in &PARTS {
        let _ =
            write!(page, "\n## {title}\n\nTold by {told_by}.\n\n| metric | type | unit | labels | what it says |\n|---|---|---|---|---|\n");
        for metric in *metrics {
            let labels: Vec<_> = metric.labels().iter().map(label).collect();
            let (name, kind, unit, labels) = (metric.name(), metric.kind(), metric.unit(), labels.join("; "));
            let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {} |", metric.help());
        }
    }
    page
}

fn label((name, values): &Label) -> String {
    if values.starts_with('<') {
        return format!("`{name}`: {}", values.trim_matches(['<', '>']));
    }
    let values: Vec<_> = values.split('|').map(|value| format!("`{value}`")).collect();
    format!("`{name}`: {}", values.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chassis::catalogue::Kind;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Metric> {
        PARTS.iter().flat_map(|part| part.metrics)
    }

    #[test]
    fn names_are_unique_and_say_what_prometheus_expects() {
        let mut names = BTreeSet::new();
        for metric in all() {
            let name = metric.name();
            assert!(names.insert(name), "{name} twice");
            assert!(name.starts_with("terse_") || name.starts_with("process_"), "{name}");
            assert_eq!(metric.kind() == Kind::Counter, name.ends_with("_total"), "{name}");
            let counted = name.trim_end_matches("_total");
            assert!(!counted.ends_with("_seconds") || metric.unit() == "seconds", "{name} in {}", metric.unit());
            assert!(!counted.ends_with("_bytes") || metric.unit() == "bytes", "{name} in {}", metric.unit());
            assert!(metric.unit() != "seconds" || counted.ends_with("_seconds"), "{name} has the buckets of counts");
        }
    }

    #[test]
    fn each_has_a_sentence_and_labels_have_values() {
        for metric in all() {
            assert!(metric.help().ends_with('.') && !metric.help().contains(['\n', '|', '<']), "{}: {}", metric.name(), metric.help());
            for (label, values) in metric.labels() {
                assert!(!values.split('|').any(str::is_empty), "{} {label}: {values}", metric.name());
            }
        }
    }

    #[test]
    fn the_page_has_a_row_for_each() {
        let page = page();
        for metric in all() {
            assert!(page.contains(&format!("| `{}` | {} |", metric.name(), metric.kind())), "{}", metric.name());
        }
        assert!(page.contains("`kind`: `redirect`, `page`, `api`; `status`: `1xx`"), "{page}");
    }
}
