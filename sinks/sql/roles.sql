-- What makes the groups, that nobody logs in as, and says who may do what: a statement a row, with what it is about, to be
-- run in this order; again and again the same. Roles belong to the whole server, so another database may have made them.
SELECT about, statement FROM (
    SELECT 1, 'role ' || wanted, format('CREATE ROLE %I NOLOGIN', wanted)
    FROM unnest(ARRAY['readings_reader', 'readings_customer', 'readings_writer']) AS wanted
    WHERE to_regrole(wanted) IS NULL
    UNION ALL
    SELECT 2, 'schema public', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC'

    -- A reader sees what the views show, and of what was refused all but what it said.
    UNION ALL
    SELECT 3, 'schema public', 'GRANT USAGE ON SCHEMA public TO readings_reader, readings_writer'
    UNION ALL
    SELECT 3, 'table ' || one, format('GRANT SELECT ON public.%I TO readings_reader', one)
    FROM unnest(ARRAY['sources', 'law_parameters']) AS one
    UNION ALL
    SELECT 3, 'table rejections', format('GRANT SELECT (%s) ON rejections TO readings_reader', (
        SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = 'rejections'::regclass AND attnum > 0 AND NOT attisdropped
            AND attname NOT IN ('payload', 'identifiers_named')))
    UNION ALL
    SELECT 3, 'view ' || viewname, format('GRANT SELECT ON public.%I TO readings_reader, readings_writer', viewname)
    FROM pg_views WHERE schemaname = 'public'

    -- A customer sees the views of its schema, which show what is its own, and nothing that lies below them.
    UNION ALL
    SELECT 4, 'schema customer', 'GRANT USAGE ON SCHEMA customer TO readings_customer'
    UNION ALL
    SELECT 4, 'view customer.' || viewname, format('GRANT SELECT ON customer.%I TO readings_customer', viewname)
    FROM pg_views WHERE schemaname = 'customer'

    -- A writer runs the services: it changes rows, and neither the schema, the law, nor who a customer is.
    UNION ALL
    SELECT 5, 'table ' || tablename,
        format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO readings_writer', tablename)
    FROM pg_tables
    WHERE schemaname = 'public' AND tablename NOT IN ('schema_migrations', 'law_parameters', 'customer_roles')
    UNION ALL
    SELECT 5, 'table ' || one, format('GRANT SELECT ON public.%I TO readings_writer', one)
    FROM unnest(ARRAY['schema_migrations', 'law_parameters']) AS one
) AS steps (step, about, statement)
ORDER BY step, about
