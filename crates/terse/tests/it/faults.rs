//! A full disk: creates are refused, redirects go on, nothing is half-written, and it mends itself.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::cluster::Cluster;

/// Fills the file system `folder` lies on, leaving nothing; dropping it gives the room back.
struct Filler(std::path::PathBuf);

impl Filler {
    fn fill(folder: &Path) -> Self {
        let path = folder.join("filler");
        let mut file = std::fs::File::create(&path).expect("a file");
        let block = vec![0_u8; 64 * 1024];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A small file system of its own, where this user may mount one; elsewhere there is nothing to test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|done| done.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_creates_and_redirects_go_on() {
    let Some(disk) = SmallDisk::mount("64m") else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let cluster = Cluster::all_in_one().set("TERSE__CLICKS__SEGMENT_BYTES", &(4 * 1024 * 1024)).start_in(disk.0.path());
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    client.create(&json!({"target": "https://example.com/a", "alias": "steady"})).await;
    visitor.get("/steady").await.expect(302);
    let filler = Filler::fill(disk.0.path());
    let mut refused = 0;
    for i in 0..400 {
        let reply = client.post("/api/v1/links", &json!({"target": format!("https://example.com/{i}/{}", "x".repeat(4_000))})).await;
        match reply.status.as_u16() {
            201 => {}
            503 => {
                refused += 1;
                assert_eq!(reply.problem(), "unavailable");
                assert!(!reply.header("retry-after").is_empty());
            }
            status => panic!("{status}: {}", reply.text()),
        }
        visitor.get("/steady").await.expect(302);
    }
    assert!(refused > 0, "the disk was never full");
    drop(filler);
    let began = std::time::Instant::now();
    while client.post("/api/v1/links", &json!({"target": "https://example.com/after"})).await.status != 201 {
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "creates do not come back");
        tokio::time::sleep(crate::cluster::POLL).await;
    }
    visitor.get("/steady").await.expect(302);
}
