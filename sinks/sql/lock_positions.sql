-- How far partitions are taken; nobody else moves them until the transaction ends. Taken in one order.
SELECT source_id, source_partition, next_offset
FROM source_positions
WHERE (source_id, source_partition) IN (SELECT * FROM unnest($1::integer[], $2::integer[]))
ORDER BY source_id, source_partition
FOR NO KEY UPDATE
