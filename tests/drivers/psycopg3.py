"""What an application does with psycopg 3, written down line by line."""

import os

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.composite import CompositeInfo, register_composite


def say(*values):
    print(*[repr(value) for value in values])


def shape(cursor):
    columns = cursor.description or []
    return [(c.name, c.type_code if c.type_code < 16384 else "user", c.internal_size, c.precision, c.scale) for c in columns]


def attempt(connection, text, parameters=None):
    try:
        cursor = connection.execute(text, parameters)
        rows = cursor.fetchall() if cursor.description else None
        say(text, cursor.statusmessage, cursor.rowcount, shape(cursor), rows)
    except psycopg.Error as error:
        d = error.diag
        say(text, type(error).__name__, d.sqlstate, d.message_primary, d.message_detail, d.message_hint, d.statement_position,
            d.table_name, d.constraint_name)


with psycopg.connect(os.environ["DSN"], autocommit=True) as c:
    attempt(c, "SELECT * FROM item ORDER BY id")
    attempt(c, "INSERT INTO item VALUES (%s, %s, %s) RETURNING *", (100, "new", None))
    attempt(c, "DELETE FROM item WHERE id = %s", (1,))
    attempt(c, "DELETE FROM item WHERE id = %s", (1,))
    attempt(c, "DELETE FROM item WHERE id = ANY(%s) RETURNING id, name, price", ([2, 3],))
    attempt(c, "SELECT count(*), sum(price) FROM item")
    attempt(c, "SELECT i.*, p.* FROM item i LEFT JOIN part p ON p.item_id = i.id ORDER BY i.id, p.id")
    attempt(c, "INSERT INTO part VALUES (900, 1, 'orphan')")
    attempt(c, "INSERT INTO item VALUES (4, 'taken', 0)")
    attempt(c, "INSERT INTO item VALUES (1, 'again', 1) ON CONFLICT (id) DO UPDATE SET name = 'upserted' RETURNING *")
    attempt(c, "SELECT nope FROM item")

    for run in range(8):  # prepared on the server from the fifth time on
        attempt(c, "DELETE FROM part WHERE id = %s RETURNING *", (run,))

    with c.cursor(binary=True) as cursor:
        cursor.execute("SELECT * FROM item ORDER BY id")
        say("binary", shape(cursor), cursor.fetchall())

    # The row type of a table as a Python class: asked from the catalogs, sent as a parameter, read as a result.
    info = CompositeInfo.fetch(c, "item")
    say("composite", info.name, info.field_names)
    register_composite(info, c)
    row = info.python_type(77, "typed", 5)
    for binary in (False, True):
        with c.cursor(binary=binary) as cursor:
            rows = sql.SQL("(%s).name" if binary else "ARRAY[%s]")  # binary arrays: D6
            cursor.execute(sql.SQL("SELECT i, %s, {} FROM item i ORDER BY id LIMIT 2").format(rows), (row, row))
            say("composite", binary, [d.name for d in cursor.description], cursor.fetchall())
            cursor.execute("INSERT INTO item SELECT (%s).* RETURNING item", (row._replace(id=78 + binary),))
            say("composite", cursor.statusmessage, cursor.fetchall())

    with c.pipeline():
        one = c.execute("DELETE FROM item WHERE id = 5")
        two = c.execute("SELECT id FROM item ORDER BY id")
        three = c.execute("DELETE FROM item WHERE id = 5 RETURNING *")
    say("pipeline", one.statusmessage, two.fetchall(), three.statusmessage, three.fetchall())

    try:
        with c.pipeline() as pipeline:
            c.execute("DELETE FROM item WHERE id = 6")
            c.execute("SELECT 1 / 0")
            c.execute("DELETE FROM item WHERE id = 7")
            pipeline.sync()
    except psycopg.Error as error:
        say("pipeline error", error.diag.sqlstate)
    attempt(c, "SELECT id FROM item ORDER BY id")

    try:
        with c.transaction():
            attempt(c, "DELETE FROM item")
            attempt(c, "SELECT count(*) FROM item")
            raise ValueError
    except ValueError:
        attempt(c, "SELECT count(*) FROM item")
    with c.transaction():
        attempt(c, "DELETE FROM item WHERE id = 8")
        with c.transaction(force_rollback=True):
            attempt(c, "DELETE FROM item WHERE id = 9")
    attempt(c, "SELECT id FROM item ORDER BY id")

    with c.transaction(), c.cursor("named") as cursor:
        cursor.execute("SELECT * FROM item ORDER BY id")
        say("cursor", cursor.fetchmany(2), cursor.fetchone())
        c.execute("DELETE FROM item WHERE id = 10")
        say("cursor", cursor.fetchall())

    with c.cursor() as cursor:
        with cursor.copy("COPY item (id, name) FROM STDIN") as copy:
            for n in range(200, 203):
                copy.write_row((n, f"copied {n}"))
        say("copy in", cursor.statusmessage)
        with cursor.copy("COPY item TO STDOUT") as copy:
            say("copy out", sorted(copy.rows()))
        with cursor.copy("COPY (SELECT * FROM item ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            say("copy binary", b"".join(bytes(block) for block in copy))
        try:
            with cursor.copy("COPY item (id, name) FROM STDIN") as copy:
                copy.write_row((300, "x"))
                raise ValueError("changed my mind")
        except ValueError:
            say("copy failed")
    attempt(c, "SELECT count(*) FROM item")

    with c.cursor(row_factory=dict_row) as cursor:
        say("dict", cursor.execute("SELECT * FROM item ORDER BY id LIMIT 2").fetchall())
    with c.cursor() as cursor:
        cursor.executemany("DELETE FROM item WHERE id = %s RETURNING id", [(200,), (201,), (999,)], returning=True)
        while True:
            say("many", cursor.statusmessage, cursor.fetchall())
            if not cursor.nextset():
                break
        say("rowcount", cursor.executemany("DELETE FROM item WHERE id = %s", [(202,), (999,)]) or cursor.rowcount)
    attempt(c, "DELETE FROM item WHERE id = 100; SELECT count(*) FROM item")
    attempt(c, sql.SQL("DELETE FROM {}").format(sql.Identifier("item")).as_string(c))
    attempt(c, "SELECT * FROM item")
    attempt(c, "TABLE part")
