-- Offsets that were never given to us, so that conservation can be checked.
INSERT INTO source_gaps (source_id, source_partition, first_offset, next_offset, kind)
SELECT * FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[])
