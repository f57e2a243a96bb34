//! The API as the commands call it: one server, one key, answers as JSON, failures as sentences.
#![expect(clippy::doc_markdown, reason = "the comments of arguments are the help, read in a terminal")]

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use chassis::config::{Environment, Flag, Loaded, Sources};
use clap::Args;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::table::harmless;
use crate::config::Config;
use crate::data_folder::admin_key_path;
use crate::failure::WrongUse;

/// Longer than the server's longest deadline (a bulk), so that its answer is heard.
const TIMEOUT: Duration = Duration::from_secs(35);
/// Bytes of an answer: a page of 1,000 of the longest links.
const ANSWER_LEN_MAX: usize = 64 * 1024 * 1024;

/// Which server, as whom.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ConnectArgs {
    /// Where the server is [env: TERSE__CLIENT__SERVER] [default: http://localhost:8080].
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// API key [env: TERSE__CLIENT__KEY] [default: what ./terse-data/admin.key holds].
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub(crate) struct Api {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    server: String,
    key: String,
    /// Where the key was found, for when the server does not know it.
    key_origin: String,
}

/// An answer that is not a success, as the server explained it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    text: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {}

impl ConnectArgs {
    /// # Errors
    /// A wrong configuration; no key to be found.
    pub(crate) fn connect(&self) -> anyhow::Result<Api> {
        let flags = [("client.server", "--server", &self.server), ("client.key", "--key", &self.key)];
        let flags = flags
            .into_iter()
            .filter_map(|(key, name, value)| value.clone().map(|value| Flag { key: key.into(), name: name.into(), value }));
        let sources = Sources { file: None, environment: Environment::of_process(), flags: flags.collect() };
        let loaded = chassis::config::load::<Config>(&sources)?;
        let server = server(&loaded)?;
        let (key, key_origin) = key(&loaded)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(Duration::from_secs(5)));
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(http);
        let http = Client::builder(TokioExecutor::new()).build(https);
        Ok(Api { http, server, key, key_origin })
    }
}

/// `http://HOST[:PORT][/PATH]`, without a slash at its end.
fn server(loaded: &Loaded<Config>) -> anyhow::Result<String> {
    let config = &loaded.settings;
    let Some(given) = &config.client.server else {
        return Ok(config.public_url.as_ref().map_or_else(|| "http://localhost:8080".to_owned(), |url| url.0.to_string()));
    };
    let url = given.trim().parse::<http::Uri>().ok();
    let url = url.filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty()) && url.query().is_none()
    });
    if url.is_none() {
        let text = format!("{}\n  not a server address; give one such as http://localhost:8080", loaded.describe("client.server"));
        return Err(WrongUse(text).into());
    }
    Ok(given.trim().trim_end_matches('/').to_owned())
}

/// The key, and where it was found.
fn key(loaded: &Loaded<Config>) -> anyhow::Result<(String, String)> {
    let path = admin_key_path(&loaded.settings.data);
    let (key, origin) = match &loaded.settings.client.key {
        Some(key) => (key.trim().to_owned(), loaded.origin("client.key").to_string()),
        None => match std::fs::read_to_string(&path) {
            Ok(text) => (text.trim().to_owned(), format!("`{}`", path.display())),
            Err(error) => bail!(
                "no API key: `{}` cannot be read: {error}\n  give one by --key or TERSE__CLIENT__KEY, or the folder of the server's admin key by TERSE__DATA",
                path.display()
            ),
        },
    };
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = format!("the API key from {origin} is not one: keys look like tk_… and have no spaces");
        return Err(WrongUse(text).into());
    }
    Ok((key, origin))
}

impl Api {
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.call(Method::GET, path, None).await?.0)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        Ok(self.call(Method::POST, path, Some((body, &[]))).await?.0)
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        Ok(self.call(Method::PATCH, path, Some((body, &[]))).await?.0)
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.call(Method::DELETE, path, None).await.map(|_| ())
    }

    /// Sends `body` with `headers`; answers the JSON and the answer's headers.
    ///
    /// # Errors
    /// [`Refused`] when the server says no; other errors when there is no answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&Value, &[(header::HeaderName, &str)])>,
    ) -> anyhow::Result<(Value, HeaderMap)> {
        let what = format!("{method} {}{path}", self.server);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::ACCEPT, "application/json");
        let mut content = Bytes::new();
        if let Some((body, headers)) = body {
            request = request.header(header::CONTENT_TYPE, "application/json");
            request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
            content = serde_json::to_vec(body)?.into();
        }
        let request = request.body(Full::new(content)).with_context(|| format!("{what} cannot be asked"))?;
        let exchange = async {
            let answer = self.http.request(request).await?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_LEN_MAX).collect().await.map_err(|error| anyhow::anyhow!(error))?;
            anyhow::Ok((parts, body.to_bytes()))
        };
        let (parts, body) = match tokio::time::timeout(TIMEOUT, exchange).await {
            Err(_) => bail!("{what}: no answer within {} s", TIMEOUT.as_secs()),
            Ok(Err(error)) => {
                // What lies between says nothing that these two do not.
                let cause = error.root_cause().to_string();
                bail!(
                    "no server answers at {}: {cause}\n  is `terse serve` running, and is --server (TERSE__CLIENT__SERVER) right?",
                    self.server
                );
            }
            Ok(Ok(answered)) => answered,
        };
        let json = if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&body).ok() };
        match json {
            Some(json) if parts.status.is_success() => Ok((json, parts.headers)),
            Some(problem) if problem["code"].is_string() => Err(self.refusal(&what, parts.status, &problem).into()),
            Some(_) | None => bail!(
                "{what}: {} answers, but not as the API of Terse does ({})\n  is --server (TERSE__CLIENT__SERVER) right? The admin port is another one",
                self.server,
                parts.status
            ),
        }
    }

    fn refusal(&self, what: &str, status: StatusCode, problem: &Value) -> Refused {
        let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
        let errors: Vec<_> = problem["errors"].as_array().into_iter().flatten().collect();
        let mut lines = match errors.as_slice() {
            [] => vec![text(&problem["detail"])],
            errors => errors
                .iter()
                .map(|error| format!("{}: {}", text(&error["pointer"]).trim_start_matches('/'), text(&error["detail"])))
                .collect(),
        };
        if status == StatusCode::UNAUTHORIZED {
            lines.push(format!("the key is from {}; another goes by --key or TERSE__CLIENT__KEY", self.key_origin));
        }
        lines.push(format!("({what} answered {} {})", status.as_u16(), text(&problem["code"])));
        Refused { status, text: lines.join("\n  ") }
    }
}

/// A value as part of a query.
pub(crate) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", encode(value))));
    let joined = given.collect::<Vec<_>>().join("&");
    if joined.is_empty() { joined } else { format!("?{joined}") }
}

/// Percent-encodes all but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{encode, query};

    #[test]
    fn what_stands_in_a_query_is_encoded() {
        assert_eq!(encode("a b/ü&=~"), "a%20b%2F%C3%BC%26%3D~");
        assert_eq!(query(&[("a", None), ("b", Some("1".into())), ("c", Some("x y".into()))]), "?b=1&c=x%20y");
        assert_eq!(query(&[("a", None)]), "");
    }
}
