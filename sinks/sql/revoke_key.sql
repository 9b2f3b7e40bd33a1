-- Take a key back; when that was done before, the first time stands.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = $1
RETURNING key_id, customer_id, name, created_at, expires_at, revoked_at
