//! What every source of link events must do. Each test takes an empty one.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::{Arc, Mutex};

use super::{LinkChanged, LinkEvents, LinkNews};
use crate::port::contract::{DOMAIN, id};

fn event(number: u64) -> LinkChanged {
    LinkChanged { link: id(number), domain: DOMAIN, key: "some-key".into(), version: 2, blocked: number == 2 }
}

/// For events that stay in the process: they have been heard when `publish` returns.
pub async fn each_listener_hears_each_later_event(events: Arc<dyn LinkEvents>) {
    let heard: [Arc<Mutex<Vec<LinkNews>>>; 2] = Default::default();
    events.publish(event(0)).await.expect("answers");
    for (number, heard) in (1..).zip(&heard) {
        let heard = heard.clone();
        events.subscribe(Arc::new(move |event| heard.lock().expect("no panic").push(event.clone())));
        events.publish(event(number)).await.expect("answers");
    }
    assert!(events.are_certain());
    assert_eq!(*heard[0].lock().expect("no panic"), [LinkNews::Changed(event(1)), LinkNews::Changed(event(2))]);
    assert_eq!(*heard[1].lock().expect("no panic"), [LinkNews::Changed(event(2))]);
}
