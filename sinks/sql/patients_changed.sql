-- The patients of which something was told after a version.
SELECT DISTINCT patient_id AS name FROM patient_states WHERE registry_version > $1
