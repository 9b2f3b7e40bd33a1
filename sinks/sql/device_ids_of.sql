-- The device that each of these identifiers belongs to.
SELECT identifier, device_id FROM device_identifiers WHERE identifier = ANY ($1::text[])
