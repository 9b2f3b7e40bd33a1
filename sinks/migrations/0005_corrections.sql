-- Registry news may come late: what has to be judged again, and the means to find exactly that.

CREATE TABLE corrections_pending (
    correction_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    about            text NOT NULL CHECK (about IN
        ('readings_of_subject', 'rejections_of_device', 'rejections_of_patient', 'rejections_of_identifier',
         'all_readings', 'all_rejections')),
    subject          bigint,
    patient_id       bigint,
    identifier       text COLLATE "C",
    since            timestamptz NOT NULL DEFAULT '-infinity',
    done_to          jsonb,
    registry_version bigint NOT NULL,
    made_at          timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE corrections_pending IS
    'What a change of the registry or of the law may touch and is not judged again yet. What is stored is right when this is empty.';
COMMENT ON COLUMN corrections_pending.subject IS 'The device, or minus the patient, whose rows are judged again.';
COMMENT ON COLUMN corrections_pending.since IS 'Only what was received or taken from here on can be touched.';
COMMENT ON COLUMN corrections_pending.done_to IS 'The last key or place that is judged again already.';

-- What readings name although the registry does not tell of it: else it is found through the device's own history.
CREATE TABLE unregistered_mentions (
    subject    bigint NOT NULL,
    identifier text COLLATE "C",
    patient_id bigint,
    UNIQUE NULLS NOT DISTINCT (identifier, patient_id, subject)
);
COMMENT ON TABLE unregistered_mentions IS
    'Readings of subject name this identifier, of nobody then, or this patient, not the device''s then.';
CREATE INDEX unregistered_mentions_by_patient ON unregistered_mentions (patient_id) WHERE patient_id IS NOT NULL;

CREATE INDEX rejections_by_device ON rejections (coalesce(device_id, device_id_named));
CREATE INDEX rejections_by_patient ON rejections (patient_id) WHERE patient_id IS NOT NULL;
CREATE INDEX rejections_by_identifier ON rejections USING gin (identifiers_named) WHERE identifiers_named IS NOT NULL;
CREATE INDEX device_states_by_patient ON device_states ((says ->> 'patientId')) WHERE says ->> 'patientId' IS NOT NULL;
