-- Everything refused, in whatever order it lies; of the registry's own records there is nothing to judge.
SELECT r.*, r.reason::text AS reason_word, s.source, s.first_seen
FROM rejections r JOIN sources s USING (source_id)
WHERE s.holds = 'readings'
