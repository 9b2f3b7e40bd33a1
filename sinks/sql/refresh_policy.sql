-- Whatever has changed, however old, since TimescaleDB notes which hours of which chunk that is; but for the hour that is
-- still being filled, which is summed up on the spot.
SELECT add_continuous_aggregate_policy('hourly_summaries_utc', start_offset => NULL, end_offset => INTERVAL '1 hour',
    schedule_interval => $1::interval)
