-- The identifiers whose owner has changed since a version.
SELECT identifier AS name FROM device_identifiers WHERE registry_version > $1
