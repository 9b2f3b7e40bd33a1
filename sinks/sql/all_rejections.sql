-- All that was refused, in the order of places, from behind the last that is done. Of the registry's own there is nothing to judge.
SELECT r.*, r.reason::text AS reason_word, s.source, s.first_seen
FROM rejections r JOIN sources s USING (source_id)
WHERE s.holds = 'readings' AND (r.source_id, r.source_partition, r.source_offset) > ($1::integer, $2::integer, $3::bigint)
ORDER BY r.source_id, r.source_partition, r.source_offset
LIMIT $4
