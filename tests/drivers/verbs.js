// Every verb of the admin port with node-postgres: both protocols, each in a transaction that is rolled back.
'use strict'

const { createRequire } = require('node:module')
const fs = require('node:fs')
const path = require('node:path')

const load = createRequire(path.join(process.env.NODE_DRIVERS, 'package.json'))
const { Client } = load('pg')

const STATE = `SELECT (SELECT string_agg(i::text, ';' ORDER BY id) FROM item i), (SELECT string_agg(p::text, ';' ORDER BY id) FROM part p),
  (SELECT count(*) FROM reprieve.graveyard) AS a, (SELECT count(*) FROM reprieve.holds) AS b, (SELECT count(*) FROM reprieve.receipts) AS c,
  (SELECT count(*) FROM reprieve.retention) AS d, (SELECT count(*) FROM reprieve.monitor_limits) AS e, (SELECT count(*) FROM reprieve.acts) AS f,
  (SELECT string_agg(t.relid || t.mode, ';' ORDER BY t.relid) FROM reprieve.tables t) AS g, (SELECT count(*) FROM reprieve.rehearsals) AS h`

async function main () {
  const client = new Client({ connectionString: process.env.DSN })
  await client.connect()
  const state = async () => JSON.stringify((await client.query(STATE)).rows)
  const [known] = (await client.query(
    "SELECT id, xid::text, (statement_at - interval '1 minute')::text AS time FROM reprieve.deletions ORDER BY id DESC LIMIT 1")).rows
  const before = await state()
  const lines = fs.readFileSync(process.env.VERBS, 'utf8').split('\n').filter((line) => line.trim() && !line.startsWith('#'))
  let number = 0
  for (const written of lines) {
    const line = written.trim().replaceAll('{deletion}', known.id).replaceAll('{transaction}', known.xid).replaceAll('{time}', known.time)
    const told = []
    for (const extended of [false, true]) {
      await client.query('BEGIN')
      for (const verb of line.split('; ')) {
        // A name makes it Parse, Bind, Describe, Execute; without one it is a Query message.
        const result = await client.query(extended ? { name: `verb ${number++}`, text: verb } : verb)
        told.push([result.fields.map((field) => field.name), result.rows.length])
      }
      await client.query('ROLLBACK')
    }
    const half = told.length / 2
    const same = JSON.stringify(told.slice(0, half)) === JSON.stringify(told.slice(half)) || ['SHOW CLIENTS', 'SHOW ROWS'].includes(line)
    console.log(same && (await state()) === before ? 'ok' : 'FAILED', line, JSON.stringify(told))
  }
  await client.end()
}

main().catch((error) => { console.error(error); process.exit(1) })
