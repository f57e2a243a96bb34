//! Plain GETs are read without the HTTP library; nobody can tell by the answers.

use crate::client::{Client, Reply};
use crate::world::World;

/// Makes a request one for the library.
const NOT_PLAIN: &str = "TE: trailers\r\n";

fn request(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: s.example\r\n{fields}\r\n")
}

async fn reply(world: &World, request: &str) -> Reply {
    let mut client = Client::connect(world.address).await;
    client.send(request).await;
    client.reply().await.unwrap()
}

/// Without what differs from request to request.
fn comparable(mut reply: Reply) -> (u16, Vec<(String, String)>, String) {
    let id = reply.header("x-request-id").unwrap_or("-").to_owned();
    assert_eq!(reply.header("date").unwrap().len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    for (name, value) in &mut reply.headers {
        if name == "date" || name == "x-request-id" {
            value.clear();
        }
    }
    reply.headers.sort();
    (reply.status, reply.headers, reply.body.replace(&id, ""))
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_either_way() {
    let world = World::with(|o| {
        o.limits.misses_per_min = 0;
        o.deadlines.redirect = std::time::Duration::from_millis(20);
    });
    let paths = [
        "/known",
        "/known?a=b",
        "/fwd?x=%20y&z=1+2",
        "/permanent",
        "/fast",
        "/ending",
        "/few",
        "/odd",
        "/later",
        "/team/docs",
        "/gone",
        "/blocked",
        "/nothing",
        "/panics",
        "/panics-later",
        "/down",
        "/stuck",
        "/Admin",
        "/a/b/c/",
    ];
    for path in paths {
        for fields in ["", "Accept: text/html\r\n", "Sec-Purpose: prefetch\r\n", "User-Agent: Mozilla/5.0\r\nConnection: keep-alive\r\n"] {
            for host in ["s.example", "go.example"] {
                let plain = request(path, fields).replace("s.example", host);
                let other = request(path, &format!("{fields}{NOT_PLAIN}")).replace("s.example", host);
                assert_eq!(comparable(reply(&world, &plain).await), comparable(reply(&world, &other).await), "{plain}");
            }
        }
    }
    let asked = world.asked();
    assert!(asked.len() > paths.len());
}

#[tokio::test]
async fn limits_are_the_same_either_way() {
    for fields in ["", NOT_PLAIN] {
        let world = World::with(|o| o.limits.misses_per_min = 3);
        let mut client = Client::connect(world.address).await;
        let mut statuses = Vec::new();
        for path in ["/no", "/no", "/no", "/known"] {
            client.send(request(path, fields)).await;
            statuses.push(client.reply().await.unwrap().status);
        }
        assert_eq!(statuses, [404, 404, 404, 429], "{fields:?}");
    }
}

#[tokio::test]
async fn requests_sent_together_are_answered_in_order() {
    let world = World::start();
    let mut client = Client::connect(world.address).await;
    let paths = ["/known", "/fast", "/later", "/gone", "/nothing", "/panics", "/known+", "/known"];
    let statuses = [302, 302, 302, 410, 404, 500, 200, 302];
    for fields in ["", NOT_PLAIN] {
        let all: Vec<_> = (0..100).map(|i| request(paths[i % 4], fields)).collect();
        client.send(all.concat()).await;
        for i in 0..100 {
            assert_eq!(client.reply().await.unwrap().status, statuses[i % 4], "{i}");
        }
    }
    let mut client = Client::connect(world.address).await;
    client.send(paths.map(|path| request(path, "")).concat()).await;
    for status in statuses {
        assert_eq!(client.reply().await.unwrap().status, status);
    }
}

/// Wherever the network cuts, before and after a request that is not plain.
#[tokio::test]
async fn a_request_may_come_in_pieces() {
    let world = World::start();
    let all = [request("/known", ""), request("/fast", "User-Agent: x\r\n"), request("/known+", ""), request("/known", "")].concat();
    for cut in 1..all.len() {
        let mut client = Client::connect(world.address).await;
        let (first, second) = all.split_at(cut);
        client.send(first).await;
        // What has come so far is read on its own.
        tokio::task::yield_now().await;
        client.send(second).await;
        for status in [302, 302, 200, 302] {
            assert_eq!(client.reply().await.unwrap().status, status, "cut at {cut}");
        }
    }
    let mut client = Client::connect(world.address).await;
    for byte in all.bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    for status in [302, 302, 200, 302] {
        assert_eq!(client.reply().await.unwrap().status, status);
    }
}
