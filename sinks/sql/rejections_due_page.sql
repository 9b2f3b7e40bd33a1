-- Where the next page ends of what was refused and is older than a moment, in the order of places.
SELECT source_id, source_partition, source_offset
FROM (
    SELECT source_id, source_partition, source_offset
    FROM rejections_by_age
    WHERE old_since < $1 AND (source_id, source_partition, source_offset) > ($2, $3, $4)
    ORDER BY source_id, source_partition, source_offset
    LIMIT $5) AS page
ORDER BY source_id DESC, source_partition DESC, source_offset DESC
LIMIT 1
