-- Single records of archives are taken: how far that is now, and how much more or less is passed over.
UPDATE source_positions p
SET next_offset = t.next_offset, missing = p.missing + t.missing, repeated = p.repeated + t.repeated, moved_at = now()
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS t (source_id, source_partition, next_offset, missing, repeated)
WHERE (p.source_id, p.source_partition) = (t.source_id, t.source_partition)
