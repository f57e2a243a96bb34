//! Every endpoint: without a key, with each scope missing, and with somebody else's key.

use domain::{Scope, UnixMs};
use http::Method;
use serde_json::Value;

use super::backend::NOW;
use super::world::World;
use crate::openapi::openapi_json;

/// Method, path, body, the scope needed, and whether the path names an object of owner `one`.
type Endpoint = (&'static str, &'static str, &'static str, Option<Scope>, Whose);

#[derive(Clone, Copy, PartialEq)]
enum Whose {
    /// The call is about the caller's own.
    Own,
    /// The object belongs to owner `one`: another owner gets 404.
    One,
    /// Objects of the whole service.
    Everyone,
}

use Scope::{Admin, KeysWrite, LinksRead, LinksWrite, StatsRead};
use Whose::{Everyone, One, Own};

const LINK: &str = r#"{"target":"https://example.com/"}"#;

const HISTORY: &str = r#"{"days":[{"start":"2026-11-01T00:00:00Z","clicks":3,"humans":2,"visitors":1}]}"#;

/// `{id}` is a link of owner `one`, `{key}` a key of owner `one`.
const TABLE: &[Endpoint] = &[
    ("POST", "/links", LINK, Some(LinksWrite), Own),
    ("GET", "/links", "", Some(LinksRead), Own),
    ("POST", "/links/bulk", r#"{"links":[{"target":"https://example.com/"}]}"#, Some(LinksWrite), Own),
    ("POST", "/links/bulk-delete", r#"{"tag":"old"}"#, Some(LinksWrite), Own),
    ("GET", "/links/lookup?code=mine", "", Some(LinksRead), One),
    ("GET", "/links/{id}", "", Some(LinksRead), One),
    ("PATCH", "/links/{id}", r#"{"title":"t"}"#, Some(LinksWrite), One),
    ("GET", "/links/{id}/stats", "", Some(StatsRead), One),
    ("GET", "/links/{id}/stats/{dimension}", "", Some(StatsRead), One),
    ("POST", "/links/{id}/history", HISTORY, Some(Admin), Everyone),
    ("POST", "/links/{id}/block", r#"{"reason":"spam"}"#, Some(Admin), Everyone),
    ("POST", "/links/{id}/unblock", "", Some(Admin), Everyone),
    ("DELETE", "/links/{id}", "", Some(LinksWrite), One),
    ("POST", "/links/{id}/restore", "", Some(LinksWrite), One),
    ("GET", "/stats", "", Some(StatsRead), Own),
    ("GET", "/stats/links", "", Some(StatsRead), Own),
    ("GET", "/stats/{dimension}", "", Some(StatsRead), Own),
    ("GET", "/jobs/{id}", "", Some(LinksWrite), One),
    ("POST", "/keys", r#"{"name":"n","scopes":["keys:write"]}"#, Some(KeysWrite), Own),
    ("GET", "/keys", "", Some(KeysWrite), Own),
    ("DELETE", "/keys/{id}", "", Some(KeysWrite), One),
    ("POST", "/domains", r#"{"host":"new.example"}"#, Some(Admin), Everyone),
    ("GET", "/domains", "", Some(LinksRead), Everyone),
    ("GET", "/domains/{host}", "", Some(LinksRead), Everyone),
    ("PATCH", "/domains/{host}", r#"{"redirect_status":301}"#, Some(Admin), Everyone),
    ("DELETE", "/domains/{host}", "", Some(Admin), Everyone),
    ("GET", "/tags", "", Some(LinksRead), Own),
    ("GET", "/me", "", None, Own),
];

struct Stage {
    world: World,
    link: String,
    key: String,
}

impl Stage {
    /// A fresh world in which owner `one` has a link named `mine` and a key.
    async fn new() -> Self {
        let world = World::new();
        let owner = world.key("one", &[LinksWrite]);
        let link = world.link(&owner, "https://example.com/").await;
        world.backend.links.lock().unwrap()[0].code = domain::Code::parse_alias("mine").unwrap();
        let (_, id) = world.key_until("one", &[KeysWrite], None);
        Self { world, link, key: id.to_string() }
    }

    async fn call(&self, key: &str, (method, path, body, _, _): Endpoint) -> String {
        let id = if path.starts_with("/keys") {
            &self.key
        } else if path.starts_with("/jobs") {
            "9"
        } else {
            &self.link
        };
        let path = path.replace("{id}", id).replace("{dimension}", "countries").replace("{host}", "go.example");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.world.ask(key, method, &path, &[], body).await.short()
    }
}

#[tokio::test]
async fn no_endpoint_is_open() {
    let stage = Stage::new().await;
    let revoked = stage.world.key_until("one", &[Admin], Some(UnixMs::new(NOW))).0;
    let unknown = crate::auth::generate_key(stage.world.backend.as_ref()).0;
    for (i, endpoint) in TABLE.iter().enumerate() {
        // Failures count against the address, so each gets its share of a fresh world.
        let key = [&revoked, &unknown, "tk_short", ""][i % 4];
        assert_eq!(stage.call(key, *endpoint).await, "401 unauthenticated", "{endpoint:?}");
    }
}

impl std::fmt::Debug for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Own => "own",
            One => "one's",
            Everyone => "everyone's",
        })
    }
}

#[tokio::test]
async fn every_scope_is_needed_and_enough() {
    for endpoint in TABLE {
        let Some(scope) = endpoint.3 else { continue };
        let stage = Stage::new().await;
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|other| *other != scope && *other != Admin).collect();
        let lacking = stage.world.key("one", &others);
        assert_eq!(stage.call(&lacking, *endpoint).await, "403 forbidden", "{endpoint:?}");
        let enough = stage.world.key("one", &[scope]);
        let answer = stage.call(&enough, *endpoint).await;
        assert!(answer.starts_with('2'), "{endpoint:?}: {answer}");
        let stage = Stage::new().await;
        let admin = stage.world.key("root", &[Admin]);
        let answer = stage.call(&admin, *endpoint).await;
        assert!(answer.starts_with('2'), "{endpoint:?} by an admin: {answer}");
    }
}

#[tokio::test]
async fn what_is_somebody_elses_does_not_exist() {
    for endpoint in TABLE.iter().filter(|endpoint| endpoint.4 == One) {
        let stage = Stage::new().await;
        let stranger = stage.world.key("two", &[LinksRead, LinksWrite, StatsRead, KeysWrite]);
        assert_eq!(stage.call(&stranger, *endpoint).await, "404 not_found", "{endpoint:?}");
    }
}

#[tokio::test]
async fn lists_show_only_ones_own() {
    let stage = Stage::new().await;
    let stranger = stage.world.key("two", &[LinksRead, StatsRead, KeysWrite]);
    let all = stage.world.key("root", &[Admin]);
    for path in ["/links", "/stats/links"] {
        assert_eq!(stage.world.get(&stranger, path).await.json()["data"].as_array().unwrap().len(), 0, "{path}");
        assert_eq!(stage.world.get(&all, path).await.json()["data"].as_array().unwrap().len(), 1, "{path}");
    }
    let owners =
        |body: &Value| body["data"].as_array().unwrap().iter().map(|key| key["owner"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(owners(&stage.world.get(&stranger, "/keys").await.json()), ["two"]);
    assert_eq!(stage.world.get(&all, "/keys").await.json()["data"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn the_table_the_router_and_the_document_agree() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut documented = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| ["get", "post", "patch", "delete", "put"].contains(&key.as_str())) {
            documented.push(format!("{} {}", method.to_uppercase(), path.trim_start_matches("/api/v1")));
        }
    }
    documented.sort_unstable();
    let mut tabled: Vec<_> = TABLE.iter().map(|(method, path, ..)| format!("{method} {}", path.split('?').next().unwrap())).collect();
    tabled.push("GET /openapi.json".into());
    tabled.sort_unstable();
    assert_eq!(documented, tabled);
    let stage = Stage::new().await;
    let admin = stage.world.key("root", &[Admin]);
    for (_, path, ..) in TABLE {
        // Every method that is not in the table is answered 405, naming those that are.
        let concrete = path.split('?').next().unwrap();
        let got = stage.world.ask(&admin, Method::PUT, &concrete.replace("{id}", "1").replace("{host}", "go.example"), &[], "{}").await;
        assert_eq!(got.short(), "405 method_not_allowed", "{path}");
        let allowed = got.header("allow");
        for (method, ..) in TABLE.iter().filter(|other| other.1.split('?').next() == Some(concrete)) {
            assert!(allowed.contains(method), "{path}: {allowed}");
        }
    }
}
