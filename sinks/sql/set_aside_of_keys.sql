-- Those that rule 9 set aside under natural keys, only to look at.
SELECT j.*, j.reason::text AS reason_word, s.source, s.first_seen
FROM unnest($1::bigint[], $2::reading_kind[], $3::timestamptz[]) AS k (subject, reading_type, reading_timestamp)
JOIN rejections j ON coalesce(j.device_id, -j.patient_id) = k.subject
    AND j.reading_type = k.reading_type AND j.reading_timestamp = k.reading_timestamp
JOIN sources s USING (source_id)
WHERE j.reason IN ('duplicate', 'conflicting_duplicate')
