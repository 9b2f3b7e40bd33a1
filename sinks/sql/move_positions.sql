-- Compare and set: only the partitions that still stand where we think they stand are moved.
UPDATE source_positions p
SET next_offset = m.next_offset, missing = p.missing + m.missing, moved_at = now()
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS m (source_id, source_partition, expected, next_offset, missing)
WHERE p.source_id = m.source_id AND p.source_partition = m.source_partition AND p.next_offset = m.expected
