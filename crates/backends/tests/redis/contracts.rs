//! Each contract test of `domain::port`, on both kinds of Redis.

use backends::redis::{LinkCache, LinkCacheOptions, LiveCounts, RateLimiter, SaltStore};
use backends::system::SystemEntropy;
use domain::port::contract;

use crate::world::{Server, World, arc, cmd};

macro_rules! on_redis {
    ($($port:ident: $make:expr => $($test:ident),* $(,)?;)*) => {
        $(mod $port {
            use super::*;

            $(mod $test {
                use super::*;

                #[tokio::test]
                async fn single() {
                    let world = World::new(Server::Single).await;
                    contract::$port::$test(arc($make(&world))).await;
                }

                #[tokio::test]
                async fn cluster() {
                    let world = World::new(Server::Cluster).await;
                    contract::$port::$test(arc($make(&world))).await;
                }
            })*
        })*
    };
}

on_redis! {
    link_cache: (|world: &World| LinkCache::new(world.redis.clone(), LinkCacheOptions { rebuild_for: std::time::Duration::from_mins(1), jitter: 0.0, ..LinkCacheOptions::default() })) =>
        what_is_put_is_found_until_a_newer_version_comes, age_is_taken_off_the_freshness,
        an_alias_is_found_in_any_case_and_other_codes_are_not, an_absence_yields_to_a_link_and_never_hides_one,
        one_of_many_rebuilds;
    rate_limiter: (|world: &World| RateLimiter::new(world.redis.clone())) =>
        counts_what_it_allows_only, subjects_and_limits_are_apart, more_than_ever_fits_is_refused, exact_when_many_take;
    salt_store: (|world: &World| SaltStore::new(world.redis.clone(), arc(SystemEntropy))) =>
        one_salt_a_day, old_salts_are_destroyed, of_many_all_get_the_same;
}

#[tokio::test]
async fn live_counts_add_up() {
    for server in Server::BOTH {
        let world = World::new(server).await;
        let raw = tokio::sync::Mutex::new(world.raw().await);
        let counts = LiveCounts::new(world.redis.clone()).with_prefix(&world.prefix);
        let key = |code: &str| format!("{}clicks:1:{code}", world.prefix);
        contract::live_counts::counts_add_up(arc(counts), async |code| raw.lock().await.ask(&cmd(&[b"GET", key(code).as_bytes()])).await)
            .await;
        for code in ["aaaaaA1", "bbbbbB1"] {
            assert_eq!(raw.lock().await.ask::<u32>(&cmd(&[b"DEL", key(code).as_bytes()])).await, 1);
        }
    }
}
