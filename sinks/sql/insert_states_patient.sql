-- Patient states as told, each at its place.
INSERT INTO patient_states (source_id, source_partition, source_offset, patient_id, says, effective_at,
    blocking_effective_at, effective_at_sent, recorded_at, registry_version)
SELECT *, $10 FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::bigint[], $5::jsonb[], $6::timestamptz[],
    $7::timestamptz[], $8::boolean[], $9::timestamptz[])
