-- What states of devices may touch: their readings, and what was refused of them or in their name.
WITH told AS (
    SELECT device_id, min(since) AS since FROM unnest($1::bigint[], $2::timestamptz[]) AS t (device_id, since) GROUP BY device_id
)
INSERT INTO corrections_pending (about, subject, since, registry_version)
SELECT 'readings_of_subject', device_id, since, $3::bigint FROM told t
WHERE EXISTS (SELECT FROM readings r WHERE r.subject = t.device_id)
UNION ALL
SELECT 'rejections_of_device', device_id, since, $3::bigint FROM told t
WHERE EXISTS (SELECT FROM rejections r WHERE coalesce(r.device_id, r.device_id_named) = t.device_id)
