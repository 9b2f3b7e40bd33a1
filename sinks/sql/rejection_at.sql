-- What a record was refused as.
SELECT r.*, r.reason::text AS reason_word, s.source, s.first_seen
FROM rejections r JOIN sources s USING (source_id)
WHERE r.source_id = $1 AND r.source_partition = $2 AND r.source_offset = $3
