-- What is ours in the system catalogs. Clients' queries of them leave it out: for each system relation that a statement
-- reads, the proxy adds a condition on what stands here (`crates/rewrite/src/walk/cloak.rs`).
--
-- An object's schema is read from what a cast to regclass, regproc or regtype prints: a look into the server's caches,
-- where a join would have to be planned and would cost a scan for each statement. So the functions have no SET clause
-- and no subquery: the planner puts their bodies in place of the calls. An object prints without its schema to a client
-- that has `reprieve` in its search path: that client sees it.

-- Relations: those of our schema, our index on a marked table, what TOAST keeps of ours.
CREATE OR REPLACE FUNCTION reprieve.hidden_relation_v1(relid oid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT relid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND CASE
        WHEN pg_catalog.starts_with(relid::pg_catalog.regclass::pg_catalog.text, 'reprieve.') THEN true
        -- Only the name of an index is worth a look at its first column, which no client can have named.
        WHEN relid::pg_catalog.regclass::pg_catalog.text OPERATOR(pg_catalog.~~) '%\_reprieve\_deletion%'
            THEN pg_catalog.pg_get_indexdef(relid, 1, false) OPERATOR(pg_catalog.=) 'deletion_id'
        WHEN relid::pg_catalog.regclass::pg_catalog.text OPERATOR(pg_catalog.~~) 'pg\_toast.pg\_toast\_%'
            THEN pg_catalog.starts_with(pg_catalog.split_part(relid::pg_catalog.regclass::pg_catalog.text, '_', 4)
                                        ::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text, 'reprieve.')
        ELSE false END
$$;

CREATE OR REPLACE FUNCTION reprieve.hidden_routine_v1(routine oid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.starts_with(routine::pg_catalog.regproc::pg_catalog.text, 'reprieve.')
$$;

-- What other catalogs refer to by catalog and number, as far as a number tells. The rest is in hidden_parts_v1.
CREATE OR REPLACE FUNCTION reprieve.hidden_object_v1(classid oid, objid oid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT objid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND CASE classid
        WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN reprieve.hidden_relation_v1(objid)
        WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN reprieve.hidden_routine_v1(objid)
        WHEN 'pg_catalog.pg_type'::pg_catalog.regclass
            THEN pg_catalog.starts_with(objid::pg_catalog.regtype::pg_catalog.text, 'reprieve.')
        WHEN 'pg_catalog.pg_namespace'::pg_catalog.regclass THEN objid OPERATOR(pg_catalog.=) 'reprieve'::pg_catalog.regnamespace
        ELSE false END
$$;

-- What has no such cast. Triggers are hidden that run our functions, and all that our own tables have.
CREATE OR REPLACE VIEW reprieve.hidden_parts_v1 AS
    SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass::oid AS classid, g.oid AS objid
    FROM pg_catalog.pg_trigger g WHERE reprieve.hidden_routine_v1(g.tgfoid) OR reprieve.hidden_relation_v1(g.tgrelid)
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, g.tgconstraint
    FROM pg_catalog.pg_trigger g WHERE g.tgconstraint <> 0 AND reprieve.hidden_routine_v1(g.tgfoid)
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, x.oid
    FROM pg_catalog.pg_constraint x WHERE x.connamespace = 'reprieve'::pg_catalog.regnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid
    FROM pg_catalog.pg_rewrite r WHERE reprieve.hidden_relation_v1(r.ev_class)
    UNION ALL
    SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid
    FROM pg_catalog.pg_attrdef d WHERE reprieve.hidden_relation_v1(d.adrelid)
    UNION ALL
    SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, e.oid
    FROM pg_catalog.pg_event_trigger e WHERE reprieve.hidden_routine_v1(e.evtfoid);

CREATE OR REPLACE VIEW reprieve.hidden_trigger_names_v1 AS
    SELECT n.nspname AS table_schema, c.relname AS table_name, g.tgname AS trigger_name
    FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE reprieve.hidden_routine_v1(g.tgfoid);

-- Tables of which `deleted_at` and `deletion_id` are ours.
CREATE OR REPLACE VIEW reprieve.marked_v1 AS
    SELECT t.relid FROM reprieve.tables t WHERE t.mode = 'mark';

CREATE OR REPLACE VIEW reprieve.hidden_attributes_v1 AS
    SELECT a.attrelid, a.attnum
    FROM reprieve.tables t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relid
    WHERE t.mode = 'mark' AND a.attname IN ('deleted_at', 'deletion_id');

CREATE OR REPLACE VIEW reprieve.marked_names_v1 AS
    SELECT n.nspname AS table_schema, c.relname AS table_name
    FROM reprieve.tables t JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.mode = 'mark';

CREATE OR REPLACE VIEW reprieve.hidden_index_names_v1 AS
    SELECT n.nspname AS table_schema, c.relname AS index_name
    FROM reprieve.tables t JOIN pg_catalog.pg_index i ON i.indrelid = t.relid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.mode = 'mark' AND a.attname = 'deletion_id';
