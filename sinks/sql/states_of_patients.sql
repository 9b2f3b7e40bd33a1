-- Every state of these patients, as told.
SELECT d.patient_id AS subject_id, d.says::text, d.effective_at, d.blocking_effective_at, d.effective_at_sent,
    d.recorded_at, s.source, d.source_partition, d.source_offset
FROM patient_states d JOIN sources s USING (source_id)
WHERE d.patient_id = ANY ($1::bigint[])
