-- What was refused of one device or in its name, in the order of places, from behind the last that is done.
SELECT r.*, r.reason::text AS reason_word, s.source, s.first_seen
FROM rejections r JOIN sources s USING (source_id)
WHERE coalesce(r.device_id, r.device_id_named) = $1
    AND (r.reason = 'unknown_device' OR r.received_at >= $5 OR r.reading_timestamp >= $5)
    AND (r.source_id, r.source_partition, r.source_offset) > ($2::integer, $3::integer, $4::bigint)
ORDER BY r.source_id, r.source_partition, r.source_offset
LIMIT $6
