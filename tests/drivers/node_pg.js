// What an application does with node-postgres, written down line by line.
'use strict'

const { createRequire } = require('node:module')
const path = require('node:path')
const { pipeline } = require('node:stream/promises')
const { Readable, Writable } = require('node:stream')

const load = createRequire(path.join(process.env.NODE_DRIVERS, 'package.json'))
const { Client } = load('pg')
const Cursor = load('pg-cursor')
const copy = load('pg-copy-streams')

const say = (...values) => console.log(values.map((value) => JSON.stringify(value)).join(' '))

async function attempt (client, text, values) {
  try {
    const results = await client.query(text, values)
    for (const result of [].concat(results)) {
      const fields = result.fields.map((f) => [f.name, f.dataTypeID < 16384 ? f.dataTypeID : 'user', f.dataTypeModifier, f.format, f.columnID])
      say(text.text || text, result.command, result.rowCount, fields, result.rows)
    }
  } catch (error) {
    const { code, message, detail, hint, position, table, constraint, severity } = error
    say(text.text || text, { code, message, detail, hint, position, table, constraint, severity })
  }
}

async function main () {
  const client = new Client({ connectionString: process.env.DSN })
  await client.connect()
  const on = (text, values) => attempt(client, text, values)
  await on('SELECT * FROM item ORDER BY id')
  await on('INSERT INTO item VALUES ($1, $2, $3) RETURNING *', [100, 'new', null])
  await on('DELETE FROM item WHERE id = 1')
  await on('DELETE FROM item WHERE id = $1', [2])
  await on('DELETE FROM item WHERE id = $1', [2])
  await on('DELETE FROM item WHERE id = ANY($1) RETURNING *', [[3, 4]])
  await on('SELECT i.*, p.what FROM item i LEFT JOIN part p ON p.item_id = i.id ORDER BY i.id, p.id')
  await on('SELECT nope FROM item')
  await on('INSERT INTO part VALUES (900, 1, $1)', ['orphan'])
  await on('DELETE FROM part WHERE id = 3; SELECT count(*) FROM part; DELETE FROM part WHERE id = 3')
  for (const id of [5, 5, 6]) {
    await on({ name: 'named', text: 'DELETE FROM part WHERE item_id = $1 RETURNING *', values: [id] })
  }
  await on({ text: 'SELECT id, name, price FROM item ORDER BY id', rowMode: 'array' })

  // Queries handed over at once wait in the driver's queue.
  await Promise.all([on('DELETE FROM item WHERE id = 5'), on('SELECT 1/0'), on('SELECT id FROM item ORDER BY id')])

  await on('BEGIN')
  const cursor = client.query(new Cursor('SELECT * FROM item ORDER BY id'))
  say('cursor', await cursor.read(2), await cursor.read(1))
  await cursor.close()
  await on('DELETE FROM item')
  await on('SELECT count(*) FROM item')
  await on('ROLLBACK')
  await on('BEGIN; DELETE FROM item WHERE id = 7; COMMIT')
  await on('SELECT id FROM item ORDER BY id')

  await pipeline(Readable.from(['200\tcopied\t\\N\n', '201\tcopied', '\t1.5\n']), client.query(copy.from('COPY item FROM STDIN')))
  const chunks = []
  const sink = new Writable({ write (chunk, _, done) { chunks.push(chunk); done() } })
  await pipeline(client.query(copy.to('COPY item TO STDOUT (FORMAT csv, HEADER)')), sink)
  say('copy out', Buffer.concat(chunks).toString().split('\n').sort())
  await on('DELETE FROM item WHERE id >= $1', [200])

  const notified = new Promise((resolve) => client.once('notification', ({ channel, payload }) => resolve({ channel, payload })))
  await on('LISTEN channel')
  await on("NOTIFY channel, 'payload'")
  say(await notified)
  await on('DELETE FROM item')
  await on('TABLE item')
  await on('TABLE part')
  await client.end()
}

main().catch((error) => { console.error(error); process.exit(1) })
