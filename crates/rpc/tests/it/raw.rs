//! What others see who bring their own client: health, reflection, limits, deadlines.

use std::time::{Duration, UNIX_EPOCH};

use prost::Message;
use rpc::Services;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt as _;

use crate::fakes::{Codes, CountedIds};
use crate::port::{Port, until};

#[derive(Clone, PartialEq, Message)]
struct Count {
    #[prost(uint32, tag = "1")]
    count: u32,
    /// A field that no version knows.
    #[prost(bytes = "vec", tag = "900")]
    padding: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Ids {
    #[prost(fixed64, repeated, tag = "1")]
    ids: Vec<u64>,
}

fn channel(port: &Port) -> Channel {
    Endpoint::try_from(format!("http://{}", port.address)).unwrap().connect_lazy()
}

async fn next_ids(port: &Port, request: Request<Count>) -> Result<Ids, Status> {
    call(port, "/terse.v1.Ids/NextIds", request).await
}

async fn call(port: &Port, path: &'static str, request: Request<Count>) -> Result<Ids, Status> {
    let mut grpc = Grpc::new(channel(port));
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Count, Ids>::default();
    let answer = grpc.unary(request, http::uri::PathAndQuery::from_static(path), codec).await;
    answer.map(tonic::Response::into_inner)
}

fn timed(count: Count) -> Request<Count> {
    let mut request = Request::new(count);
    request.set_timeout(Duration::from_secs(5));
    request
}

#[tokio::test]
async fn another_grpc_client_is_answered() {
    let port = Port::open(Services::default().ids(CountedIds::new(9))).await;
    let ids = next_ids(&port, timed(Count { count: 3, padding: vec![1; 60_000] })).await.unwrap();
    assert_eq!(ids.ids, [1, 2, 3]);
}

#[tokio::test]
async fn an_answer_says_when_it_was_given() {
    let port = Port::open(Services::default().ids(CountedIds::new(9))).await;
    let mut grpc = Grpc::new(channel(&port));
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Count, Ids>::default();
    let path = http::uri::PathAndQuery::from_static("/terse.v1.Ids/NextIds");
    let asked = UNIX_EPOCH.elapsed().unwrap().as_millis();
    let answer = grpc.unary(timed(Count { count: 1, padding: Vec::new() }), path, codec).await.unwrap();
    let given: u128 = answer.metadata().get("terse-clock-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!((asked..=UNIX_EPOCH.elapsed().unwrap().as_millis()).contains(&given), "{given}");
}

#[tokio::test]
async fn a_call_without_a_deadline_is_refused() {
    let ids = CountedIds::new(9);
    let port = Port::open(Services::default().ids(ids.clone())).await;
    for wrong in [None, Some("soon"), Some("999999999S"), Some("-1S")] {
        let mut request = Request::new(Count { count: 3, padding: Vec::new() });
        if let Some(wrong) = wrong {
            request.metadata_mut().insert("grpc-timeout", wrong.parse().unwrap());
        }
        let status = next_ids(&port, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("grpc-timeout"), "{}", status.message());
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("invalid_field", "terse"));
    }
    assert_eq!(ids.calls(), 0);
}

#[tokio::test]
async fn an_oversized_request_is_refused_unread() {
    let ids = CountedIds::new(9);
    let port = Port::open(Services::default().ids(ids.clone()).resolver(Codes::new(1))).await;
    for (path, len) in [("/terse.v1.Ids/NextIds", 70_000), ("/terse.v1.Ids/NextIds", 5_000_000), ("/terse.v1.Resolver/Resolve", 5_000_000)]
    {
        let status = call(&port, path, timed(Count { count: 1, padding: vec![1; len] })).await.unwrap_err();
        assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
    }
    assert_eq!(ids.calls(), 0);
    assert_eq!(next_ids(&port, timed(Count { count: 1, padding: Vec::new() })).await.unwrap().ids, [1], "the port goes on");
}

#[tokio::test]
async fn compressed_messages_are_refused() {
    let port = Port::open(Services::default().ids(CountedIds::new(9))).await;
    let mut request = timed(Count { count: 1, padding: Vec::new() });
    request.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    assert_eq!(next_ids(&port, request).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn what_is_not_offered_is_unimplemented() {
    let port = Port::open(Services::default().ids(CountedIds::new(9))).await;
    for path in ["/terse.v1.Links/Get", "/terse.v1.Ids/Nothing", "/nothing/at/all", "/"] {
        let status = call(&port, path, timed(Count::default())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn health_tells_of_each_service_until_the_drain() {
    let ids = CountedIds::new(0);
    let port = Port::open(Services::default().ids(ids.clone())).await;
    let mut health = HealthClient::new(channel(&port));
    let asked = |service: &str| HealthCheckRequest { service: service.into() };
    for service in ["", "terse.v1.Ids"] {
        let answer = health.check(asked(service)).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    assert_eq!(health.check(asked("terse.v1.Links")).await.unwrap_err().code(), Code::NotFound);
    let mut watch = health.watch(asked("terse.v1.Ids")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    port.life.drain();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_tells_of_what_is_offered_and_of_every_message() {
    let port = Port::open(Services::default().ids(CountedIds::new(9))).await;
    let mut reflection = ServerReflectionClient::new(channel(&port));
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let asks = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("terse.v1.Click".into())),
        ask(MessageRequest::FileContainingSymbol("terse.v1.Links.BulkCreate".into())),
        ask(MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".into())),
    ];
    let mut answers = reflection.server_reflection_info(tokio_stream_of(asks)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response else {
        panic!("no list of services");
    };
    let mut names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    let reflections = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    assert_eq!(names, ["grpc.health.v1.Health", reflections[0], reflections[1], "terse.v1.Ids"]);
    for _ in 0..3 {
        let answer = answers.message().await.unwrap().unwrap().message_response;
        assert!(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn older_tools_are_told_the_same() {
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1alpha::{ServerReflectionRequest, ServerReflectionResponse};

    let port = Port::open(Services::default().ids(CountedIds::new(9))).await;
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let asks = [ServerReflectionRequest { host: String::new(), message_request }];
    let answers = ServerReflectionClient::new(channel(&port)).server_reflection_info(tokio_stream_of(asks)).await;
    let answer: ServerReflectionResponse = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("no list of services") };
    assert!(list.service.iter().any(|service| service.name == "terse.v1.Ids"));
}

fn tokio_stream_of<T: Send + 'static>(
    items: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
) -> impl futures_util::Stream<Item = T> + Send {
    futures_util::stream::iter(items)
}

#[tokio::test]
async fn a_connection_that_grows_old_is_replaced_without_a_failed_call() {
    use rpc::IdsClient;
    let options = rpc::server::Options { max_connection_age: Duration::from_millis(20), ..crate::port::options() };
    let ids = CountedIds::new(9);
    let port = Port::with(Services::default().ids(ids.clone()), options).await;
    let client = IdsClient::new(port.replicas());
    until("many calls over many connections", async || {
        domain::api::Ids::next_ids(&client, 1, crate::port::soon()).await.unwrap();
        ids.calls() > 200
    })
    .await;
}
