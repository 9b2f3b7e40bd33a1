-- Of these records of archives those that were taken: before the position, and in no gap that may still be filled.
SELECT r.source_id, r.source_partition, r.source_offset
FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS r (source_id, source_partition, source_offset)
JOIN source_positions p USING (source_id, source_partition)
LEFT JOIN LATERAL (
    SELECT g.next_offset FROM source_gaps g
    WHERE g.source_id = r.source_id AND g.source_partition = r.source_partition AND g.first_offset <= r.source_offset
        AND g.kind IN ('filtered', 'awaited')
    ORDER BY g.first_offset DESC
    LIMIT 1) g ON true
WHERE r.source_offset < p.next_offset AND (g.next_offset IS NULL OR g.next_offset <= r.source_offset)
