-- Budgets: how much a role may delete in a span of time. BUDGET, SHOW BUDGETS.

CREATE TABLE IF NOT EXISTS reprieve.budgets (
    role_name   text PRIMARY KEY,
    max_rows    bigint NOT NULL CHECK (max_rows >= 0),     -- of all tables together, cascades included
    span        interval NOT NULL CHECK (span > interval '0'),
    max_tables  int CHECK (max_tables > 0),                -- that one statement takes rows of
    wait        interval,
    set_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    set_by      text NOT NULL DEFAULT session_user,
    charged     bigint NOT NULL DEFAULT 0                  -- written by each deletion, so that they come one after the other
);

-- The part of the ledger that a budget is about: what a role deleted within the span.
CREATE TABLE IF NOT EXISTS reprieve.budget_lines (
    role_name    text NOT NULL,
    deletion_id  bigint NOT NULL,
    at           timestamptz NOT NULL,
    rows         bigint NOT NULL,
    PRIMARY KEY (role_name, deletion_id)
);
CREATE INDEX IF NOT EXISTS budget_lines_at ON reprieve.budget_lines (role_name, at);

CREATE OR REPLACE TRIGGER budgets_changed AFTER INSERT OR UPDATE OF role_name OR DELETE ON reprieve.budgets
    FOR EACH STATEMENT EXECUTE FUNCTION reprieve.guards_changed();

-- When a budget has room for what a deletion is over it; NULL: never. Its own rows do not go away.
CREATE OR REPLACE FUNCTION reprieve.budget_frees(budget reprieve.budgets, deletion bigint, over bigint) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT l.at + (budget).span
              FROM (SELECT b.at, sum(b.rows) OVER (ORDER BY b.at, b.deletion_id) AS freed FROM reprieve.budget_lines b
                     WHERE b.role_name = (budget).role_name AND b.deletion_id <> deletion AND b.at > clock_timestamp() - (budget).span) l
             WHERE l.freed >= over ORDER BY l.at LIMIT 1);
END $$;

-- Writes down what a deletion has taken so far from the budgets of this session. Deletions of one budget come one after the other: the
-- budget's row is written, so its lock is held until the transaction is over, and above READ COMMITTED the second fails with 40001.
CREATE OR REPLACE FUNCTION reprieve.charge(id bigint, line oid, line_rows bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    budget reprieve.budgets;
    name text;
    total bigint;
    tables int;
    spent bigint;
    frees timestamptz;
    problem text;
BEGIN
    FOR name IN SELECT b.role_name FROM reprieve.budgets b WHERE reprieve.acts_as(b.role_name) > 0 ORDER BY 1 LOOP
        UPDATE reprieve.budgets b SET charged = b.charged + 1 WHERE b.role_name = name RETURNING b.* INTO budget;
        CONTINUE WHEN NOT FOUND;
        SELECT sum(l.taken), count(DISTINCT reprieve.root_of(l.table_id)) INTO total, tables FROM reprieve.lines_of(id, line, line_rows) l;
        DELETE FROM reprieve.budget_lines b WHERE b.role_name = name AND b.at <= clock_timestamp() - budget.span AND b.deletion_id <> id;
        spent := coalesce((SELECT sum(b.rows) FROM reprieve.budget_lines b WHERE b.role_name = name AND b.deletion_id <> id), 0);
        problem := NULL;
        IF tables > budget.max_tables THEN
            problem := format('rows of %s tables with one statement, and the budget of %s allows %s', tables, name, budget.max_tables);
        ELSIF spent + total > budget.max_rows THEN
            frees := reprieve.budget_frees(budget, id, spent + total - budget.max_rows);
            problem := format('%s rows, and %s of the budget of %s (%s rows in %s) are spent; %s', total, spent, name, budget.max_rows, budget.span,
                              coalesce('there is room for it at ' || date_trunc('seconds', frees + interval '1 second'), 'there is never room for it'));
        END IF;
        IF problem IS NOT NULL THEN
            PERFORM reprieve.hold_deletion(id, line, line_rows, ROW(line, total, problem, budget.wait)::reprieve.overrun);
            -- Approved: not at the expense of the budget.
            total := 0;
        END IF;
        INSERT INTO reprieve.budget_lines AS b VALUES (name, id, clock_timestamp(), total)
        ON CONFLICT ON CONSTRAINT budget_lines_pkey DO UPDATE SET rows = excluded.rows;
    END LOOP;
    RETURN true;
END $$;

-- Budgets, and what is left of each now.
CREATE OR REPLACE VIEW reprieve.show_budgets AS
    SELECT b.role_name AS role, b.max_rows, b.span, b.max_tables, b.wait, s.spent, greatest(b.max_rows - s.spent, 0) AS left, b.set_at, b.set_by
      FROM reprieve.budgets b
      CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.sum(l.rows), 0)::bigint AS spent FROM reprieve.budget_lines l
                           WHERE l.role_name = b.role_name AND l.at > pg_catalog.clock_timestamp() - b.span) s
     ORDER BY 1;

-- BUDGET FOR role n ROWS PER span [TABLES n] [WAIT i]; max_rows NULL: none any more. What the role deleted within the span counts at once.
CREATE OR REPLACE FUNCTION reprieve.budget_v1(for_role text, max_rows bigint, span interval DEFAULT NULL, max_tables int DEFAULT NULL, wait interval DEFAULT NULL)
RETURNS SETOF reprieve.show_budgets
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM reprieve.require_admin('BUDGET'), reprieve.require_read_committed('BUDGET');
    LOCK TABLE reprieve.guards IN SHARE ROW EXCLUSIVE MODE;
    IF $2 IS NULL THEN
        DELETE FROM reprieve.budgets b WHERE b.role_name = $1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'role % has no budget', quote_ident($1) USING ERRCODE = 'no_data_found', HINT = 'SHOW BUDGETS lists those that there are.';
        END IF;
        DELETE FROM reprieve.budget_lines l WHERE l.role_name = $1;
    ELSE
        PERFORM reprieve.require_role($1);
        IF $2 < 0 OR $3 IS NULL OR $3 <= interval '0' OR $4 < 1 THEN
            RAISE EXCEPTION 'a budget is 0 or more rows, of 1 or more tables, in a span of time longer than 0'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'As in: BUDGET FOR role 100 ROWS PER ''1 hour'' TABLES 2.';
        END IF;
        INSERT INTO reprieve.budgets AS b (role_name, max_rows, span, max_tables, wait) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (role_name) DO UPDATE SET max_rows = excluded.max_rows, span = excluded.span, max_tables = excluded.max_tables, wait = excluded.wait,
            set_at = excluded.set_at, set_by = excluded.set_by;
        INSERT INTO reprieve.budget_lines (role_name, deletion_id, at, rows)
        SELECT $1, d.id, d.statement_at, sum(e.rows) FROM reprieve.deletions d JOIN reprieve.deletion_tables e ON e.deletion_id = d.id
         WHERE d.statement_at > clock_timestamp() - $3 AND NOT EXISTS (SELECT FROM reprieve.requests q WHERE q.used_for = d.id)
           AND EXISTS (SELECT FROM pg_roles r, pg_roles o WHERE r.rolname IN (d.session_role, d.role_name) AND o.rolname = $1
                                                                   AND (r.oid = o.oid OR NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'MEMBER')))
         GROUP BY d.id ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO reprieve.acts (verb, target, result)
    VALUES ('budget', $1, jsonb_strip_nulls(jsonb_build_object('max_rows', $2, 'span', $3, 'max_tables', $4, 'wait', $5)));
    RETURN QUERY SELECT s.* FROM reprieve.show_budgets s WHERE s.role = $1;
END $$;
