-- Chunks of readings that lie before a moment as a whole, the oldest first.
SELECT format('%I.%I', chunk_schema, chunk_name), range_start, range_end
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = 'readings' AND range_end <= $1
ORDER BY range_start
