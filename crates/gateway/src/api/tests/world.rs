//! A gateway before services in memory, and a client.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use domain::{ApiKey, KeyId, KeyName, Owner, Scope, UnixMs};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::backend::{Backend, NOW};
use crate::Services;
use crate::api::router;
use crate::auth;
use crate::options::Options;
use crate::state::{Gateway, Peer};

pub(super) struct World {
    pub(super) backend: Arc<Backend>,
    gateway: Arc<Gateway>,
    router: Router,
}

/// An answer, read to its end.
pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and problem code in one.
    pub(super) fn short(&self) -> String {
        if self.header("content-type") == "application/problem+json" {
            format!("{} {}", self.status.as_u16(), self.code())
        } else {
            self.status.as_u16().to_string()
        }
    }

    pub(super) fn pointers(&self) -> Vec<String> {
        let body = self.json();
        body["errors"].as_array().into_iter().flatten().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(super) fn with(options: Options) -> Self {
        let backend = Backend::new();
        let services = Services {
            links: backend.clone(),
            resolver: backend.clone(),
            stats: backend.clone(),
            history: backend.clone(),
            ids: backend.clone(),
            claims: backend.clone(),
            keys: backend.clone(),
            domains: backend.clone(),
            limiter: backend.clone(),
            clock: backend.clone(),
            entropy: backend.clone(),
        };
        let gateway = Gateway::new(services, options);
        Self { backend, router: router(gateway.clone()), gateway }
    }

    /// One request at work for as long as the answer lives.
    pub(super) fn occupy(&self) -> crate::shedding::Permit {
        self.gateway.shed.try_acquire(crate::shedding::Class::Redirect).unwrap()
    }

    /// A key of `owner` with `scopes`; answers its text.
    pub(super) fn key(&self, owner: &str, scopes: &[Scope]) -> String {
        self.key_until(owner, scopes, None).0
    }

    pub(super) fn key_until(&self, owner: &str, scopes: &[Scope], expires_at: Option<UnixMs>) -> (String, KeyId) {
        let (text, hash) = auth::generate_key(self.backend.as_ref());
        let id = KeyId::new(self.backend.next());
        self.backend.keys.lock().unwrap().push(ApiKey {
            id,
            name: KeyName::from_stored("test"),
            hash,
            owner: Owner::from_stored(owner),
            scopes: scopes.iter().copied().collect(),
            created_at: UnixMs::new(NOW),
            expires_at,
            revoked_at: None,
        });
        (text, id)
    }

    pub(super) async fn send(&self, mut request: Request<Body>) -> Got {
        let peer = Peer { ip: "192.0.2.1".parse().unwrap(), request_id: self.gateway.request_ids.next() };
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let got = Got { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() };
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_eq!(got.header("cache-control"), "no-store");
        assert!(got.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(got.header("x-request-id"), peer.request_id.to_string());
        if got.header("content-type") == "application/problem+json" {
            let body = got.json();
            assert_eq!(body["request_id"], peer.request_id.to_string());
            assert_eq!(body["status"], got.status.as_u16());
        } else {
            assert!(!got.status.is_client_error() && !got.status.is_server_error(), "{}: {}", got.status, got.text);
        }
        got
    }

    /// A call with headers and a body.
    #[expect(clippy::too_many_arguments, reason = "a test says all of a request on one line")]
    pub(super) async fn ask(&self, key: &str, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Got {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}")).header("authorization", format!("Bearer {key}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(super) async fn get(&self, key: &str, path: &str) -> Got {
        self.ask(key, Method::GET, path, &[], "").await
    }

    pub(super) async fn post(&self, key: &str, path: &str, body: Value) -> Got {
        self.ask(key, Method::POST, path, &[], body.to_string()).await
    }

    pub(super) async fn patch(&self, key: &str, path: &str, body: Value) -> Got {
        self.ask(key, Method::PATCH, path, &[], body.to_string()).await
    }

    pub(super) async fn delete(&self, key: &str, path: &str) -> Got {
        self.ask(key, Method::DELETE, path, &[], "").await
    }

    /// A link of whoever's key it is; answers its id.
    pub(super) async fn link(&self, key: &str, target: &str) -> String {
        let got = self.post(key, "/links", serde_json::json!({ "target": target })).await;
        assert_eq!(got.short(), "201", "{}", got.text);
        got.json()["id"].as_str().unwrap().to_owned()
    }
}
