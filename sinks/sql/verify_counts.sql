-- Every partition with what stands of it in each table, beside its position: one of either may be lacking.
WITH standing AS (
    SELECT source_id, source_partition, sum(readings)::bigint AS readings, sum(rejections)::bigint AS rejections,
        sum(states)::bigint AS states, min(least_offset) AS least_offset, max(greatest_offset) AS greatest_offset
    FROM (
        SELECT source_id, source_partition, count(*) AS readings, 0 AS rejections, 0 AS states,
            min(source_offset) AS least_offset, max(source_offset) AS greatest_offset
        FROM readings GROUP BY source_id, source_partition
        UNION ALL
        SELECT source_id, source_partition, 0, count(*), 0, min(source_offset), max(source_offset)
        FROM rejections GROUP BY source_id, source_partition
        UNION ALL
        SELECT source_id, source_partition, 0, 0, count(*), min(source_offset), max(source_offset)
        FROM device_states GROUP BY source_id, source_partition
        UNION ALL
        SELECT source_id, source_partition, 0, 0, count(*), min(source_offset), max(source_offset)
        FROM patient_states GROUP BY source_id, source_partition) t
    GROUP BY source_id, source_partition
), gaps AS (
    SELECT source_id, source_partition, sum(next_offset - first_offset)::bigint AS in_gaps
    FROM source_gaps GROUP BY source_id, source_partition
)
SELECT source_id, s.source, s.holds, source_partition AS partition, p.first_offset, p.next_offset, p.repeated, p.expired, p.missing,
    coalesce(t.readings, 0) AS readings, coalesce(t.rejections, 0) AS rejections, coalesce(t.states, 0) AS states,
    t.least_offset, t.greatest_offset, coalesce(g.in_gaps, 0) AS in_gaps
FROM standing t
FULL JOIN source_positions p USING (source_id, source_partition)
FULL JOIN gaps g USING (source_id, source_partition)
LEFT JOIN sources s USING (source_id)
ORDER BY s.source, source_partition
