-- Every state of these devices, as told.
SELECT d.device_id AS subject_id, d.says::text, d.effective_at, d.blocking_effective_at, d.effective_at_sent,
    d.recorded_at, s.source, d.source_partition, d.source_offset
FROM device_states d JOIN sources s USING (source_id)
WHERE d.device_id = ANY ($1::bigint[])
