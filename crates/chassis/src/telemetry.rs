//! Logs to stderr and metrics for Prometheus.
//!
//! Log lines may carry what strangers sent: control and bidirectional characters are escaped and long values cut, so that
//! no one writes to the operator's terminal or forges a line.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::trace::{self, Scope};
use crate::{Lifecycle, OnError, Stage};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    #[default]
    Auto,
    Pretty,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Heard from `debug` on.
const DRIVERS: [&str; 2] = ["scylla", "rdkafka"];

/// Sends logs to stderr from now on. A second call changes nothing.
pub fn init_logs(format: LogFormat, level: LogLevel) {
    let on_terminal = std::io::stderr().is_terminal();
    let lines = match format {
        LogFormat::Json => Lines::Json,
        LogFormat::Auto if !on_terminal => Lines::Json,
        LogFormat::Auto | LogFormat::Pretty => Lines::Pretty,
    };
    let level = LevelFilter::from(level);
    // Drivers complain of each request and each lost connection; what matters of it is said once, by who asked.
    let of_drivers = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    let filter = DRIVERS.iter().fold(Targets::new().with_default(level), |filter, name| filter.with_target(*name, of_drivers));
    let layer =
        tracing_subscriber::fmt::layer().with_writer(|| Stderr).with_ansi(on_terminal && lines == Lines::Pretty).event_format(lines);
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    // Only tests call this more than once in a process.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Standard error that is never full: a line that cannot be written is lost, where the subscriber's
/// complaint about it would be a panic in whatever was being logged.
struct Stderr;

impl std::io::Write for Stderr {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Pretty,
    Json,
}

/// Bytes of one value in a log line; a request line or a header never needs more to be recognised.
const VALUE_LEN_MAX: usize = 2_048;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.push_scope(trace::current());
        let spans = context.event_scope().into_iter().flat_map(|scope| scope.from_root().map(|span| span.name()));
        let spans: Vec<&str> = spans.collect();
        let meta = event.metadata();
        let mut ts = String::new();
        SystemTime.format_time(&mut Writer::new(&mut ts))?;
        match self {
            Self::Json => {
                let mut line = serde_json::Map::new();
                line.insert("ts".into(), ts.into());
                line.insert("level".into(), meta.level().as_str().to_ascii_lowercase().into());
                line.insert("target".into(), meta.target().into());
                line.insert("msg".into(), fields.message.into());
                if !spans.is_empty() {
                    line.insert("spans".into(), spans.into());
                }
                for (name, value) in fields.others {
                    line.entry(name).or_insert(value);
                }
                writeln!(writer, "{}", serde_json::Value::Object(line))
            }
            Self::Pretty => {
                let (on, dim, off) = if writer.has_ansi_escapes() { (colour(*meta.level()), "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
                let time = ts.get(11..19).unwrap_or(&ts);
                write!(writer, "{dim}{time}{off} {on}{:>5}{off} {dim}{}", meta.level(), meta.target())?;
                spans.iter().try_for_each(|span| write!(writer, ":{span}"))?;
                write!(writer, "{off} {}", fields.message)?;
                for (name, value) in &fields.others {
                    let bare = value.as_str().filter(|text| !text.is_empty() && !text.contains([' ', '"', '=']));
                    match bare {
                        Some(text) => write!(writer, " {dim}{name}={off}{text}")?,
                        None => write!(writer, " {dim}{name}={off}{value}")?,
                    }
                }
                writeln!(writer)
            }
        }
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

/// An event's fields, made harmless.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, serde_json::Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: serde_json::Value) {
        self.others.push((field.name().to_owned(), value));
    }

    /// The request that is worked on, unless the event names it itself.
    fn push_scope(&mut self, scope: Scope) {
        let request = scope.request.map(|id| ("request_id", id.to_string()));
        let trace = scope.trace.map(|context| ("trace_id", format!("{:032x}", context.trace_id())));
        for (name, value) in request.into_iter().chain(trace) {
            if !self.others.iter().any(|(known, _)| known == name) {
                self.others.push((name.to_owned(), value.into()));
            }
        }
    }

    fn push_text(&mut self, field: &Field, text: &str) {
        let text = harmless(text);
        if field.name() == "message" { self.message = text } else { self.push(field, text.into()) }
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.push_text(field, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push_text(field, &format!("{value:?}"));
    }
}

/// Escapes what moves a cursor, ends a line or turns the direction of text, and cuts what is too long.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(VALUE_LEN_MAX));
    for c in text.chars() {
        if out.len() >= VALUE_LEN_MAX {
            out.push('…');
            break;
        }
        let turns_direction =
            matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || turns_direction {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// From a cache hit at 50 µs to a slow statistics call at 10 s.
const SECONDS_BUCKETS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// For counts, such as the length of a batch.
const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];

/// How often histograms are folded, so that memory stays bounded when nobody scrapes.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Installs the recorder for the whole process. Call it before any handle is made.
///
/// # Errors
/// When a recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS_BUCKETS)?
        .set_buckets(COUNT_BUCKETS)?
        .install_recorder()
}

/// Folds histograms now and then for as long as the process lives.
pub fn spawn_upkeep(lifecycle: &Lifecycle, handle: PrometheusHandle) {
    let draining = lifecycle.draining(Stage::Background);
    lifecycle.spawn("metrics upkeep", Stage::Background, OnError::Log, async move {
        while tokio::time::timeout(UPKEEP_PERIOD, draining.cancelled()).await.is_err() {
            handle.run_upkeep();
        }
        Ok::<_, std::convert::Infallible>(())
    });
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(lines: Lines, then: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).event_format(lines).finish();
        tracing::subscriber::with_default(subscriber, then);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_carry_time_level_target_message_and_fields() {
        let line = logged(Lines::Json, || tracing::info!(port = 8080, host = "a b", "listening"));
        let json: serde_json::Value = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!(json["level"], "info");
        assert_eq!(json["msg"], "listening");
        assert_eq!(json["port"], 8080);
        assert_eq!(json["host"], "a b");
        assert!(json["ts"].as_str().unwrap().ends_with('Z'));
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn strangers_cannot_write_lines_or_move_the_cursor() {
        let evil = "x\r\n2026 ERROR forged\x1b[2J\u{202e}gpj\u{85}";
        for lines in [Lines::Json, Lines::Pretty] {
            let line = logged(lines, || tracing::warn!(agent = evil, error = %evil, "refused {evil}"));
            assert_eq!(line.lines().count(), 1, "{line:?}");
            let body = line.trim_end_matches('\n');
            assert!(!body.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
            assert!(body.contains("\\u{1b}") || body.contains("\\\\u{1b}"), "{line:?}");
        }
    }

    #[test]
    fn lines_name_the_request_and_the_trace_they_belong_to() {
        let trace = trace::TraceContext::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
        let scope = Scope { trace, request: crate::RequestId::parse(b"from-the-edge") };
        for lines in [Lines::Json, Lines::Pretty] {
            let line = logged(lines, || trace::within(scope, || tracing::warn!("refused")));
            assert!(line.contains("from-the-edge") && line.contains("0af7651916cd43dd8448eb211c80319c"), "{line}");
            let own = logged(lines, || trace::within(scope, || tracing::warn!(request_id = "its-own-name", "refused")));
            assert!(own.contains("its-own-name") && !own.contains("from-the-edge"), "{own}");
            assert!(!logged(lines, || tracing::warn!("refused")).contains("_id"));
        }
    }

    #[test]
    fn long_values_are_cut() {
        assert!(harmless(&"a".repeat(1 << 20)).len() < VALUE_LEN_MAX + 8);
    }
}
