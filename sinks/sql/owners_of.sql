-- Whom each of these identifiers belongs to, and the state that made it so.
SELECT identifier, device_id, effective_at, source, source_partition, source_offset
FROM device_identifiers
WHERE identifier = ANY ($1::text[])
ORDER BY identifier
