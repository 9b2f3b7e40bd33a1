-- How many readings the pages hold in all.
SELECT count(*)
FROM readings r
WHERE r.customer_id = $1 AND r.reading_type = $2
    AND ($3::bigint IS NULL OR r.subject = $3) AND ($4::bigint IS NULL OR r.patient_id = $4)
    AND ($5::timestamptz IS NULL OR r.reading_timestamp >= $5) AND ($6::timestamptz IS NULL OR r.reading_timestamp < $6)
