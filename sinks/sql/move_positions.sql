-- Compare and set: only the partitions that still stand where we think they stand are moved.
UPDATE source_positions p
SET next_offset = m.next_offset, missing = p.missing + m.missing, repeated = p.repeated + m.repeated, moved_at = now(),
    last_offset = coalesce(m.last_offset, p.last_offset),
    last_received_at = CASE WHEN m.last_offset IS NULL THEN p.last_received_at ELSE m.last_received_at END,
    last_digest = coalesce(m.last_digest, p.last_digest)
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[],
        $8::bytea[], $9::bigint[])
    AS m (source_id, source_partition, expected, next_offset, missing, last_offset, last_received_at, last_digest, repeated)
WHERE p.source_id = m.source_id AND p.source_partition = m.source_partition AND p.next_offset = m.expected
