//! A hit allocates nothing, its click included.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::api::{Answer, Purpose, Resolver as _};
use domain::code::Issued;
use domain::permutation::Permutation;
use domain::{BlockReason, Code};

use crate::world::{World, ask, link};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator that counts, to prove that a hit does not allocate")]
// SAFETY: every call goes to the system's allocator unchanged; the counter is a const-initialised
// thread-local without a destructor, so that touching it does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(of: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    of();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_memory_allocates_nothing() {
    let world = World::new().await;
    // The log in the test keeps its clicks on the heap; a full one records into the void.
    world.log_is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    world.write(&link(1, "warm"));
    let mut blocked = link(2, "blocked");
    blocked.blocked = Some(BlockReason::from_stored("malware"));
    world.write(&blocked);
    let mut expired = link(3, "expired");
    expired.expires_at = Some(expired.created_at);
    world.write(&expired);
    let permutation = Permutation::new([7; 16], 1);
    let never = (1_000..).find_map(|counter| Code::generated(permutation.encode(counter))).unwrap();
    *world.issued.lock().unwrap() = Some(Arc::new(Issued::new(vec![(permutation, 1_000)])));

    let mut rich = ask("warm");
    rich.visit.ip = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
    rich.visit.query = "utm_source=a%20b&utm_medium=c+d&utm_campaign=%C3%BC";
    rich.visit.referrer = "https://WWW.Example.com:443/a?b";
    let mut head = ask("warm");
    head.visit.purpose = Purpose::Head;
    let mut bot = ask("warm");
    bot.visit.user_agent = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let asks = [ask("warm"), ask("WARM"), rich, head, bot, ask("blocked"), ask("expired"), ask(never.as_str()), ask("no such")];
    for ask in &asks {
        world.answer(ask).await.unwrap();
    }
    assert!(matches!(world.service().try_resolve(&asks[0]), Some(Answer::Redirect(_))));
    for ask in &asks {
        let mut answer = None;
        assert_eq!(allocations(|| answer = world.service().try_resolve(ask)), 0, "{ask:?}");
        assert!(answer.is_some());
        assert_eq!(allocations(|| drop(answer)), 0);
    }
    world.store.hang(true);
    tokio::time::advance(Duration::from_mins(2)).await;
    world.answer(&asks[0]).await.unwrap();
    assert_eq!(allocations(|| drop(world.service().try_resolve(&asks[0]))), 0, "a stale hit neither");
}
