-- The source's number and the moment it was first seen; it is entered when it is new.
WITH entered AS (
    INSERT INTO sources (source, first_seen, holds) VALUES ($1, $2, $3) ON CONFLICT (source) DO NOTHING RETURNING source_id, first_seen
)
SELECT source_id, first_seen FROM entered
UNION ALL
SELECT source_id, first_seen FROM sources WHERE source = $1
LIMIT 1
