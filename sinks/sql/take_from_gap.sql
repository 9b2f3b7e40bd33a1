-- What was left out is taken after all, from the gap's beginning up to $5, if the gap still stands as we think it stands.
WITH gap AS (
    DELETE FROM source_gaps
    WHERE source_id = $1 AND source_partition = $2 AND first_offset = $3 AND next_offset = $4
        AND kind IN ('filtered', 'awaited')
    RETURNING source_id, source_partition, next_offset, kind
), rest AS (
    INSERT INTO source_gaps (source_id, source_partition, first_offset, next_offset, kind)
    SELECT source_id, source_partition, $5::bigint, next_offset, kind FROM gap WHERE next_offset > $5::bigint
)
UPDATE source_positions p
SET missing = p.missing - $6::bigint, repeated = p.repeated + $7::bigint, moved_at = now()
FROM gap
WHERE p.source_id = gap.source_id AND p.source_partition = gap.source_partition
