-- What states of devices may touch: their readings, then what was refused of them or in their name. In this order: a
-- reading that gives way to another before it is reached here is met among the refused. States that say nothing of what
-- readings are judged by are told as since for ever: they touch only what named a device that was unknown.
WITH told AS (
    SELECT device_id, min(since) AS since FROM unnest($1::bigint[], $2::timestamptz[]) AS t (device_id, since) GROUP BY device_id
), found AS (
    SELECT device_id, since,
        since < 'infinity' AND EXISTS (SELECT FROM readings r WHERE r.subject = t.device_id) AS stored,
        EXISTS (SELECT FROM rejections r WHERE coalesce(r.device_id, r.device_id_named) = t.device_id
            AND (since < 'infinity' OR r.reason = 'unknown_device')) AS refused
    FROM told t
)
INSERT INTO corrections_pending (about, subject, since, registry_version)
SELECT 'readings_of_subject', device_id, since, $3::bigint FROM found WHERE stored
UNION ALL
SELECT 'rejections_of_device', device_id, since, $3::bigint FROM found WHERE stored OR refused
