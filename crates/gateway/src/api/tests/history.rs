//! History: who is asked to keep it, and what is refused.

use domain::{Counts, LinkId, Scope};
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn days_are_kept_for_the_links_owner() {
    let world = World::new();
    let (owner, admin) = (world.key("one", &[Scope::LinksWrite]), world.key("root", &[Scope::Admin]));
    let id = world.link(&owner, "https://example.com/").await;
    let days = json!({"days": [{"start": "2026-11-01T00:00:00Z", "clicks": 3, "humans": 2, "visitors": 1}]});
    assert_eq!(world.post(&admin, &format!("/links/{id}/history"), days.clone()).await.short(), "204");
    assert_eq!(world.post(&admin, "/links/7/history", days.clone()).await.short(), "404 not_found");
    assert_eq!(world.post(&owner, &format!("/links/{id}/history"), days).await.short(), "403 forbidden");
    let kept = world.backend.history.lock().unwrap().clone();
    let [(link, of, day)] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((*link, of.as_str()), (LinkId::parse(&id).unwrap(), "one"));
    assert_eq!((day.start.get(), day.counts, day.visitors), (1_793_491_200_000, Counts { clicks: 3, humans: 2 }, 1));
}

#[tokio::test]
async fn every_wrong_field_has_its_place() {
    let world = World::new();
    let admin = world.key("root", &[Scope::Admin]);
    let path = format!("/links/{}/history", world.link(&admin, "https://example.com/").await);
    let good = json!({"start": "2026-11-01T00:00:00Z", "clicks": 3, "humans": 2, "visitors": 1});
    let many = |count: usize| json!({"days": vec![good.clone(); count]});
    for (body, pointers) in [
        (json!({}), vec!["/days"]),
        (json!({"days": 1}), vec!["/days"]),
        (many(0), vec!["/days"]),
        (many(1_001), vec!["/days"]),
        (
            json!({"days": [good, 5, {"start": "yesterday", "clicks": -1, "humans": 2, "x": 1}]}),
            vec![
                "/days/1",
                "/days/1/start",
                "/days/1/clicks",
                "/days/1/humans",
                "/days/1/visitors",
                "/days/2/start",
                "/days/2/clicks",
                "/days/2/visitors",
                "/days/2/x",
            ],
        ),
        (json!({"days": [{"start": "2026-11-01T00:00:00Z", "clicks": 3, "humans": 2, "visitors": 3}]}), vec!["/days/0/visitors"]),
    ] {
        let got = world.post(&admin, &path, body.clone()).await;
        assert_eq!((got.status.as_u16(), got.pointers()), (422, pointers.into_iter().map(str::to_owned).collect()), "{body}");
    }
    assert_eq!(world.post(&admin, &path, many(1_000)).await.short(), "204");
}
