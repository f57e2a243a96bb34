-- Days before it may have been rolled up: a part of one marks it as changed each time. A part of a later day marks it once.
ALTER TABLE state ADD COLUMN rolled_before INTEGER NOT NULL DEFAULT 0;
-- What was rolled up before this was kept is not known: any day with a roll-up, and those before it.
UPDATE state SET rolled_before = coalesce((SELECT max(number) + 1 FROM rollups WHERE unit = 1), 0);
