-- Readings that give way to one received earlier. Each is removed only if it is still the one that was read.
-- The last line repeats what the first says: by arrays TimescaleDB finds the compressed rows to unpack, by a join it unpacks all.
DELETE FROM readings r
USING unnest($1::bigint[], $2::reading_kind[], $3::timestamptz[], $4::integer[], $5::integer[], $6::bigint[])
    AS k (subject, reading_type, reading_timestamp, source_id, source_partition, source_offset)
WHERE r.subject = k.subject AND r.reading_type = k.reading_type AND r.reading_timestamp = k.reading_timestamp
    AND r.source_id = k.source_id AND r.source_partition = k.source_partition AND r.source_offset = k.source_offset
    AND r.subject = ANY ($1) AND r.reading_timestamp = ANY ($3)
