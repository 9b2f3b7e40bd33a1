-- Whoever runs while the law is changed must notice: it would go on judging by the old one.

ALTER TABLE registry_version ADD COLUMN law_version bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN registry_version.law_version IS 'The version that the last change of the law parameters made.';
