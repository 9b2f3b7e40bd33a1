-- The questions of dashboards and billing: for everybody in public, and in customer for each customer what is its own.

-- Which database role speaks for which customer. Row-level security does not go together with columnstore or continuous
-- aggregates, so it is views that keep customers apart: nothing is granted on what lies below them.
CREATE TABLE customer_roles (
    role_name   name PRIMARY KEY,
    customer_id bigint NOT NULL
);
COMMENT ON TABLE customer_roles IS 'Which database role sees which customer''s rows, through the views of the schema customer.';

CREATE SCHEMA customer;
COMMENT ON SCHEMA customer IS 'The views of public, of the rows of one''s own customer only: see customer_roles.';

CREATE VIEW customer.own_customers AS
SELECT DISTINCT c.customer_id
FROM customer_roles c JOIN pg_roles r ON r.rolname = c.role_name
WHERE pg_has_role(current_user, r.oid, 'USAGE');
COMMENT ON VIEW customer.own_customers IS 'The customers for whom the role that asks may speak.';

DO $$
DECLARE
    barred text;
    kept text;
BEGIN
    FOREACH barred IN ARRAY ARRAY['readings_local', 'hourly_summaries_utc', 'devices', 'patients', 'rejections'] LOOP
        kept := (
            SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = barred::regclass AND attnum > 0 AND attname NOT IN ('payload', 'identifiers_named'));
        EXECUTE format('CREATE VIEW customer.%1$I AS SELECT %2$s FROM public.%1$I
            WHERE customer_id = ANY (ARRAY(SELECT customer_id FROM customer.own_customers))', barred, kept);
    END LOOP;
END $$;

DO $$
DECLARE
    path text := current_setting('search_path');
    averages text := (
        SELECT string_agg(format('(sum(%1$s_sum) / nullif(sum(%1$s_count), 0))::double precision AS %1$s_avg, min(%1$s_min) AS %1$s_min, max(%1$s_max) AS %1$s_max', m), ', ')
        FROM (SELECT replace(attname, '_sum', '') AS m FROM pg_attribute
            WHERE attrelid = 'hourly_summaries_utc'::regclass AND attname LIKE '%\_sum' ORDER BY attnum) AS measures);
    answers text := $views$
        CREATE VIEW latest_readings AS
        SELECT DISTINCT ON (patient_id, reading_type) *
        FROM readings_local WHERE patient_id IS NOT NULL
        ORDER BY patient_id, reading_type, reading_timestamp DESC, subject;

        CREATE VIEW hourly_summaries AS
        SELECT patient_id, reading_type, local_hour, patient_time_zone_offset,
            patient_time_zone_offset IS NULL AS zone_unknown,
            sum(readings)::bigint AS readings, sum(manual_readings)::bigint AS manual_readings, $averages$
        FROM hourly_summaries_utc GROUP BY 1, 2, 3, 4;

        CREATE VIEW daily_summaries AS
        SELECT patient_id, reading_type, local_hour::date AS local_day,
            bool_or(patient_time_zone_offset IS NULL) AS zone_unknown,
            sum(readings)::bigint AS readings, sum(manual_readings)::bigint AS manual_readings, $averages$
        FROM hourly_summaries_utc GROUP BY 1, 2, 3;

        -- Each day with a reading lies in the 30 days of 30 first days.
        CREATE VIEW reading_days AS
        SELECT patient_id, local_day - back AS first_day, local_day - back + 29 AS last_day,
            count(*) FILTER (WHERE measured) AS days, count(*) FILTER (WHERE typed) AS manual_days,
            bool_or(zone_unknown) AS zone_unknown,
            CASE WHEN count(*) FILTER (WHERE measured) >= 16 THEN '16+'
                WHEN count(*) FILTER (WHERE measured) >= 2 THEN '2-15'
                ELSE 'none' END AS band
        FROM (
            SELECT patient_id, coalesce(patient_local_time, reading_timestamp AT TIME ZONE 'UTC')::date AS local_day,
                bool_or(NOT manual) AS measured, bool_or(manual) AS typed,
                bool_or(patient_local_time IS NULL) AS zone_unknown
            FROM readings_local WHERE patient_id IS NOT NULL GROUP BY 1, 2) AS days_with_readings
        CROSS JOIN generate_series(0, 29) AS back
        GROUP BY 1, 2;

        CREATE VIEW device_activity AS
        SELECT d.device_id, d.customer_id, d.patient_id, d.current_status, d.disabled_readings,
            r.last_reading_at, r.last_received_at, j.last_refused_at,
            coalesce(greatest(r.last_received_at, j.last_refused_at), r.last_reading_at) AS silent_since,
            b.blocked_since, coalesce(j.refused_since_blocked, 0) AS refused_since_decommissioning
        FROM devices d
        LEFT JOIN (
            SELECT device_id, max(reading_timestamp) AS last_reading_at, max(received_at) AS last_received_at
            FROM readings_local WHERE device_id IS NOT NULL GROUP BY device_id) AS r USING (device_id)
        LEFT JOIN device_blocked b USING (device_id)
        LEFT JOIN (
            SELECT coalesce(j.device_id, j.device_id_named) AS device_id, max(j.received_at) AS last_refused_at,
                count(*) FILTER (WHERE j.reason = 'device_decommissioned'
                    AND coalesce(j.received_at, j.reading_timestamp) >= b.blocked_since) AS refused_since_blocked
            FROM rejections j LEFT JOIN device_blocked b ON b.device_id = coalesce(j.device_id, j.device_id_named)
            GROUP BY 1) AS j USING (device_id);

        CREATE VIEW rejections_daily AS
        SELECT (received_at AT TIME ZONE 'UTC')::date AS day, reason, reading_type, customer_id,
            count(*) AS rejections, count(DISTINCT coalesce(device_id, device_id_named)) AS devices
        FROM rejections GROUP BY 1, 2, 3, 4;
    $views$;
    kind record;
BEGIN
    answers := replace(answers, '$averages$', averages);
    EXECUTE answers;
    PERFORM set_config('search_path', 'customer, ' || path, true);
    EXECUTE answers;
    -- A kind's view is what it is in public, of the customer's own readings.
    FOR kind IN
        SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' AND viewname LIKE '%\_readings' AND viewname <> 'latest_readings'
    LOOP
        EXECUTE format('CREATE VIEW %I AS SELECT %s FROM readings_local WHERE reading_type = %L', kind.viewname, (
                SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = format('public.%I', kind.viewname)::regclass AND attnum > 0),
            substring(kind.definition FROM '''(\w+)''::'));
    END LOOP;
    PERFORM set_config('search_path', path, true);
    -- A barrier each: no condition of whoever asks is looked at before the customer's own, however cheap it claims to be.
    FOR kind IN SELECT viewname FROM pg_views WHERE schemaname = 'customer' LOOP
        EXECUTE format('ALTER VIEW customer.%I SET (security_barrier)', kind.viewname);
    END LOOP;
END $$;
