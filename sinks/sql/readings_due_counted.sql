-- How many readings were taken before a moment.
SELECT source_id, source_partition, count(*) AS number
FROM readings WHERE reading_timestamp < $1
GROUP BY source_id, source_partition
