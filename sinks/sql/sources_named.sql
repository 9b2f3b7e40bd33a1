-- Sources by their name, every log of a topic by that of the topic alone, and archives by the beginning of theirs.
SELECT source_id FROM sources
WHERE source IN ($1, 'kafka:' || $1) OR starts_with(source, 'kafka:' || $1 || '@')
    OR (starts_with($1, 'archive:') AND starts_with(source, $1))
