-- How far each partition is taken, and what it gave to the registry.
SELECT s.source_id, s.source, s.first_seen, p.source_partition, p.first_offset, p.next_offset, p.repeated, p.expired,
    p.missing, p.moved_at, coalesce(t.states, 0) AS states
FROM source_positions p
JOIN sources s USING (source_id)
LEFT JOIN (
    SELECT source_id, source_partition, count(*) AS states
    FROM (SELECT source_id, source_partition FROM device_states
          UNION ALL
          SELECT source_id, source_partition FROM patient_states) told
    GROUP BY source_id, source_partition) t USING (source_id, source_partition)
ORDER BY s.source, p.source_partition
