-- One view a kind: its own columns, and the clocks that the patient and the device showed.

CREATE VIEW readings_local AS
SELECT r.*,
    (reading_timestamp AT TIME ZONE 'UTC') + make_interval(secs => patient_time_zone_offset) AS patient_local_time,
    (reading_timestamp AT TIME ZONE 'UTC') + make_interval(secs => device_time_zone_offset) AS device_local_time
FROM readings r;
COMMENT ON VIEW readings_local IS 'readings, with the patient''s and the device''s own clock (timestamps without zone; null where the offset is).';

CREATE VIEW heart_rate_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    heart_rate_bpm,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'heartRate';

CREATE VIEW heart_rate_variability_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    heart_rate_variability_ms, heart_rate_bpm, heart_rate_variability_duration_ms, heart_rate_variability_algorithm,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'heartRateVariability';

CREATE VIEW blood_pressure_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    systolic_mmhg, diastolic_mmhg, heart_rate_bpm,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'bloodPressure';

CREATE VIEW blood_glucose_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    glucose_mg_dl, before_meal, after_meal,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'bloodGlucose';

CREATE VIEW blood_oxygen_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    blood_oxygen_pct, heart_rate_bpm,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'bloodOxygen';

CREATE VIEW weight_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    weight_lb,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'weight';

CREATE VIEW temperature_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    temperature_f,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'temperature';

CREATE VIEW peak_flow_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    peak_expiratory_flow_l_min, fev1_l,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'peakFlow';

CREATE VIEW sleep_mat_activity_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    bed_times, get_up_times, sleep_duration, body_turn_over, heart_rate_bpm, respiration,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'sleepMatActivity';

CREATE VIEW sleep_mat_duration_readings AS
SELECT device_id, patient_id, customer_id, reading_timestamp, patient_local_time, device_local_time, received_at,
    deep_sleep_min, light_sleep_min, rem_min, sleep_duration, body_turn_over, heart_rate_bpm, respiration,
    manual, patient_time_zone, patient_time_zone_offset, device_time_zone_offset, reading_id
FROM readings_local WHERE reading_type = 'sleepMatDuration';
