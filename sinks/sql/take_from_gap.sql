-- What was left out is taken after all, from the gap's beginning on, if the gap still stands as we think it stands.
WITH gap AS (
    DELETE FROM source_gaps
    WHERE source_id = $1 AND source_partition = $2 AND first_offset = $3 AND next_offset = $4 AND kind = 'filtered'
    RETURNING source_id, source_partition
)
UPDATE source_positions p
SET missing = p.missing - $5::bigint, repeated = p.repeated + $6::bigint, moved_at = now()
FROM gap
WHERE p.source_id = gap.source_id AND p.source_partition = gap.source_partition
