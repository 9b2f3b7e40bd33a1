-- Billing asks for one period of everybody: reading_days cannot be told that only its 30 days need to be read, a function can.

-- A local day lies within a day of UTC's of the same name, whatever the offset: so much is read, chunk by chunk.
DO $$
DECLARE
    path text := current_setting('search_path');
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY['public', 'customer'] LOOP
        PERFORM set_config('search_path', target || ', ' || path, true);
        EXECUTE format('CREATE FUNCTION %I.reading_days_from(first_day date) RETURNS TABLE (', target) || $function$
            patient_id bigint, last_day date, days bigint, manual_days bigint, zone_unknown boolean, band text)
        LANGUAGE sql STABLE PARALLEL SAFE
        BEGIN ATOMIC
            SELECT d.patient_id, $1 + 29, count(*) FILTER (WHERE d.measured), count(*) FILTER (WHERE d.typed),
                bool_or(d.zone_unknown),
                CASE WHEN count(*) FILTER (WHERE d.measured) >= 16 THEN '16+'
                    WHEN count(*) FILTER (WHERE d.measured) >= 2 THEN '2-15'
                    ELSE 'none' END
            FROM (
                SELECT r.patient_id, coalesce(r.patient_local_time, r.reading_timestamp AT TIME ZONE 'UTC')::date AS local_day,
                    bool_or(NOT r.manual) AS measured, bool_or(r.manual) AS typed,
                    bool_or(r.patient_local_time IS NULL) AS zone_unknown
                FROM readings_local r
                WHERE r.patient_id IS NOT NULL AND r.reading_timestamp >= ($1 - 1)::timestamp AT TIME ZONE 'UTC'
                    AND r.reading_timestamp < ($1 + 31)::timestamp AT TIME ZONE 'UTC'
                GROUP BY 1, 2) AS d
            WHERE d.local_day BETWEEN $1 AND $1 + 29
            GROUP BY d.patient_id;
        END $function$;
        EXECUTE format('COMMENT ON FUNCTION %I.reading_days_from(date) IS %L', target,
            'The rows of reading_days with this first day, of everybody, without reading what lies before or behind.');
    END LOOP;
    PERFORM set_config('search_path', path, true);
END $$;
