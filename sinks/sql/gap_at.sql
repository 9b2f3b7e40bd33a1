-- The gap that an offset lies in.
SELECT first_offset, next_offset, kind, noted_at FROM source_gaps
WHERE source_id = $1 AND source_partition = $2 AND first_offset <= $3 AND next_offset > $3
ORDER BY first_offset DESC
LIMIT 1
