// What applications do with knex, Objection, Sequelize and TypeORM, printed in sections that start with "== ".
'use strict';
const path = require('path');
const from = (name) => require(require.resolve(name, { paths: [process.env.NODE_MODULES] }));
const port = Number(process.env.PGPORT);
const connection = { host: '127.0.0.1', port, user: 'postgres', database: 'orms' };

function print(value) {
  console.log(JSON.stringify(value, (key, v) => (typeof v === 'bigint' ? String(v) : v)));
}

async function section(name, step) {
  console.log(`== ${name}`);
  try {
    const result = await step();
    if (result !== undefined) print(result);
  } catch (error) {
    const of = error.original || error.driverError || error;
    print([error.name, of.message, of.code, of.detail, of.hint, of.position, of.schema, of.table, of.column, of.constraint]);
  }
}

async function withKnex() {
  const knex = from('knex')({ client: 'pg', connection });
  const migrations = [
    ['1', (k) => k.schema.createTable('people', (t) => { t.increments(); t.string('email').unique().notNullable(); t.jsonb('data').defaultTo('{}'); t.timestamps(false, false); })
      .createTable('pets', (t) => { t.increments(); t.integer('owner').references('id').inTable('people').onDelete('CASCADE'); t.string('name'); t.unique(['owner', 'name']); }),
    (k) => k.schema.dropTable('pets').dropTable('people')],
    ['2', (k) => k.schema.alterTable('pets', (t) => { t.integer('age').defaultTo(1).index(); t.renameColumn('name', 'title'); }).alterTable('pets', (t) => { t.text('title').alter(); }),
      (k) => k.schema.alterTable('pets', (t) => { t.dropColumn('age'); t.renameColumn('title', 'name'); })],
  ];
  const migrationSource = {
    getMigrations: async () => migrations,
    getMigrationName: ([name]) => name,
    getMigration: async ([, up, down]) => ({ up, down }),
  };
  await section('knex migrate', async () => (await knex.migrate.latest({ migrationSource }))[1]);
  await section('knex insert', () => knex('people').insert([{ email: 'a@x' }, { email: 'b@x' }, { email: 'c@x' }]).returning('*'));
  await section('knex children', () => knex('pets').insert([{ owner: 1, title: 'p' }, { owner: 2, title: 'q' }, { owner: 3, title: 'r' }], '*'));
  await section('knex delete', () => knex('people').where('email', 'b@x').del());
  await section('knex delete returning', () => knex('people').where({ id: 3 }).del(['id', 'email']));
  await section('knex again', () => knex('people').insert({ id: 2, email: 'b@x' }).onConflict('email').merge().returning('*'));
  await section('knex left join', () => knex('people').leftJoin('pets', 'pets.owner', 'people.id').select('people.*', 'pets.title').orderBy('people.id'));
  await section('knex columns', () => knex('pets').columnInfo());
  await section('knex has', async () => [await knex.schema.hasTable('pets'), await knex.schema.hasColumn('pets', 'deleted_at'), await knex.schema.hasColumn('pets', 'age')]);
  await section('knex transaction', () => knex.transaction(async (t) => { await t('people').del(); throw new Error('no'); }));
  await section('knex savepoint', () => knex.transaction(async (t) => {
    await t.transaction(async (s) => { await s('pets').del(); throw new Error('inner'); }).catch(() => {});
    return t('pets').count('* as n');
  }));
  await section('knex duplicate', () => knex('people').insert({ email: 'a@x' }));
  await section('knex hidden', () => knex('people').select('deletion_id'));
  await section('knex truncate', async () => { await knex('pets').truncate(); return knex('pets').insert({ owner: 1, title: 'z' }, ['id']); });
  await section('knex rollback', async () => (await knex.migrate.rollback({ migrationSource }, true))[1].length);
  await knex.destroy();
}

async function withObjection() {
  const knex = from('knex')({ client: 'pg', connection });
  const { Model } = from('objection');
  class Person extends Model {
    static get tableName() { return 'o_people'; }
    static get relationMappings() {
      return {
        parent: { relation: Model.BelongsToOneRelation, modelClass: Person, join: { from: 'o_people.parent_id', to: 'o_people.id' } },
        children: { relation: Model.HasManyRelation, modelClass: Person, join: { from: 'o_people.id', to: 'o_people.parent_id' } },
        films: { relation: Model.ManyToManyRelation, modelClass: Film, join: { from: 'o_people.id', through: { from: 'o_roles.person_id', to: 'o_roles.film_id' }, to: 'o_films.id' } },
      };
    }
  }
  class Film extends Model {
    static get tableName() { return 'o_films'; }
  }
  Model.knex(knex);
  await section('objection schema', async () => {
    await knex.schema.createTable('o_people', (t) => { t.increments(); t.string('name'); t.integer('parent_id').references('o_people.id').onDelete('SET NULL'); });
    await knex.schema.createTable('o_films', (t) => { t.increments(); t.string('title'); });
    await knex.schema.createTable('o_roles', (t) => { t.integer('person_id').references('o_people.id').onDelete('CASCADE'); t.integer('film_id').references('o_films.id').onDelete('CASCADE'); t.primary(['person_id', 'film_id']); });
  });
  await section('objection graph', () => Person.query().insertGraph({ name: 'A', children: [{ name: 'B', films: [{ title: 'one' }, { title: 'two' }] }, { name: 'C' }] }));
  await section('objection delete a film', () => Film.query().delete().where('title', 'one'));
  await section('objection eager', () => Person.query().withGraphFetched('[parent, children.films]').orderBy('id'));
  await section('objection joined', () => Person.query().withGraphJoined('[parent, films]').orderBy('o_people.id'));
  await section('objection delete parent', () => Person.query().deleteById(1));
  await section('objection unrelate', async () => (await Person.query().findById(2)).$relatedQuery('films').unrelate());
  await section('objection upsert graph', () => Person.query().upsertGraph({ id: 2, name: 'B2', films: [{ title: 'three' }] }, { relate: true }));
  await section('objection all', () => Person.query().withGraphFetched('films').orderBy('id'));
  await knex.destroy();
}

async function withSequelize() {
  const { Sequelize, DataTypes, Op } = from('sequelize');
  const db = new Sequelize({ dialect: 'postgres', dialectModule: from('pg'), logging: false, ...connection, username: 'postgres' });
  const define = (more) => {
    const User = db.define('User', { email: { type: DataTypes.STRING, unique: true }, role: DataTypes.ENUM('admin', 'user'), ...more }, { timestamps: false });
    const Post = db.define('Post', { title: DataTypes.STRING, tags: DataTypes.ARRAY(DataTypes.STRING) }, { timestamps: false, indexes: [{ fields: ['title'] }] });
    User.hasMany(Post, { onDelete: 'CASCADE', hooks: true });
    Post.belongsTo(User);
    const Tag = db.define('Tag', { name: { type: DataTypes.STRING, primaryKey: true } }, { timestamps: false });
    Post.belongsToMany(Tag, { through: 'PostTag', timestamps: false });
    Tag.belongsToMany(Post, { through: 'PostTag', timestamps: false });
    return { User, Post, Tag };
  };
  const { User, Post, Tag } = define({});
  await section('sequelize sync', async () => { await db.sync({ force: true }); });
  await section('sequelize create', async () => {
    const user = await User.create({ email: 'a@x', role: 'admin', Posts: [{ title: 'p', tags: ['x'], Tags: [{ name: 't' }] }] }, { include: [{ model: Post, include: [Tag] }] });
    await User.bulkCreate([{ email: 'b@x' }, { email: 'c@x' }], { returning: true });
    await Post.create({ title: 'q', UserId: 2 });
    return user;
  });
  await section('sequelize destroy', () => User.destroy({ where: { email: { [Op.in]: ['b@x', 'nobody'] } } }));
  await section('sequelize find all', () => User.findAll({ include: [{ model: Post, include: [Tag] }], order: ['id'] }));
  await section('sequelize count', () => User.findAndCountAll({ include: [Post], limit: 1, distinct: true, order: ['id'] }));
  await section('sequelize upsert', () => User.upsert({ email: 'b@x', role: 'user' }, { conflictFields: ['email'] }));
  await section('sequelize find or create', () => User.findOrCreate({ where: { email: 'd@x' } }));
  await section('sequelize alter', async () => { define({ nick: { type: DataTypes.STRING, defaultValue: 'n' } }); await db.sync({ alter: true }); });
  await section('sequelize describe', () => db.getQueryInterface().describeTable('Users'));
  await section('sequelize tables', async () => (await db.getQueryInterface().showAllTables()).map((t) => t.tableName || t).sort());
  await section('sequelize indexes', async () => (await db.getQueryInterface().showIndex('Users')).map((i) => [i.name, i.unique, i.fields.map((f) => f.attribute)]));
  await section('sequelize keys', async () => (await db.getQueryInterface().getForeignKeyReferencesForTable('Posts')).map((k) => [k.constraintName, k.columnName, k.referencedTableName]));
  await section('sequelize column', () => db.getQueryInterface().changeColumn('Users', 'role', { type: DataTypes.ENUM('admin', 'user', 'guest') }));
  await section('sequelize unmanaged', () => db.transaction(async (t) => {
    const user = await User.findOne({ where: { email: 'a@x' }, lock: t.LOCK.UPDATE, transaction: t });
    await user.destroy({ transaction: t });
    return [await User.count({ transaction: t }), await Post.count({ transaction: t })];
  }));
  await section('sequelize truncate', () => Post.destroy({ truncate: true, cascade: true, restartIdentity: true }));
  await section('sequelize drop', async () => { await db.drop({ cascade: true }); });
  await db.close();
}

async function withTypeorm() {
  from('reflect-metadata');
  const { DataSource, EntitySchema, Table, TableColumn, TableForeignKey } = from('typeorm');
  const entities = (more) => [
    new EntitySchema({ name: 'Author', tableName: 'author', columns: { id: { type: Number, primary: true, generated: true }, name: { type: String, unique: true }, ...more },
      relations: { books: { type: 'one-to-many', target: 'Book', inverseSide: 'author', cascade: true } } }),
    new EntitySchema({ name: 'Book', tableName: 'book', columns: { id: { type: 'uuid', primary: true, generated: 'uuid', default: undefined }, title: { type: String }, price: { type: 'numeric', precision: 8, scale: 2, nullable: true } },
      relations: { author: { type: 'many-to-one', target: 'Author', inverseSide: 'books', onDelete: 'CASCADE', joinColumn: true } } }),
  ];
  const open = (more) => new DataSource({ type: 'postgres', ...connection, username: 'postgres', uuidExtension: 'pgcrypto', installExtensions: false, entities: entities(more), driver: from('pg') }).initialize();
  let db;
  await section('typeorm synchronize', async () => { db = await open({}); await db.synchronize(); });
  await section('typeorm save', async () => {
    const saved = await db.getRepository('Author').save([{ name: 'A', books: [{ title: 'one' }, { title: 'two', price: '2.50' }] }, { name: 'B', books: [{ title: 'three' }] }]);
    return saved.map((a) => [a.id, a.name, a.books.length]);
  });
  await section('typeorm delete', () => db.getRepository('Author').delete({ name: 'B' }));
  await section('typeorm find', async () => (await db.getRepository('Author').find({ relations: { books: true }, order: { id: 'ASC', books: { title: 'ASC' } } })).map((a) => [a.id, a.name, a.books.map((b) => [b.title, b.price])]));
  await section('typeorm builder', () => db.createQueryBuilder('Book', 'b').leftJoin('b.author', 'a').select('b.title', 't').addSelect('a.name', 'n').orderBy('b.title').getRawMany());
  await section('typeorm remove', async () => { const [a] = await db.getRepository('Author').find(); await db.getRepository('Author').remove(a); return [await db.getRepository('Author').count(), await db.getRepository('Book').count()]; });
  await section('typeorm upsert', () => db.getRepository('Author').upsert([{ name: 'A' }, { name: 'B' }], ['name']).then((r) => r.identifiers));
  await section('typeorm sync again', async () => { await db.destroy(); db = await open({ nick: { type: String, nullable: true, length: 20 } }); return (await db.driver.createSchemaBuilder().log()).upQueries.map((q) => q.query); });
  await section('typeorm alter', async () => { await db.synchronize(); return (await db.driver.createSchemaBuilder().log()).upQueries.map((q) => q.query); });
  await section('typeorm runner', async () => {
    const runner = db.createQueryRunner();
    const table = await runner.getTable('book');
    await runner.addColumn('book', new TableColumn({ name: 'pages', type: 'int', default: 0 }));
    await runner.changeColumn('book', 'title', new TableColumn({ name: 'name', type: 'varchar', isNullable: true }));
    await runner.dropColumn('book', 'price');
    await runner.createTable(new Table({ name: 'shelf', columns: [{ name: 'id', type: 'serial', isPrimary: true }, { name: 'author_id', type: 'int' }] }));
    await runner.createForeignKey('shelf', new TableForeignKey({ name: 'shelf_author', columnNames: ['author_id'], referencedTableName: 'author', referencedColumnNames: ['id'], onDelete: 'SET NULL' }));
    const after = await runner.getTable('shelf');
    await runner.release();
    return [table, after].map((t) => [t.columns.map((c) => [c.name, c.type, c.isNullable, c.default, c.isPrimary]), t.foreignKeys.map((k) => [k.columnNames, k.referencedTableName, k.onDelete]), t.indices.map((i) => i.columnNames), t.uniques.map((u) => u.columnNames)]);
  });
  await section('typeorm clear', async () => { await db.getRepository('Author').delete({}).catch((e) => print(e.message)); await db.dropDatabase(); return db.query("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"); });
  await db.destroy();
}

(async () => {
  for (const run of [withKnex, withObjection, withSequelize, withTypeorm]) {
    try {
      await run();
    } catch (error) {
      console.log(`== ${run.name} ends`);
      print(error.message);
    }
  }
  process.exit(0);
})();
