-- A page of what was refused and is older than a moment.
WITH gone AS (
    DELETE FROM rejections j
    USING rejections_by_age a
    WHERE a.old_since < $1
        AND (a.source_id, a.source_partition, a.source_offset) > ($2, $3, $4)
        AND (a.source_id, a.source_partition, a.source_offset) <= ($5, $6, $7)
        AND (j.source_id, j.source_partition, j.source_offset) = (a.source_id, a.source_partition, a.source_offset)
    RETURNING j.source_id, j.source_partition
)
SELECT source_id, source_partition, count(*) AS number FROM gone GROUP BY source_id, source_partition
