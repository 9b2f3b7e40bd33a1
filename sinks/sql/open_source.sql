-- The source's number, the moment it was first seen, and what it holds; it is entered when it is new.
WITH entered AS (
    INSERT INTO sources (source, first_seen, holds) VALUES ($1, $2, $3) ON CONFLICT (source) DO NOTHING
    RETURNING source_id, first_seen, holds
)
SELECT source_id, first_seen, holds FROM entered
UNION ALL
SELECT source_id, first_seen, holds FROM sources WHERE source = $1
LIMIT 1
