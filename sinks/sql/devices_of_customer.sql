-- Devices that were ever said to be a customer's, or with a patient: among them are those that are now.
SELECT DISTINCT device_id FROM device_states
WHERE says ->> 'customerId' = $1::text
    AND ($2::text IS NULL OR device_id IN (SELECT device_id FROM device_states WHERE says ->> 'patientId' = $2))
    AND ($3::bigint IS NULL OR device_id = $3)
