-- The reading that a record became. No index leads there: the table is read through.
SELECT r.*, s.source, s.first_seen
FROM readings r JOIN sources s USING (source_id)
WHERE r.source_id = $1 AND r.source_partition = $2 AND r.source_offset = $3
LIMIT 1
