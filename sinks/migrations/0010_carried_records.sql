-- Records of archives may come through the backfill topic, by several consumers, and so not in the order of their numbers.

COMMENT ON TABLE source_gaps IS
    'Offsets that are not taken, and why: skipped (between two records), truncated (deleted by retention), marker (the broker''s own), filtered (left out of an archive by --since or --until), awaited (of an archive that comes through the backfill topic: passed over, and not come yet). The last two are taken, and the gap closes, when a later run or record brings them.';
COMMENT ON COLUMN source_positions.missing IS
    'Offsets passed and not taken, which the broker no longer or never had, or which may still come out of an archive: the sum of source_gaps.';
COMMENT ON COLUMN source_positions.repeated IS
    'Records that stand at a place of their own: of an archive those that stood already, of the backfill topic all that carried a record of an archive.';
