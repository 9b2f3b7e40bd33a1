-- Lines that become readings, or are set aside for another reason.
DELETE FROM rejections j
USING unnest($1::integer[], $2::integer[], $3::bigint[]) AS k (source_id, source_partition, source_offset)
WHERE j.source_id = k.source_id AND j.source_partition = k.source_partition AND j.source_offset = k.source_offset
