-- What states of patients may touch: readings that name them, of devices that were ever theirs, then what was refused.
WITH told AS (
    SELECT patient_id, min(since) AS since FROM unnest($1::bigint[], $2::timestamptz[]) AS t (patient_id, since) GROUP BY patient_id
), subjects AS (
    SELECT -patient_id AS subject, patient_id, since FROM told
    UNION
    SELECT d.device_id, t.patient_id, t.since FROM told t JOIN device_states d ON d.says ->> 'patientId' = t.patient_id::text
    UNION
    SELECT m.subject, t.patient_id, t.since FROM told t JOIN unregistered_mentions m ON m.patient_id = t.patient_id
), stored AS (
    SELECT * FROM subjects s WHERE EXISTS (SELECT FROM readings r WHERE r.subject = s.subject)
)
INSERT INTO corrections_pending (about, subject, patient_id, since, registry_version)
SELECT 'readings_of_subject', subject, patient_id, since, $3::bigint FROM stored
UNION ALL
SELECT 'rejections_of_patient', NULL, patient_id, since, $3::bigint FROM told t
WHERE patient_id IN (SELECT patient_id FROM stored) OR EXISTS (SELECT FROM rejections r WHERE r.patient_id = t.patient_id)
