-- A source by either of two names, of a topic that was made anew its present log, and how far one of its partitions is taken; nulls where nobody has begun it.
SELECT s.source_id, s.source, s.first_seen, s.holds, p.first_offset, p.next_offset, p.repeated, p.expired
FROM sources s LEFT JOIN source_positions p ON p.source_id = s.source_id AND p.source_partition = $3
WHERE s.source IN ($1, $2) OR starts_with(s.source, $2 || '@')
ORDER BY s.source = $1 DESC, length(s.source) DESC, s.source DESC
LIMIT 1
