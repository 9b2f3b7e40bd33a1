-- What devices and patients were at every moment: readings are judged by it.

CREATE TABLE registry_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL
);
INSERT INTO registry_version (version) VALUES (0);
COMMENT ON TABLE registry_version IS 'Raised by one in every transaction that adds registry states.';

CREATE TABLE device_states (
    source_id             integer NOT NULL REFERENCES sources,
    source_partition      integer NOT NULL,
    source_offset         bigint NOT NULL,
    device_id             bigint NOT NULL,
    says                  jsonb NOT NULL,
    effective_at          timestamptz NOT NULL,
    blocking_effective_at timestamptz NOT NULL,
    effective_at_sent     boolean NOT NULL,
    recorded_at           timestamptz NOT NULL,
    registry_version      bigint NOT NULL,
    PRIMARY KEY (source_id, source_partition, source_offset)
);
CREATE INDEX device_states_by_device ON device_states (device_id);
CREATE INDEX device_states_by_version ON device_states (registry_version);
COMMENT ON TABLE device_states IS 'Every state of every device, as told: the history behind the view devices.';
COMMENT ON COLUMN device_states.says IS 'The fields that the message said; null says none, an absent field says nothing.';
COMMENT ON COLUMN device_states.blocking_effective_at IS
    'From when currentStatus and disabledReadings count: later than effective_at in a plain export.';

CREATE TABLE patient_states (
    source_id             integer NOT NULL REFERENCES sources,
    source_partition      integer NOT NULL,
    source_offset         bigint NOT NULL,
    patient_id            bigint NOT NULL,
    says                  jsonb NOT NULL,
    effective_at          timestamptz NOT NULL,
    blocking_effective_at timestamptz NOT NULL,
    effective_at_sent     boolean NOT NULL,
    recorded_at           timestamptz NOT NULL,
    registry_version      bigint NOT NULL,
    PRIMARY KEY (source_id, source_partition, source_offset)
);
CREATE INDEX patient_states_by_patient ON patient_states (patient_id);
CREATE INDEX patient_states_by_version ON patient_states (registry_version);
COMMENT ON TABLE patient_states IS 'Every state of every patient, as told: the history behind the view patients.';

CREATE TABLE device_identifiers (
    identifier       text COLLATE "C" PRIMARY KEY,
    device_id        bigint NOT NULL,
    effective_at     timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL,
    source           text COLLATE "C" NOT NULL,
    source_partition integer NOT NULL,
    source_offset    bigint NOT NULL,
    registry_version bigint NOT NULL
);
CREATE INDEX device_identifiers_by_version ON device_identifiers (registry_version);
COMMENT ON TABLE device_identifiers IS
    'The one device that an identifier belongs to for ever: that of the earliest state naming it, which stands beside it.';

-- A message told twice is one change, told first by the earliest; without an effectiveAt of its own it is a change each time.
CREATE VIEW device_changes AS
SELECT * FROM (
    SELECT s.*, o.source, row_number() OVER (
        PARTITION BY s.device_id, s.effective_at, s.says,
            CASE WHEN s.effective_at_sent THEN NULL ELSE (s.source_id, s.source_partition, s.source_offset) END
        ORDER BY s.recorded_at, o.source, s.source_partition, s.source_offset) AS telling
    FROM device_states s JOIN sources o USING (source_id)) told
WHERE telling = 1;

CREATE VIEW patient_changes AS
SELECT * FROM (
    SELECT s.*, o.source, row_number() OVER (
        PARTITION BY s.patient_id, s.effective_at, s.says,
            CASE WHEN s.effective_at_sent THEN NULL ELSE (s.source_id, s.source_partition, s.source_offset) END
        ORDER BY s.recorded_at, o.source, s.source_partition, s.source_offset) AS telling
    FROM patient_states s JOIN sources o USING (source_id)) told
WHERE telling = 1;

-- As of now, field by field. A device of which only the future is told is there, with nothing said yet.
CREATE VIEW devices AS
SELECT device_id,
    said -> 'deviceIdentifiers'                            AS device_identifiers,
    said ->> 'currentStatus'                               AS current_status,
    coalesce((said ->> 'disabledReadings')::boolean, false) AS disabled_readings,
    (said ->> 'patientId')::bigint                         AS patient_id,
    (said ->> 'siteId')::bigint                            AS site_id,
    (said ->> 'platformSite')::boolean                     AS platform_site,
    (said ->> 'customerId')::bigint                        AS customer_id,
    said ->> 'note'                                        AS note
FROM (
    SELECT device_id, jsonb_object_agg(field, value) FILTER (WHERE counts_from <= now() AND field IS NOT NULL) AS said
    FROM (
        SELECT DISTINCT ON (device_id, field) device_id, field, value, counts_from
        FROM device_changes
        LEFT JOIN jsonb_each(says) AS f (field, value) ON true
        CROSS JOIN LATERAL (VALUES (
            CASE WHEN field IN ('currentStatus', 'disabledReadings') THEN blocking_effective_at ELSE effective_at END
        )) AS c (counts_from)
        ORDER BY device_id, field, counts_from <= now() DESC, counts_from DESC,
            recorded_at DESC, source DESC, source_partition DESC, source_offset DESC) latest
    GROUP BY device_id) folded;
COMMENT ON VIEW devices IS 'Every device as it is now, field by field.';

CREATE VIEW patients AS
SELECT patient_id,
    said ->> 'externalIdentifier'   AS external_identifier,
    said ->> 'zipCode'              AS zip_code,
    said ->> 'country'              AS country,
    (said ->> 'customerId')::bigint AS customer_id
FROM (
    SELECT patient_id, jsonb_object_agg(field, value) FILTER (WHERE effective_at <= now() AND field IS NOT NULL) AS said
    FROM (
        SELECT DISTINCT ON (patient_id, field) patient_id, field, value, effective_at
        FROM patient_changes
        LEFT JOIN jsonb_each(says) AS f (field, value) ON true
        ORDER BY patient_id, field, effective_at <= now() DESC, effective_at DESC,
            recorded_at DESC, source DESC, source_partition DESC, source_offset DESC) latest
    GROUP BY patient_id) folded;
COMMENT ON VIEW patients IS 'Every patient as they are now, field by field.';
