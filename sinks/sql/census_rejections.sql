-- How many were set aside, by place and reason.
SELECT source_id, source_partition, reason::text, count(*) AS rejections
FROM rejections
GROUP BY source_id, source_partition, reason
ORDER BY source_id, source_partition, reason
