//! Every bound of the product, with its unit and its reason.

use std::time::Duration;

/// Bytes of a target after canonicalisation. Longer URLs break proxies and browsers.
pub const TARGET_LEN_MAX: usize = 8_192;
/// Characters of an alias, from and to. Two are too few to be worth squatting over.
pub const ALIAS_LEN_MIN: usize = 3;
pub const ALIAS_LEN_MAX: usize = 64;
/// Bytes of a code made elsewhere; the longest slugs of common shorteners fit.
pub const FOREIGN_CODE_LEN_MAX: usize = 128;
/// Characters of a generated code.
pub const CODE_LEN: usize = 7;
/// `62^7`: how many generated codes there are.
pub const CODE_SPACE: u64 = 3_521_614_606_208;
/// Characters of a `hash` or `random` code, from, to, and when not said.
pub const CODE_LENGTH_MIN: u8 = 7;
pub const CODE_LENGTH_MAX: u8 = 22;
pub const CODE_LENGTH_DEFAULT: u8 = 10;
/// Characters of a title.
pub const TITLE_LEN_MAX: usize = 512;
/// Tags of one link, and characters of one tag.
pub const TAGS_MAX: usize = 32;
pub const TAG_LEN_MAX: usize = 64;
/// Bytes of an owner and of a key's name.
pub const OWNER_LEN_MAX: usize = 64;
pub const NAME_LEN_MAX: usize = 128;
/// Bytes of a takedown's reason.
pub const BLOCK_REASON_LEN_MAX: usize = 256;
/// Bytes of a host name (RFC 1035).
pub const HOST_LEN_MAX: usize = 253;
/// Items of one bulk create.
pub const BULK_LEN_MAX: usize = 1_000;
/// Ids of one bulk delete.
pub const BULK_DELETE_IDS_MAX: usize = 100_000;
/// Rows a list call looks at before it answers with a short page.
pub const LIST_SCAN_MAX: usize = 10_000;
/// Links of one page, at most and when not said.
pub const PAGE_LEN_MAX: usize = 1_000;
pub const PAGE_LEN_DEFAULT: usize = 50;
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_LEN_MAX: usize = 255;
/// How long an idempotency claim is kept.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_hours(24);
/// Bytes of a JSON body, and of a bulk body.
pub const BODY_LEN_MAX: usize = 64 * 1024;
pub const BULK_BODY_LEN_MAX: usize = 8 * 1024 * 1024;
/// Levels of nesting in a JSON body.
pub const JSON_DEPTH_MAX: usize = 16;
/// Buckets of one statistics series.
pub const SERIES_LEN_MAX: usize = 1_000;
/// Days of one import of history, and clicks of one of them.
pub const HISTORY_LEN_MAX: usize = 1_000;
pub const HISTORY_CLICKS_MAX: u32 = u32::MAX;
/// Values kept apart in one dimension of one row; the rest is counted as `other`.
pub const DIMENSION_VALUES_MAX: usize = 256;
/// Bytes of one dimension value (a referrer host, a UTM value).
pub const DIMENSION_VALUE_LEN_MAX: usize = 100;
/// Ids of one `next_ids` call, and codes of one `lease_codes` call.
pub const IDS_BATCH_MAX: u32 = 65_536;
pub const CODE_BLOCK_MAX: u32 = 1 << 20;
/// Records of one chunk of the click log. A constant of the stored format.
pub const CLICK_CHUNK_LEN: u64 = 65_536;
