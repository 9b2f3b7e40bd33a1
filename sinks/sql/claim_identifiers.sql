-- An identifier belongs to the device whose state naming it is earliest, whatever order they are told in.
INSERT INTO device_identifiers AS mine (identifier, device_id, effective_at, recorded_at, source, source_partition,
    source_offset, registry_version)
SELECT DISTINCT ON (identifier) *, $8
FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::integer[], $7::bigint[])
    AS c (identifier, device_id, effective_at, recorded_at, source, source_partition, source_offset)
ORDER BY identifier, effective_at, recorded_at, source COLLATE "C", source_partition, source_offset
ON CONFLICT (identifier) DO UPDATE
SET device_id = excluded.device_id, effective_at = excluded.effective_at, recorded_at = excluded.recorded_at,
    source = excluded.source, source_partition = excluded.source_partition, source_offset = excluded.source_offset,
    registry_version = CASE WHEN mine.device_id = excluded.device_id THEN mine.registry_version ELSE excluded.registry_version END
WHERE (excluded.effective_at, excluded.recorded_at, excluded.source, excluded.source_partition, excluded.source_offset)
    < (mine.effective_at, mine.recorded_at, mine.source, mine.source_partition, mine.source_offset)
