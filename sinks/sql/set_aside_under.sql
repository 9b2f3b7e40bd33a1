-- Those set aside by rule 9 under these natural keys: when the winner changes, so may their reasons.
SELECT j.source_id, j.source_partition, j.source_offset, j.reason::text, j.payload,
    k.subject, j.reading_type::text, j.reading_timestamp
FROM unnest($1::bigint[], $2::reading_kind[], $3::timestamptz[]) AS k (subject, reading_type, reading_timestamp)
JOIN rejections j ON coalesce(j.device_id, -j.patient_id) = k.subject
    AND j.reading_type = k.reading_type AND j.reading_timestamp = k.reading_timestamp
WHERE j.reason IN ('duplicate', 'conflicting_duplicate')
ORDER BY j.source_id, j.source_partition, j.source_offset
FOR UPDATE OF j
