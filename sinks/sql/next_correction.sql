-- The oldest piece of work.
SELECT correction_id, about, subject, patient_id, identifier, since, done_to::text
FROM corrections_pending ORDER BY correction_id LIMIT 1
