-- terse.db, version 1.
--
-- A code of the generated shape (made by us or elsewhere) is the row key itself: domain number * 2^42 +
-- the number that the permutation of the *first* key epoch decodes the code to. So leased codes insert
-- in sequence, and a look-up is one descent. Every other code stands in named_codes, and its link has a
-- row key from 2^62 on. Neither rows nor codes are ever deleted or reused.

CREATE TABLE owners (
    no   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE links (
    key        INTEGER PRIMARY KEY,
    id         INTEGER NOT NULL,
    -- 64 random bits, as a signed number: which change made this version.
    change_id  INTEGER NOT NULL,
    owner      INTEGER NOT NULL,
    -- Bits, from the lowest: kind of code 2, state 2, forward_query 1, caching 2, redirect status 3.
    flags      INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    -- Milliseconds: after the time within the id, and after the creation.
    created    INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    target     TEXT NOT NULL,
    -- Joined by line feeds, which no tag contains.
    tags       TEXT,
    title      TEXT,
    starts_at  INTEGER,
    expires_at INTEGER,
    max_clicks INTEGER,
    blocked    TEXT,
    -- Only of codes that are not the row key.
    domain     INTEGER,
    code       TEXT
) STRICT;
CREATE UNIQUE INDEX links_by_id ON links (id);

CREATE TABLE named_codes (
    domain INTEGER NOT NULL,
    name   TEXT NOT NULL,
    key    INTEGER NOT NULL,
    PRIMARY KEY (domain, name)
) WITHOUT ROWID, STRICT;

CREATE TABLE owner_links (
    owner INTEGER NOT NULL,
    id    INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) WITHOUT ROWID, STRICT;

-- Of links that are not deleted.
CREATE TABLE link_tags (
    owner INTEGER NOT NULL,
    tag   TEXT NOT NULL,
    id    INTEGER NOT NULL,
    PRIMARY KEY (owner, tag, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE claims (
    -- 0: owner and Idempotency-Key. 1: owner, domain and digest of the target.
    kind       INTEGER NOT NULL,
    owner      TEXT NOT NULL,
    domain     INTEGER NOT NULL,
    key        BLOB NOT NULL,
    digest     BLOB NOT NULL,
    -- A line each: link id, domain, kind of code, code.
    items      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (kind, owner, domain, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX claims_by_expiry ON claims (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE click_budgets (
    link INTEGER PRIMARY KEY,
    -- NULL: the limit was lifted.
    max  INTEGER,
    used INTEGER NOT NULL
) STRICT;

-- next <= open <= lim: blocks are granted from next, below open; nothing from lim on was ever granted.
CREATE TABLE id_ranges (
    epoch INTEGER PRIMARY KEY,
    key   BLOB NOT NULL,
    next  INTEGER NOT NULL,
    open  INTEGER NOT NULL,
    lim   INTEGER NOT NULL
) STRICT;

CREATE TABLE id_workers (
    worker   INTEGER PRIMARY KEY,
    until_ms INTEGER NOT NULL
) STRICT;

-- AUTOINCREMENT: the number of a removed domain is not given out again. 1 is the default domain's.
CREATE TABLE domains (
    no              INTEGER PRIMARY KEY AUTOINCREMENT,
    host            TEXT NOT NULL UNIQUE,
    redirect_status INTEGER,
    caching         TEXT,
    landing_url     TEXT,
    not_found_url   TEXT,
    foreign_codes   INTEGER NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;
INSERT INTO sqlite_sequence (name, seq) VALUES ('domains', 1);

CREATE TABLE api_keys (
    id         INTEGER PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    owner      TEXT NOT NULL,
    scopes     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX api_keys_by_owner ON api_keys (owner, id);

CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY,
    owner      TEXT NOT NULL,
    everyone   INTEGER NOT NULL,
    state      TEXT NOT NULL,
    done       INTEGER NOT NULL,
    total      INTEGER NOT NULL,
    errors     INTEGER NOT NULL,
    cursor     INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';

-- Apart from jobs, so that progress does not rewrite a long list of ids.
CREATE TABLE job_selections (
    job    INTEGER PRIMARY KEY,
    -- ids (8 bytes each, little-endian), tag or domain.
    kind   TEXT NOT NULL,
    value  BLOB NOT NULL,
    domain INTEGER
) STRICT;

CREATE TABLE takedowns (
    link   INTEGER PRIMARY KEY,
    reason TEXT NOT NULL
) STRICT;
