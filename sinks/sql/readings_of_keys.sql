-- The readings that stand under natural keys.
SELECT r.*, s.source, s.first_seen
FROM unnest($1::bigint[], $2::reading_kind[], $3::timestamptz[]) AS k (subject, reading_type, reading_timestamp)
JOIN readings r USING (subject, reading_type, reading_timestamp)
JOIN sources s USING (source_id)
