-- The identifiers whose owner has changed since a version.
SELECT identifier, device_id FROM device_identifiers WHERE registry_version > $1
