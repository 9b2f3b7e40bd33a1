-- The devices of which something was told after a version.
SELECT DISTINCT device_id AS name FROM device_states WHERE registry_version > $1
