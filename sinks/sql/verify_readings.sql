-- Every reading, in whatever order they lie.
SELECT r.*, s.source, s.first_seen FROM readings r JOIN sources s USING (source_id)
