-- The readings that stand under these natural keys. Locked, so that none gives way while others are judged against it.
SELECT r.*, s.source, s.first_seen
FROM unnest($1::bigint[], $2::reading_kind[], $3::timestamptz[]) AS k (subject, reading_type, reading_timestamp)
JOIN readings r USING (subject, reading_type, reading_timestamp)
JOIN sources s USING (source_id)
ORDER BY r.subject, r.reading_type, r.reading_timestamp
FOR KEY SHARE OF r
