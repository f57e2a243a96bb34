//! Each contract test of `domain::port`, on a fresh store of each backend.

use std::sync::Arc;

use backends::memory::RateLimiter;
use backends::sqlite::{Options, Stores, open_links};
use backends::system::SystemEntropy;
use tempfile::TempDir;

fn sqlite() -> (TempDir, Stores) {
    let folder = tempfile::tempdir().unwrap();
    let stores = open_links(&folder.path().join("terse.db"), Options::default(), &SystemEntropy).unwrap();
    (folder, stores)
}

/// A test for each function, which gets the field of a fresh [`Stores`].
macro_rules! on_sqlite {
    ($($port:ident($field:ident): $($test:ident),* $(,)?;)*) => {
        mod sqlite {
            $(mod $port {
                $(#[tokio::test]
                async fn $test() {
                    let (_folder, stores) = super::super::sqlite();
                    domain::port::contract::$port::$test(stores.$field.clone()).await;
                    stores.close().await;
                })*
            })*
        }
    };
}

on_sqlite! {
    link_store(links):
        a_link_is_kept_as_it_is, a_taken_code_answers_its_link, domains_are_apart,
        aliases_match_in_any_case_and_nothing_else_does, only_the_next_version_replaces,
        walks_newest_first_by_cursor, tags_are_counted_while_links_live, of_many_one_gets_the_code,
        of_many_changes_one_is_next, a_full_bulk_is_stored;
    claim_store(claims):
        a_claim_is_kept_as_it_is, keys_are_apart, an_expired_claim_is_free, replacing_needs_the_same_items,
        of_many_one_wins, the_sweep_takes_the_expired_only;
    click_budget(budgets):
        never_more_than_the_limit, the_row_decides_not_the_caller, a_lifted_limit_grants_and_still_counts,
        exact_when_many_take;
    lease_store(leases):
        epochs_are_added_once, only_the_whole_row_is_swapped, no_block_is_granted_twice, windows_are_disjoint,
        the_proof_never_denies_what_was_granted;
    key_store(keys):
        keys_are_found_by_hash_and_id, lists_newest_first_by_owner, revoking_twice_keeps_the_first_time;
    domain_store(domains):
        the_default_keeps_its_number, a_domain_is_kept_as_it_is, numbers_are_not_given_out_again,
        foreign_codes_is_known_when_set, of_many_one_gets_the_host;
    job_store(jobs):
        a_job_is_kept_as_it_is, progress_is_kept_and_nothing_else_changes, running_jobs_oldest_first,
        a_claim_is_kept_and_only_running_jobs_have_one;
    takedowns(takedowns):
        the_last_word_counts;
}

mod memory {
    use super::{Arc, RateLimiter};
    use domain::port::contract::rate_limiter;

    macro_rules! limiter {
        ($($test:ident),* $(,)?) => {
            $(#[tokio::test]
            async fn $test() {
                rate_limiter::$test(Arc::new(RateLimiter::default())).await;
            })*
        };
    }
    limiter!(counts_what_it_allows_only, subjects_and_limits_are_apart, more_than_ever_fits_is_refused, exact_when_many_take);
}
