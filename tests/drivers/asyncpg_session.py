"""What an application does with asyncpg, written down line by line."""

import asyncio
import io
import os

import asyncpg


def say(*values):
    print(*[repr(value) for value in values])


async def attempt(c, text, *arguments):
    try:
        rows = await c.fetch(text, *arguments)
        say(text, [tuple(row.items()) for row in rows])
    except asyncpg.PostgresError as error:
        say(text, type(error).__name__, error.sqlstate, error.message, error.detail, error.hint, error.position)


async def main():
    c = await asyncpg.connect(os.environ["DSN"])
    await attempt(c, "SELECT * FROM item ORDER BY id")
    say(await c.execute("INSERT INTO item VALUES ($1, $2, $3)", 100, "new", None))
    say(await c.execute("DELETE FROM item WHERE id = 1"))
    say(await c.execute("DELETE FROM item WHERE id = $1", 2))
    say(await c.execute("DELETE FROM item WHERE id = $1", 2))
    await attempt(c, "DELETE FROM item WHERE id = ANY($1::int[]) RETURNING *", [3, 4])
    await attempt(c, "SELECT i.*, p.what FROM item i LEFT JOIN part p ON p.item_id = i.id ORDER BY i.id, p.id")
    await attempt(c, "SELECT nope FROM item")
    await attempt(c, "INSERT INTO part VALUES (900, 1, 'orphan')")

    statement = await c.prepare("DELETE FROM part WHERE item_id = $1 RETURNING id, what")
    say([(a.name, a.type.name) for a in statement.get_attributes()], [p.name for p in statement.get_parameters()])
    for n in (5, 5, 6):
        say([tuple(row) for row in await statement.fetch(n)], statement.get_statusmsg())

    async with c.transaction():
        cursor = await c.cursor("SELECT * FROM item ORDER BY id")
        say([tuple(row) for row in await cursor.fetch(2)])
        say(await c.execute("DELETE FROM item WHERE id = 7"))
        say([tuple(row) for row in await cursor.fetch(100)])
        say([tuple(row) async for row in c.cursor("SELECT id FROM item ORDER BY id", prefetch=2)])
    try:
        async with c.transaction():
            say(await c.execute("DELETE FROM item"))
            say(await c.fetchval("SELECT count(*) FROM item"))
            raise ValueError
    except ValueError:
        say(await c.fetchval("SELECT count(*) FROM item"))
    async with c.transaction(isolation="serializable"):
        say(await c.execute("DELETE FROM item WHERE id = 8"))

    say(await c.copy_records_to_table("item", records=[(200, "copied", None), (201, "copied", None)]))
    out = io.BytesIO()
    say(await c.copy_from_table("item", output=out, format="csv"), sorted(out.getvalue().splitlines()))
    out = io.BytesIO()
    say(await c.copy_from_query("SELECT * FROM item WHERE id < $1 ORDER BY id", 10, output=out), out.getvalue())
    say(await c.executemany("DELETE FROM item WHERE id = $1", [(200,), (201,), (999,)]))
    say(await c.execute("DELETE FROM part; DELETE FROM item WHERE id = 9; SELECT 1"))
    await attempt(c, "SELECT * FROM item ORDER BY id")

    heard = asyncio.Queue()
    await c.add_listener("channel", lambda *notification: heard.put_nowait(notification[2:]))
    await c.execute("NOTIFY channel, 'payload'")
    say(await asyncio.wait_for(heard.get(), 5))
    try:
        await c.execute("SELECT pg_sleep(10)", timeout=0.2)
    except asyncio.TimeoutError:
        say("timed out", await c.fetchval("SELECT 1"))
    await c.reset()
    say(await c.fetch("SELECT count(*) FROM item"))
    await c.close()


asyncio.run(main())
