-- What a view or column means should be where it is asked: in the database, for everybody and for each customer alike.

DO $$
DECLARE
    one record;
    said text;
BEGIN
    FOR one IN
        SELECT n.nspname AS schema, v.name, v.says
        FROM (VALUES
            ('readings_local', 'Every reading, with the patient''s and the device''s own clock (timestamps without zone; null where the offset is).'),
            ('latest_readings', 'Of each patient and kind the reading taken last, whenever it arrived; of two at that moment the one of the lower subject.'),
            ('hourly_summaries', 'Readings of patients by kind and hour on the patient''s own clock; an hour that a clock change repeats stands twice, told apart by its offset.'),
            ('daily_summaries', 'Readings of patients by kind and day in the patient''s own time, which has 23 or 25 hours when clocks change.'),
            ('reading_days', 'On how many local days a patient was measured: a row a patient and first day, for the 30 days from there on; none where they hold no reading.'),
            ('device_activity', 'Every device: when it was last heard of, and what it has sent since its status refuses readings.'),
            ('rejections_daily', 'How much was refused by day of receipt (UTC; null where none is known), reason, kind and customer.'),
            ('hourly_summaries_utc', 'What hourly_summaries and daily_summaries add up.'),
            ('devices', 'Every device as it is now, field by field.'),
            ('patients', 'Every patient as they are now, field by field.'),
            ('rejections', 'Every record given and not in readings, with the reason.')) AS v (name, says)
        JOIN pg_namespace n ON n.nspname IN ('public', 'customer')
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name AND c.relkind = 'v'
        WHERE obj_description(c.oid) IS NULL OR v.name = 'readings_local'
    LOOP
        EXECUTE format('COMMENT ON VIEW %I.%I IS %L', one.schema, one.name, one.says);
    END LOOP;
    FOR one IN SELECT viewname FROM pg_views WHERE schemaname = 'customer' AND viewname LIKE '%\_readings' AND viewname <> 'latest_readings' LOOP
        EXECUTE format('COMMENT ON VIEW customer.%I IS %L', one.viewname, 'Readings of one kind: its own columns, and the clocks that the patient and the device showed.');
    END LOOP;

    -- A column means the same wherever it stands: first what is said here, then what the tables say.
    FOR one IN
        SELECT n.nspname AS schema, c.relname AS view, a.attname AS name, coalesce(v.says, t.says, m.says) AS says
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'customer')
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN (VALUES
            ('device_id', 'The device; null where the reading names none.'),
            ('patient_id', 'The patient: whom the reading names, else whose the device was when it was taken.'),
            ('reading_type', 'The kind: heartRate, bloodPressure ...'),
            ('patient_local_time', 'reading_timestamp on the patient''s own clock, without zone; null where patient_time_zone_offset is.'),
            ('device_local_time', 'reading_timestamp on the device''s own clock, without zone; null where device_time_zone_offset is.'),
            ('diastolic_mmhg', 'Millimetres of mercury.'),
            ('heart_rate_variability_algorithm', 'sdann, sdnn or sdrr.'),
            ('heart_rate_variability_duration_ms', 'Milliseconds.'),
            ('before_meal', 'Whether it was taken before a meal; null when nothing is said.'),
            ('after_meal', 'Whether it was taken after a meal; null when nothing is said.'),
            ('source_partition', 'The partition of the topic, or 0 of an archive.'),
            ('source_offset', 'The offset in the partition, or the record''s number in the archive.'),
            ('hour_utc', 'The hour of reading_timestamp, in UTC.'),
            ('local_hour', 'The hour on the patient''s own clock; UTC''s where zone_unknown.'),
            ('local_day', 'The day on the patient''s own calendar; UTC''s where zone_unknown.'),
            ('zone_unknown', 'Whether it is UTC that is told, for some reading at least, as the patient''s offset is not known.'),
            ('readings', 'How many readings, manual ones included.'),
            ('manual_readings', 'How many of them were typed in by a person.'),
            ('first_day', 'The first of the 30 local days.'),
            ('last_day', 'The last of them.'),
            ('days', 'On how many of them there is at least one reading that was not typed in.'),
            ('manual_days', 'On how many of them there is at least one reading that was typed in.'),
            ('band', 'Of days: none (0 or 1), 2-15, 16+.'),
            ('last_reading_at', 'When its latest reading was taken.'),
            ('last_received_at', 'When the last of its readings that stand was received.'),
            ('last_refused_at', 'When the last record of it that was refused was received.'),
            ('silent_since', 'When anything of it was last received, refused or not; null if never.'),
            ('blocked_since', 'From when its status refuses readings without a break; null while it does not.'),
            ('refused_since_decommissioning', 'How many records were refused as device_decommissioned since blocked_since.'),
            ('day', 'The day of receipt, in UTC.'),
            ('rejections', 'How many records.'),
            ('devices', 'Of how many devices, as far as known.'),
            ('reason', 'The first of the law''s reasons that applies.'),
            ('source', 'kafka:<topic> or archive:<hash of the decompressed content>.'),
            ('customer_id', 'The customer.'),
            ('device_identifiers', 'Its identifiers, as told last.'),
            ('current_status', 'Its status now; which of them refuse readings, law_parameters tells.'),
            ('disabled_readings', 'Whether readings of it are refused whatever its status.'),
            ('site_id', 'Where it is.'),
            ('platform_site', 'Whether that is the platform''s own warehouse.'),
            ('note', 'As told last.'),
            ('external_identifier', 'The customer''s own name for the patient.'),
            ('zip_code', 'As told last: the zone is that of the zip code when a reading was taken.'),
            ('country', 'As told last; none means the US.')) AS v (name, says) ON v.name = a.attname
        LEFT JOIN (
            SELECT DISTINCT ON (a.attname) a.attname AS name, col_description(a.attrelid, a.attnum) AS says
            FROM pg_attribute a
            WHERE a.attrelid IN ('readings'::regclass, 'rejections'::regclass) AND col_description(a.attrelid, a.attnum) IS NOT NULL
            ORDER BY a.attname, a.attrelid = 'readings'::regclass DESC) AS t ON t.name = a.attname
        LEFT JOIN LATERAL (
            SELECT format('%s of %s in it; null where there is none.',
                CASE how[1] WHEN 'avg' THEN 'Mean' WHEN 'min' THEN 'Least' WHEN 'max' THEN 'Greatest' WHEN 'sum' THEN 'Sum' ELSE 'Number' END,
                regexp_replace(a.attname, '_(avg|min|max|sum|count)$', '')) AS says
            FROM regexp_matches(a.attname, '_(avg|min|max|sum|count)$') AS how
            WHERE c.relname LIKE '%summaries%') AS m ON true
        WHERE c.relkind = 'v' AND col_description(c.oid, a.attnum) IS NULL
            AND c.relname NOT IN ('device_changes', 'patient_changes')
    LOOP
        EXECUTE format('COMMENT ON COLUMN %I.%I.%I IS %L', one.schema, one.view, one.name, one.says);
    END LOOP;
END $$;
