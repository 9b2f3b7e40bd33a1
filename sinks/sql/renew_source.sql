-- Another log of a topic that was made anew; it holds what the old one held.
INSERT INTO sources (source, first_seen, holds)
SELECT $1, now(), holds FROM sources WHERE source_id = $2
RETURNING source_id, first_seen
