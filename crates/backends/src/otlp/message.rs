//! Spans as the messages of OTLP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::trace::{Attribute, Finished, Kind, TraceContext, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::Options;

pub(super) fn request(options: &Options, spans: impl Iterator<Item = Finished>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope { name: "terse".into(), version: options.version.into(), ..InstrumentationScope::default() };
    let spans = ScopeSpans { scope: Some(scope), spans: spans.map(span).collect(), ..ScopeSpans::default() };
    let resource = Resource { attributes: resource(options), ..Resource::default() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

fn resource(options: &Options) -> Vec<KeyValue> {
    let texts = [
        ("service.name", options.service.clone()),
        ("service.namespace", "terse".to_owned()),
        ("service.version", options.version.to_owned()),
        ("service.instance.id", options.instance.clone()),
    ];
    texts.into_iter().map(|(key, text)| attribute((key, Value::Text(text)))).collect()
}

fn span(span: Finished) -> Span {
    let kind = match span.what.kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    };
    let code = if span.error.is_some() { StatusCode::Error } else { StatusCode::Unset };
    Span {
        trace_id: trace_id(span.context),
        span_id: span_id(span.context.span_id()),
        parent_span_id: span.parent.map(span_id).unwrap_or_default(),
        flags: flags(span.context),
        name: span.what.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.began),
        end_time_unix_nano: nanos(span.began + span.took),
        attributes: span.what.attributes.into_iter().map(attribute).collect(),
        links: span.links.into_iter().map(link).collect(),
        status: Some(Status { message: String::new(), code: code.into() }),
        ..Span::default()
    }
}

fn link(to: TraceContext) -> Link {
    Link { trace_id: trace_id(to), span_id: span_id(to.span_id()), flags: flags(to), ..Link::default() }
}

fn trace_id(context: TraceContext) -> Vec<u8> {
    context.trace_id().to_be_bytes().to_vec()
}

fn span_id(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

/// As in a `traceparent`.
fn flags(context: TraceContext) -> u32 {
    context.is_sampled().into()
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute((key, value): Attribute) -> KeyValue {
    let value = match value {
        Value::Static(text) => any_value::Value::StringValue(text.to_owned()),
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Int(number) => any_value::Value::IntValue(number),
        Value::Bool(is) => any_value::Value::BoolValue(is),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use chassis::trace::Description;

    use super::*;

    #[test]
    fn a_span_says_where_it_belongs_how_long_it_took_and_how_it_ended() {
        let context = TraceContext::new(0x0102 << 112, 0x0304, true).unwrap();
        let what = Description { name: "SELECT links".into(), kind: Kind::Client, attributes: vec![("n", Value::Int(7))] };
        let began = UNIX_EPOCH + Duration::from_secs(1);
        let finished =
            Finished { context, parent: Some(5), what, began, took: Duration::from_nanos(9), links: vec![context], error: Some("full") };
        let endpoint = "http://127.0.0.1:4317".parse().unwrap();
        let options = Options { endpoint, service: "terse-links".into(), version: "1.2.3", instance: "a".into() };
        let request = request(&options, [finished].into_iter());
        let [spans] = &request.resource_spans[..] else { panic!("one process") };
        let named = |key: &str| spans.resource.as_ref().unwrap().attributes.iter().any(|attribute| attribute.key == key);
        assert!(["service.name", "service.version", "service.instance.id"].into_iter().all(named));
        let [span] = &spans.scope_spans[0].spans[..] else { panic!("one span") };
        assert_eq!((&span.trace_id[..3], &span.span_id[6..], &span.parent_span_id[7..]), (&[1, 2, 0][..], &[3, 4][..], &[5][..]));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_000_000_000, 1_000_000_009));
        assert_eq!((span.kind(), span.status.as_ref().unwrap().code()), (SpanKind::Client, StatusCode::Error));
        assert_eq!((span.flags, span.links[0].span_id[7], &span.attributes[0].key[..]), (1, 4, "n"));
    }
}
