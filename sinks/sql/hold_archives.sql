-- Locks on archives, till the transaction ends: shared by those that take single records out of one, alone for a run of the
-- file. Not one an archive: a batch may have records of more of them than the server has room for locks. Taken in one order.
SELECT CASE WHEN $2 THEN pg_advisory_xact_lock(7206, bucket) ELSE pg_advisory_xact_lock_shared(7206, bucket) END
FROM (SELECT DISTINCT source_id & 255 AS bucket FROM unnest($1::integer[]) AS s (source_id) ORDER BY bucket) AS buckets
