//! Starting, stopping, and everything that can be wrong before the first request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::clicks::until_counted;
use crate::client::Client;
use crate::cluster::{Cluster, Shape, both_shapes};

both_shapes!(ctrl_c_under_load_fails_no_request_and_loses_no_click, the_admin_port_tells_how_it_is,);

async fn ctrl_c_under_load_fails_no_request_and_loses_no_click(shape: Shape) {
    let mut cluster = shape.cluster().start();
    let link = cluster.client().create(&json!({"target": "https://example.com/a", "alias": "busy"})).await;
    let id = link["id"].as_str().expect("an id").to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (client, stop) = (Client::new(cluster.public()), stop.clone());
        tasks.spawn(async move {
            let mut clicks = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                match client.try_send(http::Method::GET, "/busy", None).await {
                    Ok(reply) => {
                        assert_eq!(reply.status, 302);
                        clicks += 1;
                    }
                    // Refused: the door is closed, and nothing was taken in.
                    Err(error) if error.is_connect() => break,
                    Err(error) => panic!("a request that was taken in failed: {error:?}"),
                }
            }
            clicks
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let code = tokio::task::spawn_blocking(move || {
        let code = cluster.interrupt();
        (cluster, code)
    });
    let (mut cluster, code) = code.await.expect("ended");
    assert_eq!(code, Some(0), "{}", cluster.log());
    stop.store(true, Ordering::Relaxed);
    let clicks: u64 = tasks.join_all().await.into_iter().sum();
    assert!(clicks > 0);
    cluster.start();
    until_counted(&cluster.client(), &id, clicks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_belongs_to_one_process() {
    let cluster = Cluster::all_in_one().start();
    let second = cluster.command().args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).output().expect("it ends");
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains("terse-data") && text.contains(&cluster.pid().to_string()), "{text}");
    let offline = cluster.command().args(["key", "create", "--data", "terse-data"]).output().expect("it ends");
    assert_eq!(offline.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_with_value_origin_and_mend() {
    let mut cluster = Cluster::all_in_one().start();
    let port = cluster.public();
    // All mistakes at once, unknown keys with what was meant; 2 is wrong use.
    let wrong = cluster.command().env("TERSE__REDIRECT__STALENES_S", "60").env("TERSE__CODES__STRATEGY", "magic").args(["serve"]).output();
    let wrong = wrong.expect("it ends");
    let text = String::from_utf8_lossy(&wrong.stderr).to_lowercase();
    assert_eq!(wrong.status.code(), Some(2), "{text}");
    for part in ["stalenes_s", "staleness_s", "magic", "terse__codes__strategy", "leased"] {
        assert!(text.contains(part), "`{part}` in: {text}");
    }
    let scheme = cluster.command().args(["serve"]).env("TERSE__STORE", "mysql://x/y").output().expect("it ends");
    let text = String::from_utf8_lossy(&scheme.stderr).into_owned();
    assert_eq!(scheme.status.code(), Some(2), "{text}");
    assert!(text.contains("mysql") && text.contains("sqlite"), "{text}");
    let taken =
        cluster.command().args(["serve", "--data", "other", "--admin-listen", "127.0.0.1:0", "--listen", &port.to_string()]).output();
    let taken = taken.expect("it ends");
    let text = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert_eq!(taken.status.code(), Some(1), "{text}");
    assert!(text.contains(&port.to_string()), "{text}");
    // A file of a newer version, and a file that is no database.
    cluster.interrupt();
    let database = cluster.data().join("terse.db");
    let good = std::fs::read(&database).expect("the database");
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    for (content, needle) in [(newer, "9999"), (b"this is not a database at all, but long enough to be looked at".to_vec(), "SQLite")] {
        std::fs::write(&database, content).expect("written");
        let refused =
            cluster.command().args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).output().expect("it ends");
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{text}");
        assert!(text.contains("terse.db") && text.contains(needle), "{text}");
    }
    std::fs::write(&database, good).expect("written");
    cluster.start();
    cluster.client().get("/api/v1/links").await.expect(200);
}

async fn the_admin_port_tells_how_it_is(shape: Shape) {
    let cluster = shape.cluster().start();
    let admin = Client::new(cluster.admin());
    admin.get("/livez").await.expect(200);
    admin.get("/readyz").await.expect(200);
    cluster.client().create(&json!({"target": "https://example.com"})).await;
    let metrics = admin.get("/metrics").await.expect(200).text();
    assert!(metrics.contains("# HELP terse_"));
    assert!(cluster.metric("terse_links_created_total", &[]).await >= 1.0);
    let config = admin.get("/config").await.expect(200).text();
    assert!(!config.contains(&cluster.admin_key()));
    admin.post("/livez", &json!({})).await.expect(405);
}
