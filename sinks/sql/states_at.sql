-- The device or patient that a record tells of.
SELECT 'device' AS about, device_id AS subject_id FROM device_states
WHERE source_id = $1 AND source_partition = $2 AND source_offset = $3
UNION ALL
SELECT 'patient', patient_id FROM patient_states
WHERE source_id = $1 AND source_partition = $2 AND source_offset = $3
