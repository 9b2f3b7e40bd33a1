-- Readings of everybody, in the order of their key, from behind the last that is done.
SELECT r.*, s.source, s.first_seen
FROM readings r JOIN sources s USING (source_id)
WHERE (r.subject, r.reading_type, r.reading_timestamp) > ($1::bigint, $2::reading_kind, $3::timestamptz)
ORDER BY r.subject, r.reading_type, r.reading_timestamp
LIMIT $4
