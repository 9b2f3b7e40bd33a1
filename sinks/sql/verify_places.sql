-- Offsets laid out side by side, rows and gaps alike: where two overlap, or none stands although none was dropped.
WITH standing AS (
    SELECT 'readings' AS stands_in, source_id, source_partition, source_offset AS from_offset, source_offset + 1 AS to_offset
    FROM readings
    UNION ALL
    SELECT 'rejections', source_id, source_partition, source_offset, source_offset + 1 FROM rejections
    UNION ALL
    SELECT 'device_states', source_id, source_partition, source_offset, source_offset + 1 FROM device_states
    UNION ALL
    SELECT 'patient_states', source_id, source_partition, source_offset, source_offset + 1 FROM patient_states
    UNION ALL
    SELECT 'source_gaps', source_id, source_partition, first_offset, next_offset FROM source_gaps
    UNION ALL
    SELECT 'position', source_id, source_partition, next_offset, next_offset FROM source_positions
), laid AS (
    SELECT source_id, source_partition, stands_in, from_offset,
        greatest(p.first_offset, max(to_offset) OVER before) AS reached,
        from_offset < max(to_offset) OVER before AND stands_in <> 'position' AS twice,
        p.repeated + p.expired = 0 AS complete
    FROM standing JOIN source_positions p USING (source_id, source_partition)
    WINDOW before AS (PARTITION BY source_id, source_partition ORDER BY from_offset, to_offset
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT s.source, source_partition, stands_in, from_offset, reached, twice, count(*) OVER () AS differ
FROM laid JOIN sources s USING (source_id)
WHERE twice OR (complete AND from_offset > reached)
ORDER BY s.source, source_partition, from_offset
LIMIT $1
