-- Who may do what, given to groups that nobody logs in as; again and again the same. Roles belong to the whole server, so
-- another database may have made them.
DO $$
DECLARE
    wanted text;
    one record;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['readings_reader', 'readings_customer', 'readings_writer'] LOOP
        IF to_regrole(wanted) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;

    -- A reader sees what the views show, and of what was refused all but what it said.
    GRANT USAGE ON SCHEMA public TO readings_reader, readings_writer;
    GRANT SELECT ON sources, law_parameters TO readings_reader;
    EXECUTE format('GRANT SELECT (%s) ON rejections TO readings_reader', (
        SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = 'rejections'::regclass AND attnum > 0 AND NOT attisdropped
            AND attname NOT IN ('payload', 'identifiers_named')));
    FOR one IN SELECT viewname FROM pg_views WHERE schemaname = 'public' LOOP
        EXECUTE format('GRANT SELECT ON public.%I TO readings_reader, readings_writer', one.viewname);
    END LOOP;

    -- A customer sees the views of its schema, which show what is its own, and nothing that lies below them.
    GRANT USAGE ON SCHEMA customer TO readings_customer;
    FOR one IN SELECT viewname FROM pg_views WHERE schemaname = 'customer' LOOP
        EXECUTE format('GRANT SELECT ON customer.%I TO readings_customer', one.viewname);
    END LOOP;

    -- A writer runs the services: it changes rows, and neither the schema, the law, nor who a customer is.
    FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('schema_migrations', 'law_parameters', 'customer_roles') LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO readings_writer', one.tablename);
    END LOOP;
    GRANT SELECT ON schema_migrations, law_parameters TO readings_writer;
END $$
