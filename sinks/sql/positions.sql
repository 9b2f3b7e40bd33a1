-- How far each partition of the named sources is taken.
SELECT s.source, p.source_partition, p.next_offset
FROM source_positions p JOIN sources s USING (source_id)
WHERE s.source = ANY ($1::text[])
