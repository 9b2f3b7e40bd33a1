-- What a column means should be where it is asked: in the database.

COMMENT ON COLUMN readings.identifiers_named IS 'The identifiers that the reading named, as sent; null when it named none.';
COMMENT ON COLUMN readings.device_id_named IS 'The device id that the reading named itself; device_id is what came of it and of the identifiers.';
COMMENT ON COLUMN readings.patient_id_named IS 'The patient that the reading named itself; else patient_id is the device''s at reading_timestamp.';
COMMENT ON COLUMN readings.source_id IS 'With source_partition and source_offset the place of the record: readings explain tells what became of it.';
COMMENT ON COLUMN readings.manual IS 'Typed in by a person rather than measured.';
COMMENT ON COLUMN readings.heart_rate_bpm IS 'Beats a minute; of every kind that has one.';
COMMENT ON COLUMN readings.heart_rate_variability_ms IS 'Milliseconds, by heart_rate_variability_algorithm over heart_rate_variability_duration_ms.';
COMMENT ON COLUMN readings.systolic_mmhg IS 'Millimetres of mercury.';
COMMENT ON COLUMN readings.glucose_mg_dl IS 'Milligrams a decilitre.';
COMMENT ON COLUMN readings.blood_oxygen_pct IS 'Saturation in per cent.';
COMMENT ON COLUMN readings.weight_lb IS 'Pounds.';
COMMENT ON COLUMN readings.temperature_f IS 'Degrees Fahrenheit, whatever unit was sent.';
COMMENT ON COLUMN readings.peak_expiratory_flow_l_min IS 'Litres a minute.';
COMMENT ON COLUMN readings.fev1_l IS 'Forced expiratory volume in one second, litres.';
COMMENT ON COLUMN readings.bed_times IS 'When the sleeper lay down, in the mat''s own words: not instants, and not shifted.';
COMMENT ON COLUMN readings.get_up_times IS 'When the sleeper got up, in the mat''s own words.';
COMMENT ON COLUMN readings.sleep_duration IS 'In the mat''s own words, hours:minutes.';
COMMENT ON COLUMN readings.respiration IS 'Breaths a minute.';
COMMENT ON COLUMN readings.body_turn_over IS 'How often the sleeper turned over.';
COMMENT ON COLUMN readings.deep_sleep_min IS 'Minutes.';
COMMENT ON COLUMN readings.light_sleep_min IS 'Minutes.';
COMMENT ON COLUMN readings.rem_min IS 'Minutes of rapid eye movement.';
COMMENT ON COLUMN rejections.source_id IS 'With source_partition and source_offset the place of the record: readings explain tells why it stands here.';
COMMENT ON COLUMN rejections.received_at IS 'When the broker received it; null where an archive or a registry file does not say.';
COMMENT ON COLUMN rejections.device_id IS 'As far as rules 5 to 8 came before one refused it; what the record named itself is in the columns ending in _named.';
COMMENT ON COLUMN sources.holds IS 'Readings, or states of the registry: rejections of both stand in one table.';
COMMENT ON TABLE schema_migrations IS 'What readings migrate has applied.';

DO $$
DECLARE
    kind record;
BEGIN
    FOR kind IN SELECT viewname FROM pg_views WHERE schemaname = 'public' AND viewname LIKE '%\_readings' LOOP
        EXECUTE format('COMMENT ON VIEW %I IS %L', kind.viewname,
            'Readings of one kind: its own columns, and the clocks that the patient and the device showed. See readings.');
    END LOOP;
END $$;

COMMENT ON VIEW device_changes IS 'device_states, a message told twice counted once: what the devices are folded from.';
COMMENT ON VIEW patient_changes IS 'patient_states, a message told twice counted once: what the patients are folded from.';
