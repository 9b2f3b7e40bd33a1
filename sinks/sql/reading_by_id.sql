-- The reading that was sent with this id of the platform's; the first received, should several have it.
SELECT r.*, s.source, s.first_seen
FROM readings r JOIN sources s USING (source_id)
WHERE r.reading_id = $3 AND r.reading_type = $2 AND r.customer_id = $1
ORDER BY r.received_at, s.source, r.source_partition, r.source_offset
LIMIT 1
