//! Limits that all gateways count together.

use crate::client::Client;
use crate::cluster::{Cluster, Role};

const MISSES: u32 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_one_budget_at_all_gateways() {
    let mut cluster =
        Cluster::services().gateways(2).redirects(1).analytics(1).set("TERSE__LIMITS__MISSES_PER_IP_PER_MIN", &MISSES).start();
    let doors = [0, 1].map(|index| Client::new(cluster.service(Role::Gateway, index).addresses().0));
    let mut missed = 0;
    for i in 0..80 {
        let reply = doors[i % 2].get(&format!("/nothing-{i}")).await;
        match reply.status.as_u16() {
            404 => missed += 1,
            status => assert_eq!(status, 429, "{}", reply.text()),
        }
    }
    // Where the shared limiter was late, a gateway counted alone, and says so.
    let alone = cluster.metric_of(Role::Gateway, "terse_limiter_fallback_total", &[]).await;
    let missed = f64::from(missed);
    assert!(missed >= f64::from(MISSES) && missed <= f64::from(MISSES) + alone, "{missed} misses, {alone} of them counted alone");
}
