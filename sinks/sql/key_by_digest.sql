-- Whose key it is, and whether it still holds.
SELECT key_id, customer_id, expires_at <= now() AS expired, revoked_at IS NOT NULL AS revoked
FROM api_keys WHERE key_sha256 = $1
