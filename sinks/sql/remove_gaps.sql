-- Gaps that are filled, or of which something else is left.
DELETE FROM source_gaps
USING unnest($1::integer[], $2::integer[], $3::bigint[]) AS g (source_id, source_partition, first_offset)
WHERE (source_gaps.source_id, source_gaps.source_partition, source_gaps.first_offset)
    = (g.source_id, g.source_partition, g.first_offset)
