-- How much is known of devices and patients.
SELECT (SELECT version FROM registry_version) AS version,
    (SELECT count(DISTINCT device_id) FROM device_states) AS devices,
    (SELECT count(*) FROM device_states) AS device_states,
    (SELECT count(DISTINCT patient_id) FROM patient_states) AS patients,
    (SELECT count(*) FROM patient_states) AS patient_states,
    (SELECT count(*) FROM device_identifiers) AS identifiers
