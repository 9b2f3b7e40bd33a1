-- What analysts ask, as views: each right by itself, in the patient's own time, and quick for a patient, device or time.

-- A device's readings lie under subject, and no index begins with device_id. Said in two halves, one of which knows that
-- subject is the device and the other that there is none, the question for a device becomes one for its key.
DO $$
DECLARE
    of_devices text := (
        SELECT string_agg(CASE attname WHEN 'device_id' THEN 'subject AS device_id' ELSE attname END, ', ' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = 'readings'::regclass AND attnum > 0);
BEGIN
    EXECUTE format('CREATE OR REPLACE VIEW readings_local AS
        SELECT r.*,
            (reading_timestamp AT TIME ZONE ''UTC'') + make_interval(secs => patient_time_zone_offset) AS patient_local_time,
            (reading_timestamp AT TIME ZONE ''UTC'') + make_interval(secs => device_time_zone_offset) AS device_local_time
        FROM (SELECT %s FROM readings WHERE subject > 0 UNION ALL SELECT %s FROM readings WHERE subject < 0) AS r',
        of_devices, replace(of_devices, 'subject AS device_id', 'NULL::bigint AS device_id'));
END $$;

CREATE VIEW ledger AS
SELECT source, source_partition, source_offset, last_offset, became, detail, received_at, reading_type, device_id, patient_id,
    customer_id, reading_timestamp
FROM (
    SELECT source_id, source_partition, source_offset, source_offset AS last_offset, 'reading' AS became, NULL AS detail,
        received_at, reading_type, device_id, patient_id, customer_id, reading_timestamp
    FROM readings
    UNION ALL
    SELECT source_id, source_partition, source_offset, source_offset, reason::text, detail, received_at, reading_type,
        coalesce(device_id, device_id_named), coalesce(patient_id, patient_id_named), customer_id, reading_timestamp
    FROM rejections
    UNION ALL
    SELECT source_id, source_partition, source_offset, source_offset, 'device state', NULL, recorded_at, NULL, device_id,
        NULL, NULL, NULL
    FROM device_states
    UNION ALL
    SELECT source_id, source_partition, source_offset, source_offset, 'patient state', NULL, recorded_at, NULL, NULL,
        patient_id, NULL, NULL
    FROM patient_states
    UNION ALL
    SELECT source_id, source_partition, first_offset, next_offset - 1, 'not taken', kind, NULL, NULL, NULL, NULL, NULL, NULL
    FROM source_gaps) AS given
JOIN sources USING (source_id);
COMMENT ON VIEW ledger IS
    'What became of every record ever given, by its place: a row a record, or one a gap. What retention has dropped is in none, and counted in source_positions.expired.';
COMMENT ON COLUMN ledger.last_offset IS 'source_offset, but for a gap its last.';
COMMENT ON COLUMN ledger.became IS 'reading, the reason of a rejection, device state, patient state, or not taken.';
COMMENT ON COLUMN ledger.detail IS 'Of a rejection the field and the rule, of a gap its kind.';
COMMENT ON COLUMN ledger.received_at IS 'When the broker received it; of a state, when it was recorded.';

-- How busy each device is. From when its status blocks is told by its states, as law_parameters.blocked_statuses has it.
CREATE VIEW device_blocked AS
SELECT device_id, min(since) AS blocked_since
FROM (
    SELECT device_id, since, blocks, max(since) FILTER (WHERE NOT blocks) OVER (PARTITION BY device_id) AS last_free
    FROM (
        SELECT DISTINCT ON (device_id, blocking_effective_at) device_id, blocking_effective_at AS since,
            coalesce(says ->> 'currentStatus' = ANY (string_to_array(l.value, ',')), false) AS blocks
        FROM device_changes
        JOIN law_parameters l ON l.name = 'blocked_statuses'
        WHERE says ? 'currentStatus' AND blocking_effective_at <= now()
        ORDER BY device_id, blocking_effective_at, recorded_at DESC, source DESC, source_partition DESC,
            source_offset DESC) AS told) AS statuses
WHERE blocks AND (last_free IS NULL OR since > last_free)
GROUP BY device_id;
COMMENT ON VIEW device_blocked IS 'Devices whose status refuses readings now.';
COMMENT ON COLUMN device_blocked.blocked_since IS 'From when on without a break; -infinity where it was never otherwise.';
