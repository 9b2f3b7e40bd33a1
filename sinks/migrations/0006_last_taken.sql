-- A topic that was deleted and made anew under the same name is told by the last record taken, which stands there no more.

ALTER TABLE source_positions
    ADD COLUMN last_offset      bigint,
    ADD COLUMN last_received_at timestamptz,
    ADD COLUMN last_digest      bytea;
COMMENT ON COLUMN source_positions.last_offset IS
    'The last record taken, with its timestamp and a digest of its bytes: before a consumer goes on, it must still stand there.';
