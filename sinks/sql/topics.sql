-- What the present log of each topic is called (kafka:<topic>, then kafka:<topic>@2, …) and how far it is taken.
SELECT t.topic, s.source_id, s.source, s.first_seen, p.source_partition, p.next_offset,
    p.last_offset, p.last_received_at, p.last_digest
FROM unnest($1::text[]) AS t (topic)
CROSS JOIN LATERAL (
    SELECT * FROM sources
    WHERE source = 'kafka:' || t.topic OR starts_with(source, 'kafka:' || t.topic || '@')
    ORDER BY length(source) DESC, source DESC
    LIMIT 1) s
LEFT JOIN source_positions p USING (source_id)
