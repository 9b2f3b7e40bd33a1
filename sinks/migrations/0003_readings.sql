-- The product: readings, each once, and beside them all that was given and not stored, with the reason.

CREATE TYPE reading_kind AS ENUM (
    'heartRate', 'heartRateVariability', 'bloodPressure', 'bloodGlucose', 'bloodOxygen', 'weight', 'temperature',
    'peakFlow', 'sleepMatActivity', 'sleepMatDuration');

CREATE TYPE rejection_reason AS ENUM (
    'malformed', 'unknown_reading_type', 'invalid', 'timestamp_implausible', 'device_mismatch', 'unknown_device',
    'device_decommissioned', 'readings_disabled', 'customer_mismatch', 'duplicate', 'conflicting_duplicate',
    'unstorable');

-- Columns stand by width, widest first: PostgreSQL aligns them, and the other way round a row is some 20 bytes longer.
CREATE TABLE readings (
    subject                  bigint NOT NULL,
    reading_timestamp        timestamptz NOT NULL,
    received_at              timestamptz,
    device_id                bigint,
    patient_id               bigint,
    customer_id              bigint,
    reading_id               bigint,
    device_id_named          bigint,
    patient_id_named         bigint,
    source_offset            bigint NOT NULL,
    heart_rate_variability_ms          double precision,
    heart_rate_variability_duration_ms bigint,
    weight_lb                          double precision,
    temperature_f                      double precision,
    peak_expiratory_flow_l_min         double precision,
    fev1_l                             double precision,
    source_id                integer NOT NULL,
    source_partition         integer NOT NULL,
    reading_type             reading_kind NOT NULL,
    device_time_zone_offset  integer,
    patient_time_zone_offset integer,
    heart_rate_bpm           integer,
    systolic_mmhg            integer,
    diastolic_mmhg           integer,
    glucose_mg_dl            integer,
    blood_oxygen_pct         integer,
    body_turn_over           integer,
    respiration              integer,
    deep_sleep_min           integer,
    light_sleep_min          integer,
    rem_min                  integer,
    manual                   boolean NOT NULL,
    before_meal              boolean,
    after_meal               boolean,
    patient_time_zone                 text,
    heart_rate_variability_algorithm  text,
    sleep_duration                    text,
    bed_times                         text[],
    get_up_times                      text[],
    identifiers_named                 text[],
    CHECK (subject = coalesce(device_id, -patient_id))
);
CREATE UNIQUE INDEX readings_key ON readings (subject, reading_type, reading_timestamp);
-- What became of one record: places grow as rows do, so a few pages tell where to look.
CREATE INDEX readings_by_place ON readings USING brin (source_id, source_partition, source_offset);
COMMENT ON TABLE readings IS 'Accepted readings, each once. What was set aside is in rejections.';
COMMENT ON COLUMN readings.subject IS 'The device, or minus the patient where the reading names no device: with kind and time the one unique key. Never updated.';
COMMENT ON COLUMN readings.reading_timestamp IS 'When the reading was taken (UTC instant).';
COMMENT ON COLUMN readings.received_at IS 'When the broker received it; null where an archive does not say.';
COMMENT ON COLUMN readings.device_time_zone_offset IS 'Seconds east of UTC as the device said; null when it said nothing.';
COMMENT ON COLUMN readings.patient_time_zone_offset IS 'Seconds east of UTC of the patient''s zone at reading_timestamp; null without a zone.';
COMMENT ON COLUMN readings.patient_time_zone IS 'IANA zone of the patient''s zip code at reading_timestamp.';
COMMENT ON COLUMN readings.customer_id IS 'The device''s customer when it was received, else the patient''s.';
COMMENT ON COLUMN readings.reading_id IS 'The payload''s own id, when sent.';

CREATE TABLE rejections (
    source_id         integer NOT NULL REFERENCES sources,
    source_partition  integer NOT NULL,
    source_offset     bigint NOT NULL,
    received_at       timestamptz,
    reason            rejection_reason NOT NULL,
    detail            text,
    reading_type      reading_kind,
    device_id         bigint,
    patient_id        bigint,
    customer_id       bigint,
    reading_timestamp timestamptz,
    device_id_named   bigint,
    identifiers_named text[],
    patient_id_named  bigint,
    payload           bytea NOT NULL,
    PRIMARY KEY (source_id, source_partition, source_offset)
);
-- Rule 9 asks for those set aside under one key when its winner changes.
CREATE INDEX rejections_set_aside ON rejections (coalesce(device_id, -patient_id), reading_type, reading_timestamp)
    WHERE reason IN ('duplicate', 'conflicting_duplicate');
COMMENT ON TABLE rejections IS 'Every record given and not in readings, with the reason.';
COMMENT ON COLUMN rejections.detail IS 'The field and the rule that it broke; never a value.';
COMMENT ON COLUMN rejections.payload IS 'The bytes as given under malformed, unknown_reading_type, invalid, timestamp_implausible and unstorable; else the reading in its canonical envelope: convert_from(payload, ''UTF8'')::jsonb.';

-- On TimescaleDB the table is a hypertable; everywhere else the same name, columns and key stand without one.
DO $$
DECLARE
    installed text := (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb');
BEGIN
    IF installed IS NOT NULL THEN
        IF (string_to_array(split_part(installed, '-', 1), '.')::int[])[1:2] < ARRAY[2, 23] THEN
            RAISE EXCEPTION 'TimescaleDB % is too old: 2.23 or newer is needed (unique keys of compressed chunks were mended up to there)', installed
                USING ERRCODE = 'feature_not_supported';
        END IF;
        PERFORM create_hypertable('readings', by_range('reading_timestamp', INTERVAL '7 days'), create_default_indexes => false);
    END IF;
END $$;
