-- What was left out of a partition and can still be taken, in its order.
SELECT first_offset, next_offset, kind
FROM source_gaps
WHERE source_id = $1 AND source_partition = $2 AND kind IN ('filtered', 'awaited')
ORDER BY first_offset
