-- Readings by where they lie, each only if it is still one that is due; and what has been set aside beside them meanwhile.
WITH gone AS (
    DELETE FROM readings WHERE ctid = ANY ($2::tid[]) AND reading_timestamp < $1
    RETURNING subject, reading_type, reading_timestamp, source_id, source_partition
), beside AS (
    DELETE FROM rejections j USING gone g
    WHERE coalesce(j.device_id, -j.patient_id) = g.subject AND j.reading_type = g.reading_type
        AND j.reading_timestamp = g.reading_timestamp AND j.reason IN ('duplicate', 'conflicting_duplicate')
    RETURNING j.source_id, j.source_partition
)
SELECT true AS was_reading, source_id, source_partition, count(*) AS number FROM gone GROUP BY source_id, source_partition
UNION ALL
SELECT false, source_id, source_partition, count(*) FROM beside GROUP BY source_id, source_partition
