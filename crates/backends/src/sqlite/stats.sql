-- Subjects are numbers: 0 is everyone, a positive one a link's id, a negative one an owner.
CREATE TABLE owners (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- A log's partition, and how far it is counted.
CREATE TABLE sources (
  id INTEGER PRIMARY KEY, log BLOB NOT NULL, partition INTEGER NOT NULL, progress INTEGER NOT NULL,
  UNIQUE (log, partition)
) STRICT;

-- What one chunk of the log says of one subject and quarter-hour, up to `upto`.
CREATE TABLE parts (
  subject INTEGER NOT NULL, slot INTEGER NOT NULL, source INTEGER NOT NULL, chunk INTEGER NOT NULL,
  upto INTEGER NOT NULL, clicks INTEGER NOT NULL, humans INTEGER NOT NULL,
  dimensions BLOB NOT NULL, visitors BLOB NOT NULL,
  PRIMARY KEY (subject, slot, source, chunk)
) WITHOUT ROWID, STRICT;

-- Days with parts newer than their roll-up.
CREATE TABLE dirty (
  day INTEGER NOT NULL, subject INTEGER NOT NULL, seen INTEGER NOT NULL,
  PRIMARY KEY (day, subject)
) WITHOUT ROWID, STRICT;

-- Unit 1 is a day, 2 a month.
CREATE TABLE rollups (
  subject INTEGER NOT NULL, unit INTEGER NOT NULL, number INTEGER NOT NULL,
  clicks INTEGER NOT NULL, humans INTEGER NOT NULL, visitor_days INTEGER NOT NULL,
  dimensions BLOB NOT NULL, visitors BLOB NOT NULL,
  PRIMARY KEY (subject, unit, number)
) WITHOUT ROWID, STRICT;

-- Which links an owner's clicks of a day went to: all while the day runs, the first thousand afterwards.
CREATE TABLE link_days (
  day INTEGER NOT NULL, owner INTEGER NOT NULL, link INTEGER NOT NULL,
  clicks INTEGER NOT NULL, humans INTEGER NOT NULL,
  PRIMARY KEY (day, owner, link)
) WITHOUT ROWID, STRICT;

-- `seen` numbers the calls that stored parts; parts of days before `sealed_before` are not taken any more.
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), seen INTEGER NOT NULL, sealed_before INTEGER NOT NULL) STRICT;
INSERT INTO state (id, seen, sealed_before) VALUES (1, 0, 0);
