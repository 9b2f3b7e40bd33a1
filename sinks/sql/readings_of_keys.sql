-- The readings that stand under natural keys. Each is looked for by the key and no other way, however many the planner takes
-- for there to be; and between the first and last moment of all, which tells TimescaleDB the chunks to look in.
SELECT r.*, s.source, s.first_seen
FROM unnest($1::bigint[], $2::reading_kind[], $3::timestamptz[]) AS k (subject, reading_type, reading_timestamp)
CROSS JOIN LATERAL (
    SELECT * FROM readings
    WHERE subject = k.subject AND reading_type = k.reading_type AND reading_timestamp = k.reading_timestamp
        AND reading_timestamp BETWEEN $4 AND $5
    LIMIT 1) AS r
JOIN sources s USING (source_id)
