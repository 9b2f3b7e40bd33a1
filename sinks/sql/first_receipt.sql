-- When an event was first received: now, unless it was received before.
WITH entered AS (
    INSERT INTO webhook_receipts (event_digest, first_received_at)
    VALUES ($1, date_trunc('milliseconds', clock_timestamp()))
    ON CONFLICT DO NOTHING
    RETURNING first_received_at
)
SELECT first_received_at FROM entered
UNION ALL
SELECT first_received_at FROM webhook_receipts WHERE event_digest = $1
LIMIT 1
