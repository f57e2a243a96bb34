//! What the shortening service counts.

pub(crate) const CREATED: &str = "terse_links_created_total";
pub(crate) const CHANGED: &str = "terse_links_changed_total";
pub(crate) const CODE_COLLISIONS: &str = "terse_code_collisions_total";
pub(crate) const CODES_LEFT: &str = "terse_codes_left";
pub(crate) const JOB_LINKS: &str = "terse_job_links_total";
pub(crate) const CACHE_WRITES: &str = "terse_links_cache_writes_total";
pub(crate) const ANNOUNCED: &str = "terse_links_announced_total";

/// Registers unit and help of every metric of this crate.
pub fn describe() {
    ::metrics::describe_counter!(CREATED, "Links created, by `outcome`: new, found, refused, failed.");
    ::metrics::describe_counter!(CHANGED, "Links changed, by `change`: update, delete, restore, block.");
    ::metrics::describe_counter!(CODE_COLLISIONS, "Generated codes that were taken already, so that the next one was used.");
    ::metrics::describe_gauge!(CODES_LEFT, "Codes left in the local blocks.");
    ::metrics::describe_counter!(JOB_LINKS, "Links handled by mass deletes, by `outcome`: done, failed.");
    ::metrics::describe_counter!(
        CACHE_WRITES,
        "Rows written through to the shared cache, by `outcome`: ok, error; left_out counts bulks cut short."
    );
    ::metrics::describe_counter!(ANNOUNCED, "Changes announced to the caches, by `outcome`: ok, error.");
}
