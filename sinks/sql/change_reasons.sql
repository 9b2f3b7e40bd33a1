-- The reasons of those set aside follow the winner.
UPDATE rejections j SET reason = c.reason
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::rejection_reason[])
    AS c (source_id, source_partition, source_offset, reason)
WHERE j.source_id = c.source_id AND j.source_partition = c.source_partition AND j.source_offset = c.source_offset
