-- The readings that stand under natural keys; between their first and last moment, which tells TimescaleDB the chunks to look in.
SELECT r.*, s.source, s.first_seen
FROM unnest($1::bigint[], $2::reading_kind[], $3::timestamptz[]) AS k (subject, reading_type, reading_timestamp)
JOIN readings r USING (subject, reading_type, reading_timestamp)
JOIN sources s USING (source_id)
WHERE r.reading_timestamp BETWEEN $4 AND $5
