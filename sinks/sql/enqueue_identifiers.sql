-- What a new owner of an identifier may touch: readings of the old one, or of whoever named it while it was nobody's,
-- then what was refused and names it.
WITH claimed AS (
    SELECT * FROM unnest($1::text[], $2::bigint[]) AS c (identifier, old_owner)
), subjects AS (
    SELECT identifier, old_owner AS subject FROM claimed WHERE old_owner IS NOT NULL
    UNION
    SELECT c.identifier, m.subject FROM claimed c JOIN unregistered_mentions m ON m.identifier = c.identifier
), stored AS (
    SELECT * FROM subjects s WHERE EXISTS (SELECT FROM readings r WHERE r.subject = s.subject)
)
INSERT INTO corrections_pending (about, subject, identifier, registry_version)
SELECT 'readings_of_subject', subject, identifier, $3::bigint FROM stored
UNION ALL
SELECT 'rejections_of_identifier', NULL, identifier, $3::bigint FROM claimed c
WHERE identifier IN (SELECT identifier FROM stored)
    OR EXISTS (SELECT FROM rejections r WHERE r.identifiers_named @> ARRAY[c.identifier])
