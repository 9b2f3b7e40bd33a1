-- The readings under natural keys that are about to be arranged anew; nobody else changes them meanwhile.
SELECT r.*, s.source, s.first_seen
FROM unnest($1::bigint[], $2::reading_kind[], $3::timestamptz[]) AS k (subject, reading_type, reading_timestamp)
JOIN readings r USING (subject, reading_type, reading_timestamp)
JOIN sources s USING (source_id)
ORDER BY r.subject, r.reading_type, r.reading_timestamp
FOR UPDATE OF r
