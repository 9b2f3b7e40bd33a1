-- Trends without reading every reading: summed up by the hour, kept up to date on TimescaleDB, on the spot elsewhere.

-- A continuous aggregate takes no zone that varies from row to row. So its hours are UTC's, apart for each offset, and
-- local hours and days are sums over them: exact in the hour that a clock change repeats or leaves out, and where an offset
-- is no whole hour, since the local hour is kept beside. Averages come of sums and counts, which can be added up.
DO $$
DECLARE
    on_timescale boolean := EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb');
    measures text[] := ARRAY[
        'heart_rate_bpm', 'heart_rate_variability_ms', 'systolic_mmhg', 'diastolic_mmhg', 'glucose_mg_dl',
        'blood_oxygen_pct', 'weight_lb', 'temperature_f', 'peak_expiratory_flow_l_min', 'fev1_l', 'body_turn_over',
        'respiration', 'deep_sleep_min', 'light_sleep_min', 'rem_min'];
    sums text := (
        SELECT string_agg(format('count(%1$s) AS %1$s_count, sum(%1$s) AS %1$s_sum, min(%1$s) AS %1$s_min, max(%1$s) AS %1$s_max', m), ', ')
        FROM unnest(measures) AS m);
BEGIN
    EXECUTE format(
        'CREATE %s AS
        SELECT patient_id, reading_type, %s AS hour_utc, patient_time_zone_offset,
            date_trunc(''hour'', (reading_timestamp AT TIME ZONE ''UTC'') + make_interval(secs => coalesce(patient_time_zone_offset, 0))) AS local_hour,
            customer_id, count(*) AS readings, count(*) FILTER (WHERE manual) AS manual_readings, %s
        FROM readings WHERE patient_id IS NOT NULL
        GROUP BY 1, 2, 3, 4, 5, 6 %s',
        CASE WHEN on_timescale
            THEN 'MATERIALIZED VIEW hourly_summaries_utc WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false)'
            ELSE 'VIEW hourly_summaries_utc' END,
        CASE WHEN on_timescale
            THEN 'time_bucket(''1 hour'', reading_timestamp)'
            ELSE 'date_trunc(''hour'', reading_timestamp, ''UTC'')' END,
        sums, CASE WHEN on_timescale THEN 'WITH NO DATA' ELSE '' END);
    IF on_timescale THEN
        CREATE INDEX hourly_summaries_by_patient ON hourly_summaries_utc (patient_id, hour_utc);
    END IF;
END $$;
COMMENT ON VIEW hourly_summaries_utc IS
    'Readings of patients by hour (UTC), kind, offset and customer: what hourly_summaries and daily_summaries add up. On TimescaleDB a continuous aggregate, refreshed every READINGS_REFRESH_EVERY_S wherever anything has changed.';
COMMENT ON COLUMN hourly_summaries_utc.hour_utc IS 'The hour of reading_timestamp, in UTC.';
COMMENT ON COLUMN hourly_summaries_utc.local_hour IS 'The hour on the patient''s own clock; UTC''s where the offset is not known.';
