-- A patient is found in columnar chunks as a device is: by their index. Until now every batch of a chunk was looked at.

-- The index of a columnar chunk has what it is divided by, first the subject, which late readings and corrections ask for.
-- The patient behind it makes no more batches but where a device changes hands; to look through that index for a patient is
-- a twentieth of the chunk. Of the columns inside only those get a sparse index that something is found by. What is
-- columnar already stays divided as it was, and right: compress_chunk(decompress_chunk(chunk)) makes it anew.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        ALTER TABLE readings SET (timescaledb.segmentby = 'subject, patient_id', timescaledb.orderby = 'reading_timestamp',
            timescaledb.sparse_index = 'bloom(source_offset), bloom(reading_id)');
    END IF;
END $$;
