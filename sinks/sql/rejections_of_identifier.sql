-- What was refused and names an identifier, in the order of places, from behind the last that is done.
SELECT r.*, r.reason::text AS reason_word, s.source, s.first_seen
FROM rejections r JOIN sources s USING (source_id)
WHERE r.identifiers_named @> ARRAY[$1::text]
    AND (r.source_id, r.source_partition, r.source_offset) > ($2::integer, $3::integer, $4::bigint)
ORDER BY r.source_id, r.source_partition, r.source_offset
LIMIT $5
