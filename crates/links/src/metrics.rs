//! What the shortening service counts.

chassis::metrics! {
    /// Links created; `found` ones were there already, `refused` ones were invalid.
    Counter CREATED = "terse_links_created_total" in "links" by ["outcome": "new|found|refused|failed"];
    /// Links changed.
    Counter CHANGED = "terse_links_changed_total" in "links" by ["change": "update|delete|restore|block"];
    /// Generated codes that were taken already, so that the next one was used.
    Counter CODE_COLLISIONS = "terse_code_collisions_total" in "codes";
    /// Codes left in the blocks at hand: creates go on for so long without the ID service.
    Gauge CODES_LEFT = "terse_codes_left" in "codes";
    /// Links handled by mass deletes.
    Counter JOB_LINKS = "terse_job_links_total" in "links" by ["outcome": "done|failed"];
    /// Rows written through to the shared cache; `left_out` counts bulks cut short.
    Counter CACHE_WRITES = "terse_links_cache_writes_total" in "rows" by ["outcome": "ok|error|left_out"];
    /// Changes announced to the caches.
    Counter ANNOUNCED = "terse_links_announced_total" in "changes" by ["outcome": "ok|error"];
}
