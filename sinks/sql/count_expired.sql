-- What retention drops is counted where it came from.
UPDATE source_positions p SET expired = p.expired + g.number
FROM unnest($1::integer[], $2::integer[], $3::bigint[]) AS g (source_id, source_partition, number)
WHERE p.source_id = g.source_id AND p.source_partition = g.source_partition
