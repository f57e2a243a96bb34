//! Each contract test of `domain::port` that a keyspace is to pass.

use crate::world::{Group, World};

/// A test for each function, which gets the field of [`backends::scylla::Stores`] on empty tables.
macro_rules! on_scylla {
    ($($port:ident($field:ident, $group:ident): $($test:ident),* $(,)?;)*) => {
        $(mod $port {
            $(#[tokio::test]
            async fn $test() {
                let world = super::World::new(&[super::Group::$group]).await;
                domain::port::contract::$port::$test(world.stores.$field.clone()).await;
                world.close().await;
            })*
        })*
    };
}

on_scylla! {
    link_store(links, Links):
        a_link_is_kept_as_it_is, a_taken_code_answers_its_link, domains_are_apart,
        aliases_match_in_any_case_and_nothing_else_does, only_the_next_version_replaces,
        walks_newest_first_by_cursor, tags_are_counted_while_links_live, of_many_one_gets_the_code,
        of_many_changes_one_is_next, a_full_bulk_is_stored;
    claim_store(claims, Claims):
        a_claim_is_kept_as_it_is, keys_are_apart, an_expired_claim_is_free, replacing_needs_the_same_items,
        of_many_one_wins, the_sweep_takes_the_expired_only;
    click_budget(budgets, Budgets):
        never_more_than_the_limit, the_row_decides_not_the_caller, a_lifted_limit_grants_and_still_counts,
        exact_when_many_take;
    lease_store(leases, Leases):
        epochs_are_added_once, only_the_whole_row_is_swapped, no_block_is_granted_twice, windows_are_disjoint;
    key_store(keys, Keys):
        keys_are_found_by_hash_and_id, lists_newest_first_by_owner, revoking_twice_keeps_the_first_time;
    domain_store(domains, Domains):
        the_default_keeps_its_number, a_domain_is_kept_as_it_is, numbers_are_not_given_out_again,
        foreign_codes_is_known_when_set, of_many_one_gets_the_host;
    job_store(jobs, Jobs):
        a_job_is_kept_as_it_is, progress_is_kept_and_nothing_else_changes, running_jobs_oldest_first,
        a_claim_is_kept_and_only_running_jobs_have_one;
    takedowns(takedowns, Takedowns):
        the_last_word_counts;
}
