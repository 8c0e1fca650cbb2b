"""Every verb of the admin port with psycopg 3: both protocols, each in a transaction that is rolled back."""

import os

import psycopg

STATE = """SELECT (SELECT string_agg(i::text, ';' ORDER BY id) FROM item i), (SELECT string_agg(p::text, ';' ORDER BY id) FROM part p),
    (SELECT count(*) FROM reprieve.graveyard), (SELECT count(*) FROM reprieve.holds), (SELECT count(*) FROM reprieve.receipts),
    (SELECT count(*) FROM reprieve.retention), (SELECT count(*) FROM reprieve.monitor_limits), (SELECT count(*) FROM reprieve.acts),
    (SELECT string_agg(t.relid || t.mode, ';' ORDER BY t.relid) FROM reprieve.tables t), (SELECT count(*) FROM reprieve.rehearsals)"""

with psycopg.connect(os.environ["DSN"]) as c:
    deletion, transaction, time = c.execute(
        "SELECT id, xid::text, (statement_at - interval '1 minute')::text FROM reprieve.deletions ORDER BY id DESC LIMIT 1").fetchone()
    before = c.execute(STATE).fetchall()
    c.rollback()
    with open(os.environ["VERBS"]) as verbs:
        lines = [line.strip() for line in verbs if line.strip() and not line.startswith("#")]
    for line in lines:
        line = line.format(deletion=deletion, transaction=transaction, time=time)
        told = []
        # Without prepare it is one Query message; with it Parse, Bind, Describe, Execute.
        for prepare in (False, True):
            with c.transaction(force_rollback=True):
                for verb in line.split("; "):
                    cursor = c.execute(verb, prepare=prepare)
                    told.append(([column.name for column in cursor.description], len(cursor.fetchall())))
        half = len(told) // 2
        # Of clients there may be others meanwhile.
        same = told[:half] == told[half:] or line in ("SHOW CLIENTS", "SHOW ROWS")
        after = c.execute(STATE).fetchall()
        c.rollback()
        print("ok" if same and after == before else "FAILED", line, told)
