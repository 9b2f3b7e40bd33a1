-- By which moment what was refused grows old, in one place: retention asks for it three times.

-- A reading that was understood is as old as it would be had it been stored: all that competes for a key goes together.
-- What claims an implausible time, or tells none, is as old as its receipt, or as its source where nobody knows that.
CREATE VIEW rejections_by_age AS
SELECT source_id, source_partition, source_offset,
    coalesce(CASE WHEN reason <> 'timestamp_implausible' THEN reading_timestamp END, received_at, first_seen) AS old_since
FROM rejections JOIN sources USING (source_id);
COMMENT ON VIEW rejections_by_age IS 'Every rejection by its place, with the moment by which readings retention reckons its age.';
COMMENT ON COLUMN rejections_by_age.source_id IS 'With source_partition and source_offset the place of the record.';
COMMENT ON COLUMN rejections_by_age.old_since IS 'reading_timestamp where it is known and plausible, else received_at, else the source''s first_seen.';
