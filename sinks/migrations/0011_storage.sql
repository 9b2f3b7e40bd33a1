-- What is asked of readings by patient and by time is found without reading them through; by device the key leads there.

-- Of the patient alone: the many readings of each share one entry, so that it costs least to keep.
CREATE INDEX readings_by_patient ON readings (patient_id) WHERE patient_id IS NOT NULL;
-- Several spans a range of pages: a late reading among the day's does not hide what else is there.
CREATE INDEX readings_by_time ON readings USING brin (reading_timestamp timestamptz_minmax_multi_ops);
CREATE INDEX rejections_by_time ON rejections USING brin (reading_timestamp timestamptz_minmax_multi_ops);
CREATE INDEX rejections_by_day ON rejections USING brin (((received_at AT TIME ZONE 'UTC')::date));

COMMENT ON COLUMN readings.device_id IS
    'The device; null where the reading names none. No index begins with it: ask readings_local, or subject, here.';

-- Old chunks become columnar where READINGS_COLUMNSTORE_AFTER_DAYS says so. By subject, since rule 9 and corrections ask for
-- a device's readings; by time within; reading_type in the order is refused while rows are late (an enum, XX000).
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        ALTER TABLE readings SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'subject',
            timescaledb.orderby = 'reading_timestamp');
    END IF;
END $$;
