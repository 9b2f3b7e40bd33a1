-- Patients that were ever said to have this external identifier.
SELECT DISTINCT patient_id FROM patient_states WHERE says ->> 'externalIdentifier' = $1 ORDER BY patient_id
