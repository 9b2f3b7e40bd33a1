-- A new key, by its hash.
INSERT INTO api_keys (customer_id, name, key_sha256, expires_at) VALUES ($1, $2, $3, now() + $4)
RETURNING key_id, customer_id, name, created_at, expires_at, revoked_at
