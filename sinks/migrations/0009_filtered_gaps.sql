-- A backfill may leave records out on request: they are a gap, too, of a kind that can still be taken.

COMMENT ON TABLE source_gaps IS
    'Offsets that are not taken, and why: skipped (between two records), truncated (deleted by retention), marker (the broker''s own), filtered (left out of an archive by --since or --until; a later run that asks for them takes them, and the gap closes).';
COMMENT ON COLUMN source_positions.missing IS
    'Offsets passed and not taken, which the broker no longer or never had or a backfill left out: the sum of source_gaps.';
