-- Natural keys under which more than one reading stands; asked with index scans off, so that a broken index hides none.
SELECT subject, reading_type::text, reading_timestamp, count(*) AS readings, count(*) OVER () AS differ
FROM readings
GROUP BY subject, reading_type, reading_timestamp
HAVING count(*) > 1
ORDER BY subject, reading_type, reading_timestamp
LIMIT $1
