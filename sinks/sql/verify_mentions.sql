-- Of what readings name although the registry does not tell of it: what is not noted, and what no state of the device
-- leads to either.
SELECT m.subject, m.identifier, m.patient_id
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS m (subject, identifier, patient_id)
WHERE NOT EXISTS (
        SELECT FROM unregistered_mentions u
        WHERE u.identifier = m.identifier AND u.patient_id IS NULL AND u.subject = m.subject)
    AND NOT EXISTS (
        SELECT FROM unregistered_mentions u
        WHERE u.patient_id = m.patient_id AND u.identifier IS NULL AND u.subject = m.subject)
    AND NOT EXISTS (
        SELECT FROM device_states d
        WHERE d.device_id = m.subject AND d.says ->> 'patientId' = m.patient_id::text)
