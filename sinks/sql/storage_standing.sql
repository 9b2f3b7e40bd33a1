-- How TimescaleDB keeps the readings now; no row where they are no hypertable. A policy that is not there is null.
SELECT d.time_interval AS chunk,
    (SELECT (coalesce(j.config ->> 'compress_after', j.config ->> 'after'))::interval
        FROM timescaledb_information.jobs j
        WHERE j.hypertable_name = 'readings' AND j.proc_name IN ('policy_compression', 'policy_columnstore')) AS columnstore_after,
    (SELECT j.schedule_interval
        FROM timescaledb_information.jobs j
        WHERE j.proc_name = 'policy_refresh_continuous_aggregate'
            AND j.hypertable_name IN (a.view_name, a.materialization_hypertable_name)) AS refresh_every
FROM timescaledb_information.dimensions d
LEFT JOIN timescaledb_information.continuous_aggregates a ON a.view_name = 'hourly_summaries_utc' AND a.view_schema = d.hypertable_schema
WHERE d.hypertable_name = 'readings' AND d.dimension_number = 1 AND d.hypertable_schema = current_schema()
