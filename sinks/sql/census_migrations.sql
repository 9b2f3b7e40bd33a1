-- What the schema was made by.
SELECT name, applied_at FROM schema_migrations ORDER BY number
