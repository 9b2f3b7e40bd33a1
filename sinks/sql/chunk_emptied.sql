-- The readings of a chunk that is about to go, by where they came from; and what has been set aside beside them meanwhile.
WITH beside AS (
    DELETE FROM rejections
    WHERE reading_timestamp >= $1 AND reading_timestamp < $2 AND reason IN ('duplicate', 'conflicting_duplicate')
    RETURNING source_id, source_partition
)
SELECT true AS was_reading, source_id, source_partition, count(*) AS number
FROM readings WHERE reading_timestamp >= $1 AND reading_timestamp < $2
GROUP BY source_id, source_partition
UNION ALL
SELECT false, source_id, source_partition, count(*) FROM beside GROUP BY source_id, source_partition
