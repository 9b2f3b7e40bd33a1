-- Locks on subjects, till the transaction ends: shared by those that judge beside a subject's readings, alone for who
-- moves them. Not on the rows, which TimescaleDB cannot lock in a compressed chunk; not one a subject either, of which
-- a batch has more than the server has room for locks. Taken in one order, so that two batches wait and do not deadlock.
SELECT CASE WHEN alone THEN pg_advisory_xact_lock(7205, bucket) ELSE pg_advisory_xact_lock_shared(7205, bucket) END
FROM (
    SELECT (subject & 255)::integer AS bucket, bool_or(alone) AS alone
    FROM unnest($1::bigint[], $2::boolean[]) AS s (subject, alone)
    GROUP BY bucket
    ORDER BY bucket
) AS buckets
