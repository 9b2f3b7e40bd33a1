-- Every state of every device that has changed since a version: what is known of a device is replaced as a whole.
SELECT d.device_id AS subject_id, d.says::text, d.effective_at, d.blocking_effective_at, d.effective_at_sent,
    d.recorded_at, s.source, d.source_partition, d.source_offset
FROM device_states d JOIN sources s USING (source_id)
WHERE $1 < 0 OR d.device_id IN (SELECT device_id FROM device_states WHERE registry_version > $1)
ORDER BY d.device_id
