-- Readings of one subject that a correction may touch, in the order of their key, from behind the last that is done.
SELECT r.*, s.source, s.first_seen
FROM readings r JOIN sources s USING (source_id)
WHERE r.subject = $1
    AND ($2::bigint IS NULL OR r.patient_id = $2)
    AND ($3::text IS NULL OR $3 = ANY (r.identifiers_named))
    AND (r.received_at >= $4 OR r.reading_timestamp >= $4)
    AND (r.reading_type, r.reading_timestamp) > ($5::reading_kind, $6::timestamptz)
ORDER BY r.reading_type, r.reading_timestamp
LIMIT $7
