-- A page of those devices that are the customer's now and are as asked for; each row says how many there are in all.
SELECT device_id, device_identifiers::text, current_status, disabled_readings, patient_id, site_id, platform_site,
    note, count(*) OVER () AS total
FROM devices
WHERE device_id = ANY ($1::bigint[]) AND customer_id = $2
    AND ($3::text IS NULL OR current_status = $3)
    AND ($4::bigint IS NULL OR patient_id = $4)
ORDER BY device_id
OFFSET $5 LIMIT $6
