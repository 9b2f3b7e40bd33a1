-- Every state of every patient that has changed since a version: what is known of a patient is replaced as a whole.
SELECT d.patient_id AS subject_id, d.says::text, d.effective_at, d.blocking_effective_at, d.effective_at_sent,
    d.recorded_at, s.source, d.source_partition, d.source_offset
FROM patient_states d JOIN sources s USING (source_id)
WHERE $1 < 0 OR d.patient_id IN (SELECT patient_id FROM patient_states WHERE registry_version > $1)
ORDER BY d.patient_id
