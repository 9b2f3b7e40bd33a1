-- Where every record came from and how far each source is taken: without it nothing can be stored exactly once.

CREATE TABLE sources (
    source_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- "C": places order by code point, on every machine alike.
    source     text COLLATE "C" NOT NULL UNIQUE,
    first_seen timestamptz NOT NULL DEFAULT now(),
    holds      text NOT NULL CHECK (holds IN ('readings', 'registry'))
);
COMMENT ON TABLE sources IS 'Where records come from: kafka:<topic> or archive:<hash of the decompressed content>.';

CREATE TABLE source_positions (
    source_id        integer NOT NULL REFERENCES sources,
    source_partition integer NOT NULL,
    first_offset     bigint NOT NULL,
    next_offset      bigint NOT NULL CHECK (next_offset >= first_offset),
    repeated         bigint NOT NULL DEFAULT 0,
    expired          bigint NOT NULL DEFAULT 0,
    missing          bigint NOT NULL DEFAULT 0,
    moved_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, source_partition)
) WITH (fillfactor = 50);  -- one row is updated with every batch: room for it to stay on its page
COMMENT ON TABLE source_positions IS
    'How far each partition is taken; moved in the transaction that stores the rows. next_offset - first_offset = rows in readings, rejections and states + repeated + expired + missing.';
COMMENT ON COLUMN source_positions.repeated IS 'Records that stood already at the same place of the same archive.';
COMMENT ON COLUMN source_positions.expired IS 'Rows dropped by retention.';
COMMENT ON COLUMN source_positions.missing IS 'Offsets that the broker no longer or never had: the sum of source_gaps.';

CREATE TABLE source_gaps (
    source_id        integer NOT NULL,
    source_partition integer NOT NULL,
    first_offset     bigint NOT NULL,
    next_offset      bigint NOT NULL CHECK (next_offset > first_offset),
    kind             text NOT NULL,
    noted_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, source_partition, first_offset),
    FOREIGN KEY (source_id, source_partition) REFERENCES source_positions
);
COMMENT ON TABLE source_gaps IS 'Offsets that were never given to us, and why: skipped (between two records), truncated (deleted by retention), marker (the broker''s own).';

CREATE TABLE law_parameters (
    name  text PRIMARY KEY,
    value text NOT NULL
);
COMMENT ON TABLE law_parameters IS 'The parameters that every stored row was judged with.';
