-- What readings name although the registry does not tell of it.
INSERT INTO unregistered_mentions (subject, identifier, patient_id)
SELECT DISTINCT * FROM unnest($1::bigint[], $2::text[], $3::bigint[])
ON CONFLICT DO NOTHING
