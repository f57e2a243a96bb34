//! A wire between client and server that reads along: which statements are sent, whether with a timestamp of
//! the client, and which answers get lost.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::world::servers;

/// Of CQL's binary protocol, version 4: header, opcodes, flags.
const HEADER: usize = 9;
const PREPARE: u8 = 0x09;
const EXECUTE: u8 = 0x0A;
const RESULT: u8 = 0x08;
const RESULT_PREPARED: [u8; 4] = [0, 0, 0, 4];
const WITH_TIMESTAMP: u8 = 0x20;

#[derive(Default)]
struct State {
    texts: HashMap<Vec<u8>, String>,
    /// Begin of the statement whose next answer gets lost.
    losing: Option<String>,
    executed: Vec<(String, bool)>,
    lost: usize,
}

/// What one connection has under way, by stream.
#[derive(Default)]
struct Streams {
    preparing: HashMap<[u8; 2], String>,
    losing: HashSet<[u8; 2]>,
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        // On the node's own address: the driver looks for the node it learns about there, at this port.
        let node = servers().rsplit_once(':').unwrap().0.to_owned();
        let listener = TcpListener::bind((node.as_str(), 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(servers()).unwrap());
                let streams = Arc::new(Mutex::new(Streams::default()));
                for (from, to, is_request) in [(&client, &server, true), (&server, &client, false)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (state, streams) = (shared.clone(), streams.clone());
                    std::thread::spawn(move || {
                        while let Ok(frame) = read_frame(&mut from) {
                            let passes = if is_request { request(&state, &streams, &frame) } else { answer(&state, &streams, &frame) };
                            if passes && to.write_all(&frame).is_err() {
                                break;
                            }
                        }
                        drop(to.shutdown(Shutdown::Both));
                    });
                }
            }
        });
        Self { address, state }
    }

    /// The server runs the next statement that begins so, and nobody hears of it.
    pub(crate) fn lose_answer(&self, begin: &str) {
        self.state.lock().unwrap().losing = Some(begin.to_owned());
    }

    pub(crate) fn lost(&self) -> usize {
        self.state.lock().unwrap().lost
    }

    /// Statements executed, and whether the client sent a timestamp along.
    pub(crate) fn executed(&self) -> Vec<(String, bool)> {
        self.state.lock().unwrap().executed.clone()
    }
}

fn read_frame(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    from.read_exact(&mut frame)?;
    let len = u32::from_be_bytes(frame[5..HEADER].try_into().unwrap());
    frame.resize(HEADER + usize::try_from(len).unwrap(), 0);
    from.read_exact(&mut frame[HEADER..])?;
    Ok(frame)
}

fn stream(frame: &[u8]) -> [u8; 2] {
    [frame[2], frame[3]]
}

/// `[short bytes]` at the begin, and the rest.
fn short(body: &[u8]) -> (&[u8], &[u8]) {
    let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
    body[2..].split_at(len)
}

fn request(state: &Mutex<State>, streams: &Mutex<Streams>, frame: &[u8]) -> bool {
    let (mut state, mut streams) = (state.lock().unwrap(), streams.lock().unwrap());
    let body = &frame[HEADER..];
    match frame[4] {
        PREPARE => {
            let text = String::from_utf8_lossy(&body[4..]).into_owned();
            streams.preparing.insert(stream(frame), text);
        }
        EXECUTE => {
            let (id, rest) = short(body);
            let text = state.texts.get(id).cloned().unwrap_or_default();
            if state.losing.as_deref().is_some_and(|begin| text.starts_with(begin)) {
                state.losing = None;
                streams.losing.insert(stream(frame));
            }
            state.executed.push((text, rest[2] & WITH_TIMESTAMP != 0));
        }
        _ => {}
    }
    true
}

fn answer(state: &Mutex<State>, streams: &Mutex<Streams>, frame: &[u8]) -> bool {
    let (mut state, mut streams) = (state.lock().unwrap(), streams.lock().unwrap());
    if let Some(text) = streams.preparing.remove(&stream(frame))
        && frame[4] == RESULT
        && frame[HEADER..].starts_with(&RESULT_PREPARED)
    {
        let (id, _) = short(&frame[HEADER + RESULT_PREPARED.len()..]);
        state.texts.insert(id.to_vec(), text);
    }
    let is_lost = streams.losing.remove(&stream(frame));
    state.lost += usize::from(is_lost);
    !is_lost
}
