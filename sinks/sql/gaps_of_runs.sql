-- The gaps that runs of records lie in, as far as they may be filled; a run may begin inside of one.
SELECT DISTINCT g.source_id, g.source_partition, g.first_offset, g.next_offset, g.kind
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[])
    AS r (source_id, source_partition, first_offset, next_offset)
CROSS JOIN LATERAL (
    SELECT coalesce(max(b.first_offset), r.first_offset) AS first_offset FROM source_gaps b
    WHERE b.source_id = r.source_id AND b.source_partition = r.source_partition AND b.first_offset <= r.first_offset) AS began
JOIN source_gaps g ON g.source_id = r.source_id AND g.source_partition = r.source_partition
    AND g.first_offset >= began.first_offset AND g.first_offset < r.next_offset AND g.next_offset > r.first_offset
WHERE g.kind IN ('filtered', 'awaited')
ORDER BY g.source_id, g.source_partition, g.first_offset
