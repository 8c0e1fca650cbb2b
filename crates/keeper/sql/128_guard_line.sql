-- The one place where guards and budgets look at deletions: see 120_guards.sql.
SELECT reprieve.make_guard_line();

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = 'reprieve.deletion_tables'::regclass AND t.tgname = 'guard_line') THEN
        CREATE TRIGGER guard_line BEFORE INSERT OR UPDATE OF rows ON reprieve.deletion_tables FOR EACH ROW EXECUTE FUNCTION reprieve.guard_line();
    END IF;
END $$;
