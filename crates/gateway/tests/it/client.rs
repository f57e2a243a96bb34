//! A client that sends exactly the bytes it is given.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "two `{name}` in {self:?}");
        first
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Says that nothing more will be sent, and goes on listening.
    pub(crate) async fn say_no_more(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Sends as much as the server takes, without end: answers when it has closed.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) {
        while self.stream.write_all(bytes).await.is_ok() {}
    }

    /// The next answer; `None` when the server closed before its first byte.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        let head_len = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more().await {
                assert!(self.unread.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..head_len).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
        let length = if status == 304 { 0 } else { length };
        while self.unread.len() < length {
            assert!(self.read_more().await, "half a body");
        }
        let body: Vec<u8> = self.unread.drain(..length).collect();
        Some(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Whether the server has closed, with nothing more said.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.read_more().await
    }

    /// False at the end, also when it is a reset.
    async fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.unread.extend_from_slice(&buffer[..length]);
                true
            }
        }
    }
}

/// `GET /a\r\nName: value` and the like, for `s.example`, on a connection of its own.
pub(crate) async fn ask(world: &World, request: &str) -> Reply {
    let (line, headers) = request.split_once("\r\n").unwrap_or((request, ""));
    let host = if headers.to_ascii_lowercase().contains("host:") { "" } else { "Host: s.example\r\n" };
    let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
    let mut client = Client::connect(world.address).await;
    client.send(format!("{line} HTTP/1.1\r\n{host}{headers}\r\n")).await;
    if line.starts_with("HEAD") {
        return client.reply_to_head().await;
    }
    client.reply().await.unwrap_or_else(|| panic!("no answer to {request}"))
}

impl Client {
    async fn reply_to_head(&mut self) -> Reply {
        self.say_no_more().await;
        while self.read_more().await {}
        let head = String::from_utf8(std::mem::take(&mut self.unread)).unwrap();
        assert!(head.ends_with("\r\n\r\n"), "a body after HEAD: {head}");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        Reply { status, headers, body: String::new() }
    }
}
