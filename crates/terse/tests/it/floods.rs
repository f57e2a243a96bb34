//! HTTP/2 frames that cost the sender little and a careless server much, sent raw (CVE-2023-44487, CVE-2024-27316 and their
//! kin): the connection ends, everybody else is served, memory stays what it was.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

/// Until a flood is cut off, on a machine that does everything at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// What one connection may cost, whatever it sends. A flood brings many times that.
const MEMORY_MAX: u64 = 32 * 1024 * 1024;
const FLOOD_LEN: usize = 256 * 1024 * 1024;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

const ENHANCE_YOUR_CALM: u32 = 0xb;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `GET /steady` of `go.example.com` (RFC 7541: two indexed fields, two literals that are not remembered).
fn request() -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(0x04, "/steady"), (0x01, "go.example.com")] {
        block.push(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// How the server ended a connection.
#[derive(Debug, Default)]
struct Ended {
    /// The error of its GOAWAY, if it said one.
    goaway: Option<u32>,
    /// It took everything there was to send.
    took_all: bool,
}

impl Ended {
    /// Takes whole frames out of what the server said.
    fn hear(&mut self, said: &mut Vec<u8>) {
        let mut at = 0;
        while let Some(head) = said.get(at..at + 9) {
            let end = at + 9 + usize::from(head[0]) * 65_536 + usize::from(head[1]) * 256 + usize::from(head[2]);
            let Some(payload) = said.get(at + 9..end) else { break };
            if head[3] == GOAWAY {
                self.goaway = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("4 bytes")));
            }
            at = end;
        }
        said.drain(..at);
    }
}

/// Sends `first`, and then whatever `next` makes until the connection is closed. Everything the server says is read.
async fn flood(server: SocketAddr, first: Vec<u8>, mut next: impl FnMut(u32) -> Vec<u8>) -> Ended {
    let (mut incoming, mut outgoing) = TcpStream::connect(server).await.expect("connected").into_split();
    let sending = async {
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &[])[..], &first].concat();
        let mut sent = outgoing.write_all(&preface).await.map(|()| preface.len());
        for turn in (0_u32..).step_by(64) {
            match sent {
                Ok(FLOOD_LEN..) => return true,
                Ok(so_far) => {
                    // Many frames at a time, as whoever wants to hurt would.
                    let batch: Vec<u8> = (turn..turn + 64).flat_map(&mut next).collect();
                    sent = outgoing.write_all(&batch).await.map(|()| so_far + batch.len());
                }
                Err(_) => return false,
            }
        }
        true
    };
    let hearing = async {
        let (mut ended, mut said, mut buffer) = (Ended::default(), Vec::new(), vec![0; 64 * 1024]);
        while let Ok(read @ 1..) = incoming.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..read]);
            ended.hear(&mut said);
        }
        ended
    };
    let both = async { tokio::join!(sending, hearing) };
    let (took_all, ended) = tokio::time::timeout(PATIENCE, both).await.expect("the flood is cut off");
    Ended { took_all, ..ended }
}

/// Bytes of memory that the process ever had at one time.
fn memory_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}

/// Sends the flood while somebody else goes on following a link.
async fn others_are_served_during(cluster: &Cluster, name: &str, flood: impl Future<Output = Ended> + Send + 'static) -> Ended {
    let visitor = cluster.anonymous();
    visitor.get("/steady").await.expect(302);
    let before = memory_peak(cluster.pid());
    let mut floods = tokio::task::JoinSet::new();
    floods.spawn(flood);
    let mut visits = 0;
    let ended = loop {
        visitor.get("/steady").await.expect(302);
        visits += 1;
        if let Some(ended) = floods.try_join_next() {
            break ended.expect("the flood is cut off");
        }
    };
    visitor.get("/steady").await.expect(302);
    let grown = memory_peak(cluster.pid()).saturating_sub(before);
    eprintln!("{name}: {ended:?}, {visits} visits meanwhile, {} KiB", grown / 1_024);
    assert!(!ended.took_all, "{name}: never cut off");
    assert!(grown <= MEMORY_MAX, "{name}: memory grew by {grown} bytes");
    ended
}

async fn cluster() -> Cluster {
    let cluster = Cluster::all_in_one().set("TERSE__PUBLIC_URL", &"https://go.example.com").set("TERSE__GATEWAY__IDLE_TIMEOUT_MS", &1_000);
    let cluster = cluster.start();
    cluster.client().create(&json!({"target": "https://example.com/a", "alias": "steady"})).await;
    cluster
}

/// What the protocol gives a name to is refused by that name, at once.
#[tokio::test(flavor = "multi_thread")]
async fn resets_continuations_and_empty_frames_are_answered_with_go_away() {
    let cluster = cluster().await;
    let resets = flood(cluster.public(), Vec::new(), |turn| {
        let stream = 2 * turn + 1;
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, &request()), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    assert_eq!(others_are_served_during(&cluster, "resets", resets).await.goaway, Some(ENHANCE_YOUR_CALM));

    let endless = frame(HEADERS, END_STREAM, 1, &request());
    let continuations = flood(cluster.public(), endless, |_| frame(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b']));
    assert_eq!(others_are_served_during(&cluster, "continuations", continuations).await.goaway, Some(ENHANCE_YOUR_CALM));

    let open = frame(HEADERS, END_HEADERS, 1, &[&[0x83], &request()[1..]].concat());
    let nothing = flood(cluster.public(), open, |_| frame(DATA, 0, 1, &[]));
    others_are_served_during(&cluster, "empty frames", nothing).await;
}

/// Frames that the protocol has to answer, but that ask for nothing: who asks for nothing is idle, however much is said.
#[tokio::test(flavor = "multi_thread")]
async fn settings_pings_and_headers_that_unfold_do_not_keep_a_connection() {
    let cluster = cluster().await;
    let settings = flood(cluster.public(), Vec::new(), |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
    others_are_served_during(&cluster, "settings", settings).await;
    let pings = flood(cluster.public(), Vec::new(), |_| frame(PING, 0, 0, &[7; 8]));
    others_are_served_during(&cluster, "pings", pings).await;

    // A field of 4,000 bytes that is remembered, and then 4,000 times one byte that stands for it: 16 MB in each request.
    let mut remembered = vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
    remembered.extend([b'a'; 4_000]);
    let first = frame(HEADERS, END_STREAM | END_HEADERS, 1, &[request(), remembered].concat());
    let unfolding = flood(cluster.public(), first, |turn| {
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * turn + 3, &[request(), vec![0xbe; 4_000]].concat())
    });
    others_are_served_during(&cluster, "headers that unfold", unfolding).await;
    assert!(cluster.metric("terse_gateway_connections_closed_total", &[("reason", "idle")]).await >= 2.0);
}
