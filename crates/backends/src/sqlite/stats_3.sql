-- What the chunks before `chunk` say of the same subject and quarter-hour, together: one row instead of one a chunk.
ALTER TABLE parts ADD COLUMN old_clicks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parts ADD COLUMN old_humans INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parts ADD COLUMN old_dimensions BLOB NOT NULL DEFAULT x'';
ALTER TABLE parts ADD COLUMN old_visitors BLOB NOT NULL DEFAULT x'';
