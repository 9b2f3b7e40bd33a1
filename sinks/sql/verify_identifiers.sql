-- Identifiers that do not belong to the device whose state naming them is earliest, or not by that state.
WITH earliest AS (
    SELECT DISTINCT ON (identifier) named ->> 'value' COLLATE "C" AS identifier, d.device_id, d.effective_at, d.recorded_at,
        s.source, d.source_partition, d.source_offset
    FROM device_states d
    JOIN sources s USING (source_id)
    CROSS JOIN LATERAL jsonb_array_elements(
        CASE jsonb_typeof(d.says -> 'deviceIdentifiers') WHEN 'array' THEN d.says -> 'deviceIdentifiers' ELSE '[]' END) AS named
    ORDER BY identifier, d.effective_at, d.recorded_at, s.source, d.source_partition, d.source_offset
)
SELECT e.device_id AS should_be, i.device_id AS stands, coalesce(e.source, i.source) AS source,
    coalesce(e.source_partition, i.source_partition) AS source_partition,
    coalesce(e.source_offset, i.source_offset) AS source_offset,
    count(*) OVER () AS differ
FROM earliest e FULL JOIN device_identifiers i USING (identifier)
WHERE (e.device_id, e.effective_at, e.recorded_at, e.source, e.source_partition, e.source_offset) IS DISTINCT FROM
    (i.device_id, i.effective_at, i.recorded_at, i.source, i.source_partition, i.source_offset)
ORDER BY identifier
LIMIT $1
