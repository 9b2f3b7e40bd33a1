-- Some of what was refused of each partition, picked as verify_some_readings does.
SELECT r.*, r.reason::text AS reason_word, s.source, s.first_seen
FROM (
    SELECT r.*, row_number() OVER (
        PARTITION BY r.source_id, r.source_partition ORDER BY hashint8extended(r.source_offset, $1)) AS picked
    FROM rejections r
    JOIN unnest($2::integer[], $3::integer[], $4::bigint[]) AS t (source_id, source_partition, threshold)
        ON t.source_id = r.source_id AND t.source_partition = r.source_partition
        AND hashint8extended(r.source_offset, $1) <= t.threshold) r
JOIN sources s USING (source_id)
WHERE s.holds = 'readings' AND r.picked <= $5
