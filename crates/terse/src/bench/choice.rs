//! What is asked: the requests, and which of them next.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use super::BenchArgs;
use super::dice::{Dice, Zipf};
use crate::client::table::harmless;

/// In a body: the number of the request.
const NUMBER: &str = "{i}";

#[derive(Clone, Copy, Debug)]
enum Law {
    Uniform,
    Zipf(Zipf),
    InOrder,
}

pub(super) struct Choice {
    /// Of every address, where it is and what is sent besides path and body.
    servers: Vec<Server>,
    method: Method,
    body: Option<String>,
    /// Paths one after the other, and where each ends.
    paths: String,
    ends: Vec<usize>,
    law: Law,
}

struct Server {
    /// Scheme, host and port.
    address: Uri,
    headers: HeaderMap,
}

/// A request, and the server it is for.
pub(super) struct Chosen<'a> {
    /// Connections are to one server.
    pub(super) server: usize,
    pub(super) address: &'a Uri,
    pub(super) request: Request<Full<Bytes>>,
}

impl Choice {
    pub(super) fn new(args: &BenchArgs) -> anyhow::Result<Self> {
        let mut choice = Self {
            servers: args.urls.iter().map(|url| Server::new(url, args)).collect::<anyhow::Result<_>>()?,
            method: args.method.clone(),
            body: args.body.clone(),
            paths: String::new(),
            ends: Vec::new(),
            law: Law::Uniform,
        };
        if let Some(file) = &args.codes {
            let [url] = args.urls.as_slice() else { bail!("codes are asked of one address; give one URL") };
            let base = url.path().trim_end_matches('/');
            let codes = std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
            for code in codes.lines().map(str::trim).filter(|code| !code.is_empty()) {
                choice.add(&format!("{base}/{}", code.trim_start_matches('/')))?;
            }
            anyhow::ensure!(!choice.ends.is_empty(), "`{}` holds no code", file.display());
        } else {
            args.urls.iter().try_for_each(|url| choice.add(url.path_and_query().map_or("/", PathAndQuery::as_str)))?;
        }
        choice.law = match args.zipf {
            Some(s) => Law::Zipf(Zipf::new(choice.ends.len(), s)),
            None if args.in_order => Law::InOrder,
            None => Law::Uniform,
        };
        Ok(choice)
    }

    fn add(&mut self, path: &str) -> anyhow::Result<()> {
        path.parse::<PathAndQuery>().with_context(|| format!("`{}` cannot stand in an address", harmless(path)))?;
        self.paths.push_str(path);
        self.ends.push(self.paths.len());
        Ok(())
    }

    fn path(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.paths[start..self.ends[index]]
    }

    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn request(&self, number: u64, dice: &mut Dice) -> Chosen<'_> {
        let index = match self.law {
            Law::Uniform => dice.below(self.ends.len()),
            Law::Zipf(zipf) => zipf.rank(dice),
            Law::InOrder => usize::try_from(number).unwrap_or(0) % self.ends.len(),
        };
        let path = self.path(index);
        let server = index % self.servers.len();
        let body = self.body.as_ref().map_or_else(Bytes::new, |body| body.replace(NUMBER, &number.to_string()).into());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        // Was parsed before.
        *request.uri_mut() = path.parse().unwrap_or_default();
        *request.headers_mut() = self.servers[server].headers.clone();
        Chosen { server, address: &self.servers[server].address, request }
    }
}

impl Server {
    fn new(url: &Uri, args: &BenchArgs) -> anyhow::Result<Self> {
        let authority = url.authority().context("an address without a host")?;
        let mut address = url.clone().into_parts();
        address.path_and_query = Some(PathAndQuery::from_static("/"));
        let mut headers = HeaderMap::new();
        // A user's name and password are no part of it.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        headers.insert(HOST, HeaderValue::from_str(host)?);
        if args.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &args.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(Self { address: Uri::from_parts(address)?, headers })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::{Args as _, FromArgMatches as _};
    use http_body_util::BodyExt as _;

    use super::*;

    fn choice(args: &[&str]) -> anyhow::Result<Choice> {
        let command = BenchArgs::augment_args(clap::Command::new("bench"));
        let matches = command.try_get_matches_from([&["bench"], args].concat())?;
        Choice::new(&BenchArgs::from_arg_matches(&matches)?)
    }

    fn paths(choice: &Choice, count: u64) -> Vec<String> {
        let mut dice = Dice::new(1, 0);
        (0..count).map(|number| choice.request(number, &mut dice).request.uri().to_string()).collect()
    }

    #[test]
    fn codes_are_asked_below_the_address() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"aB3\n\n/d4E\r\n").unwrap();
        let name = file.path().to_str().unwrap();
        let in_order = choice(&["http://x:1/go/", "--codes", name, "--in-order"]).unwrap();
        assert_eq!(paths(&in_order, 3), ["/go/aB3", "/go/d4E", "/go/aB3"]);
        let zipf = choice(&["http://x:1", "--codes", name, "--zipf", "1"]).unwrap();
        let first = paths(&zipf, 3_000).iter().filter(|path| *path == "/aB3").count();
        assert!((1_850..2_150).contains(&first), "two of three, not {first}");
        let uniform = choice(&["http://x:1", "--codes", name]).unwrap();
        let first = paths(&uniform, 3_000).iter().filter(|path| *path == "/aB3").count();
        assert!((1_350..1_650).contains(&first), "half, not {first}");
        assert!(choice(&["http://x:1", "http://y:1", "--codes", name]).is_err());
        std::fs::write(name, "\n").unwrap();
        assert!(choice(&["http://x:1", "--codes", name]).is_err(), "no code");
        std::fs::write(name, "a b").unwrap();
        assert!(choice(&["http://x:1", "--codes", name]).is_err(), "no path");
    }

    #[tokio::test]
    async fn addresses_keep_their_server_and_bodies_get_numbers() {
        let args = ["http://u:p@one:1/a?b=c", "https://two/", "--in-order", "--method", "POST", "--body", "<{i}>", "--header", "X-A: b"];
        let choice = choice(&args).unwrap();
        let mut dice = Dice::new(1, 0);
        let first = choice.request(0, &mut dice);
        assert_eq!((first.request.uri().to_string(), first.request.headers()["host"].as_bytes()), ("/a?b=c".to_owned(), &b"one:1"[..]));
        let second = choice.request(7, &mut dice);
        assert_eq!((second.address.to_string(), second.server), ("https://two/".to_owned(), 1));
        assert_eq!((second.request.headers()["x-a"].as_bytes(), second.request.method()), (&b"b"[..], &Method::POST));
        assert_eq!(second.request.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(second.request.into_body().collect().await.unwrap().to_bytes(), "<7>");
    }
}
