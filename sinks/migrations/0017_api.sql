-- The service over HTTP: whose key a request carries, and what it asks the registry and the readings for.

CREATE TABLE api_keys (
    key_id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL CHECK (customer_id > 0),
    name        text NOT NULL,
    key_sha256  bytea NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz
);
COMMENT ON TABLE api_keys IS 'Who may ask over HTTP. The keys themselves stand nowhere: they are shown once, when they are made.';
COMMENT ON COLUMN api_keys.customer_id IS 'Whose devices, patients and readings the key sees and changes.';
COMMENT ON COLUMN api_keys.name IS 'What the operator calls it: who has it, what for.';
COMMENT ON COLUMN api_keys.key_sha256 IS 'SHA-256 of the key, which is random and long enough that no slower hash is needed.';
COMMENT ON COLUMN api_keys.expires_at IS 'From then on it is refused.';
COMMENT ON COLUMN api_keys.revoked_at IS 'When readings keys revoke took it back; null while it holds.';

CREATE TABLE webhook_receipts (
    event_digest      bytea PRIMARY KEY,
    first_received_at timestamptz NOT NULL
);
COMMENT ON TABLE webhook_receipts IS 'When an event of the platform that tells no time of its own was first received: so that its repeats say the same.';
COMMENT ON COLUMN webhook_receipts.event_digest IS 'SHA-256 of the event, whatever the order of its fields.';

-- A customer's devices; whoever has an external identifier, which may be longer than a B-tree takes.
CREATE INDEX device_states_by_customer ON device_states ((says ->> 'customerId'));
CREATE INDEX patient_states_by_external_identifier ON patient_states USING hash ((says ->> 'externalIdentifier'));

-- A reading by the platform's id: ids grow as rows do, but for stragglers. A B-tree makes a row half as dear again to write.
CREATE INDEX readings_by_reading_id ON readings USING brin (reading_id int8_minmax_multi_ops);

COMMENT ON TABLE sources IS
    'Where records come from: kafka:<topic>, archive:<hash of the decompressed content>, or api: changes made over HTTP.';
