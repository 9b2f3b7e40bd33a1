-- Every key that was ever made.
SELECT key_id, customer_id, name, created_at, expires_at, revoked_at FROM api_keys ORDER BY key_id
