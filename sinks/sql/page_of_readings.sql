-- A customer's readings of one kind, the latest first.
SELECT r.*, s.source, s.first_seen
FROM readings r JOIN sources s USING (source_id)
WHERE r.customer_id = $1 AND r.reading_type = $2
    AND ($3::bigint IS NULL OR r.subject = $3) AND ($4::bigint IS NULL OR r.patient_id = $4)
    AND ($5::timestamptz IS NULL OR r.reading_timestamp >= $5) AND ($6::timestamptz IS NULL OR r.reading_timestamp < $6)
ORDER BY r.reading_timestamp DESC, r.subject
OFFSET $7 LIMIT $8
