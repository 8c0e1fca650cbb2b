-- Settings of the keeper's own connection: what a role, a database or the server's file set as a
-- default must not change what our statements mean.
SET search_path = pg_catalog, pg_temp;
SET statement_timeout = '60s';
-- Shorter than deadlock_timeout: of a client and us it is we who give up.
SET lock_timeout = '500ms';
SET idle_in_transaction_session_timeout = '60s';
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off;
SET default_transaction_deferrable = off;
SET client_min_messages = notice;
SET standard_conforming_strings = on;
-- Queries of the catalog look expensive to the planner, and are not.
SET jit = off;
SET reprieve.reconciling = '';
