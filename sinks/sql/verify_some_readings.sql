-- Some readings of each partition: a hash of the offset below the partition's threshold picks them, and the least of those
-- count, so that one pass sorts no more than what it picked.
SELECT r.*, s.source, s.first_seen
FROM (
    SELECT r.*, row_number() OVER (
        PARTITION BY r.source_id, r.source_partition ORDER BY hashint8extended(r.source_offset, $1)) AS picked
    FROM readings r
    JOIN unnest($2::integer[], $3::integer[], $4::bigint[]) AS t (source_id, source_partition, threshold)
        ON t.source_id = r.source_id AND t.source_partition = r.source_partition
        AND hashint8extended(r.source_offset, $1) <= t.threshold) r
JOIN sources s USING (source_id)
WHERE r.picked <= $5
