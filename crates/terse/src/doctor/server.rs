//! A running server, asked through its admin port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use chassis::Finding;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::Config;
use crate::data_folder::RunNote;

const TIMEOUT: Duration = Duration::from_secs(8);
const ANSWER_LEN_MAX: usize = 1 << 20;

/// `holder`: who locks the data folder.
pub(super) async fn ask(config: &Config, holder: &str) -> Vec<Finding> {
    let address = RunNote::read(&config.data).map_or_else(|| config.admin_listen.0.address(), |note| note.admin);
    let address = reachable(address);
    let answers = async {
        let ready = get(address, "/readyz").await?;
        let findings = get(address, "/doctor").await?;
        anyhow::Ok((ready.0, findings.1))
    };
    let answers = tokio::time::timeout(TIMEOUT, answers).await.context("no answer within 8 s").flatten();
    let (ready, body) = match answers {
        Ok(answers) => answers,
        Err(error) => {
            let detail = format!("{holder} holds the data folder, but its admin port {address} does not answer: {error:#}");
            return vec![Finding::fail("server", detail, "name its port with --admin-listen, or see the server's log")];
        }
    };
    let mut findings = vec![if ready == StatusCode::OK {
        Finding::ok("server", format!("{holder} is ready, admin port {address}"))
    } else {
        Finding::warn("server", format!("{holder} is starting or draining ({ready})"), "wait, then ask again")
    }];
    match serde_json::from_slice::<Vec<Finding>>(&body) {
        Ok(more) => findings.extend(more),
        Err(error) => findings.push(Finding::fail(
            "server",
            format!("{address} answers, but not as Terse does: {error}"),
            "another program uses that port; name the right one with --admin-listen",
        )),
    }
    findings
}

/// A server that listens on every address is asked on the local one.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let request = Request::get(path).header("host", address.to_string()).header("connection", "close").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await.map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok((status, body.to_bytes()))
    };
    // The connection only moves while it is polled.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => {
            ended?;
            exchange.await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chassis::admin::{self, Admin};
    use chassis::{Check, Lifecycle, Status};

    use super::*;

    #[tokio::test]
    async fn a_running_server_speaks_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let lifecycle = Lifecycle::new(Duration::from_secs(5));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let check: Check = Arc::new(|| Box::pin(async { Finding::warn("store", "slow", "wait") }));
        let admin = Admin { config: serde_json::json!({}), metrics: None, before_metrics: None, checks: vec![("store", check)] };
        let address = admin::serve(listener, admin, &lifecycle).unwrap();
        let note = RunNote {
            pid: 7,
            version: "0".into(),
            role: "serve".into(),
            public: Some(address),
            grpc: None,
            admin: address,
            public_url: None,
        };
        note.write(folder.path()).unwrap();
        let config = Config { data: folder.path().into(), ..Config::default() };

        let findings = ask(&config, "process 7").await;
        let seen: Vec<_> = findings.iter().map(|finding| (finding.name.as_str(), finding.status)).collect();
        assert_eq!(seen, [("server", Status::Ok), ("store", Status::Warn)]);

        let _latch = lifecycle.latch();
        assert_eq!(ask(&config, "process 7").await[0].status, Status::Warn);
        lifecycle.drain_in_order().await;
        assert_eq!(ask(&config, "process 7").await[0].status, Status::Fail);
    }
}
