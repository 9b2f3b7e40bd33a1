-- Refused readings, in the order of places, from behind the last that is done; a null asks for all. Of what the registry
-- was told nothing: that is told again in its own topic or file.
SELECT r.*, r.reason::text AS reason_word, s.source, s.first_seen
FROM rejections r JOIN sources s USING (source_id)
WHERE s.holds = 'readings' AND (r.source_id, r.source_partition, r.source_offset) > ($1::integer, $2::integer, $3::bigint)
    AND ($5::text[] IS NULL OR r.reason = ANY ($5::rejection_reason[]))
    AND ($6::bigint IS NULL OR coalesce(r.device_id, r.device_id_named) = $6)
    AND ($7::timestamptz IS NULL OR coalesce(r.received_at, r.reading_timestamp) >= $7)
    AND ($8::timestamptz IS NULL OR coalesce(r.received_at, r.reading_timestamp) < $8)
    AND ($9::integer[] IS NULL OR r.source_id = ANY ($9))
ORDER BY r.source_id, r.source_partition, r.source_offset
LIMIT $4
