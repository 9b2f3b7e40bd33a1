-- Offsets that were never given to us, by place and kind.
SELECT source_id, source_partition, kind, sum(next_offset - first_offset)::bigint AS missing
FROM source_gaps
GROUP BY source_id, source_partition, kind
ORDER BY source_id, source_partition, kind
