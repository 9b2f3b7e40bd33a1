-- How much of what was refused is older than a moment.
SELECT source_id, source_partition, count(*) AS number
FROM rejections_by_age WHERE old_since < $1
GROUP BY source_id, source_partition
