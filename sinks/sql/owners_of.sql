-- Whose identifiers are before a claim is made.
SELECT identifier, device_id FROM device_identifiers WHERE identifier = ANY ($1::text[])
