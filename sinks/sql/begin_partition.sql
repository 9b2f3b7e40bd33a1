-- A partition is entered where its log begins; if somebody entered it before, that stands.
INSERT INTO source_positions (source_id, source_partition, first_offset, next_offset)
VALUES ($1, $2, $3, $3)
ON CONFLICT DO NOTHING
