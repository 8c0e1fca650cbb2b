//! Whatever left a table comes back as it was, bit for bit.

mod support;
mod undelete_support;

use std::fmt::Write;

use undelete_support::{assert_sound, content, database, delete, last, mark, undelete};

const TYPES: &str = r#"
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TYPE comp AS (a int, b text);
    CREATE TYPE frange AS RANGE (subtype = float8);
    CREATE DOMAIN posint AS int CHECK (value > 0);
    CREATE DOMAIN djson AS json;
    CREATE DOMAIN dname AS name;
    CREATE TABLE ty (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, c char(5), vc varchar(3), by bytea, ia int[], ta text[], ca char(3)[],
        j json, jb jsonb, r int4range, tr tstzrange, fr frange, mr int4multirange, co comp, coa comp[], f4 float4, f8 float8,
        ts timestamptz, d date, n numeric, n2 numeric(10,2), t text, e mood, dom posint, dj djson, iv interval, m money, u uuid,
        i inet, b bit(5), vb varbit(9), x xml, nm name, ch "char", rc regclass, dn dname, tm timetz, o oid, ln line, tsv tsvector,
        "od d""'%" text, g int GENERATED ALWAYS AS (coalesce(n2, 0)::int * 2) STORED, bo boolean);
    INSERT INTO ty (c, vc, by, ia, ta, ca, j, jb, r, tr, fr, mr, co, coa, f4, f8, ts, d, n, n2, t, e, dom, dj, iv, m, u, i, b, vb, x, nm,
                    ch, rc, dn, tm, o, ln, tsv, "od d""'%", bo) VALUES
    ('ab', 'abc', '\x00ff5c22', '[2:4][-1:0]={{1,2},{3,NULL},{5,6}}', '{"a\"b","c\\d",NULL,"NULL",""," {x,y} "}', '{a,"b  "}',
     ' {"a" : [1, 2], "a":"\u0000x"} ', '{"x":"é\\n"}', '[1,5)', '[-infinity,"2020-01-01 00:00:00+00")', '[0.1,1e308]', '{[1,2),[5,9)}',
     '(1,"a ""q"" \\ ,")', ARRAY[ROW(NULL, NULL)::comp, ROW(1, '')::comp], '3.4028235e38', '5e-324', 'infinity', '-infinity', 'NaN', -1.10,
     E'back\\slash "quote" ''q''\n\t\r {,} \\x41', 'ok', 7, '{"k":1}', '1 year -2 mons +3 days -04:05:06.789', '$1,234.56',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1/64', '10101', '1', '<a>é</a>', 'some_name', 'x', 'pg_class', 'a_name',
     '12:00:00.123+05:30', 4294967295, '{1,2,3}', 'a:1A fat:2B', 'odd', true),
    (NULL, '', '', '{}', '{}', '{}', 'null', 'null', 'empty', 'empty', 'empty', '{}', ROW(NULL, NULL), '{}', '-0', 'NaN', '-infinity',
     'infinity', 'infinity', NULL, '', 'sad', 1, NULL, '-1 day', NULL, NULL, NULL, '00000', '', NULL, '', '', NULL, NULL, NULL, 0, NULL,
     '', '', false),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-infinity', '-0', '0001-01-01 00:00:00 BC',
     '4714-11-24 BC', '1e-100', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1234567::regclass,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"#;

/// Settings under which values print differently: neither burying nor restoring may depend on them.
const STRANGE: &str = "SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'iso_8601'; SET bytea_output = 'escape'; SET extra_float_digits = -3;
    SET TimeZone = 'Asia/Kolkata'; SET xmloption = 'document'; SET search_path = pg_temp, public; SET quote_all_identifiers = on;";
const PLAIN: &str = "RESET ALL";

async fn image(database: &support::Database) -> Vec<String> {
    let mut image = database.rows("SELECT t::text FROM ty t ORDER BY id").await;
    // Binary too: text hides the sign of zero in some types, and what two texts have in common.
    image.extend(
        database
            .rows("SELECT concat_ws(' ', encode(record_send(ROW(c, vc, ta, ca, j::text, f4, f8, co, coa, \"od d\"\"'%\")), 'hex')) FROM ty ORDER BY id")
            .await,
    );
    image
}

#[tokio::test]
async fn every_type_survives_delete_and_truncate() {
    let db = database("types", TYPES, &[("ty", "bin")]).await;
    let before = image(&db).await;
    for statement in ["DELETE FROM ty", "TRUNCATE ty"] {
        db.run(&format!("{STRANGE} {statement}; {PLAIN}")).await;
        assert_eq!(db.rows("SELECT count(*) FROM ty").await, ["0"]);
        let deletion = last(&db).await;
        db.run(STRANGE).await;
        let shown = db
            .rows("SELECT count(\"row\") FILTER (WHERE (\"row\").dom = 7) FROM reprieve.buried_v1(NULL::ty)")
            .await;
        let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
        db.run(PLAIN).await;
        assert_eq!(shown, ["1"]);
        assert_eq!(
            lines,
            ["public.ty|3|0|0|COMPLETE", "(all)|3|0|0|COMPLETE"],
            "{statement}"
        );
        assert_eq!(image(&db).await, before, "{statement}");
    }
    db.run("INSERT INTO ty DEFAULT VALUES").await;
    assert_eq!(
        db.rows("SELECT max(id), max(g) FILTER (WHERE n2 IS NOT NULL) FROM ty")
            .await,
        ["4|-2"]
    );
    assert_sound(&db).await;
}

/// What is set while a row is copied depends on the types of its table: each alone.
#[tokio::test]
async fn each_type_alone_survives() {
    let values = [
        ("path", "[(0.1,1e-300),(2,3)]"),
        ("polygon", "((0.1,0),(1,1e-300),(0,1))"),
        ("circle", "<(0.1,1e-300),3>"),
        ("line", "{1,0.1,1e-300}"),
        ("point", "(0.1,1e-300)"),
        ("float8", "0.1"),
        ("regclass", "app.thing"),
        ("regtype", "app.kind"),
        ("regprocedure", "app.f(app.kind)"),
        ("regnamespace", "app"),
        ("regclass[]", "{app.thing}"),
        ("interval", "1 year -04:05:06.789"),
        ("bytea", "\\x00ff5c"),
        ("timestamptz", "2020-02-03 04:05:06.789+00"),
        ("timestamp", "2020-02-03 04:05:06.789"),
        ("date", "2020-02-03"),
        ("timetz", "12:00:00.123+05:30"),
        ("money", "$1,234.56"),
        ("inet", "::1/64"),
        ("xml", "<a>x</a>"),
        ("tsvector", "a:1A fat:2B"),
        ("bit varying", "10101"),
    ];
    let mut schema = String::from(
        "CREATE SCHEMA app; CREATE TYPE app.kind AS ENUM ('x'); CREATE TABLE app.thing (); CREATE SCHEMA other; CREATE TABLE other.thing ();
         CREATE FUNCTION app.f(app.kind) RETURNS int LANGUAGE sql AS 'SELECT 1';",
    );
    let names: Vec<String> = (0..values.len()).map(|n| format!("alone_{n}")).collect();
    for (name, (kind, value)) in names.iter().zip(values) {
        writeln!(
            schema,
            "CREATE TABLE {name} (id int PRIMARY KEY, v {kind}); INSERT INTO {name} VALUES (1, '{value}');"
        )
        .unwrap();
    }
    let enabled: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "bin")).collect();
    let db = database("alone", &schema, &enabled).await;
    for (name, (kind, _)) in names.iter().zip(values) {
        let before = db.rows(&format!("SELECT * FROM {name}")).await;
        let strange = STRANGE.replace("pg_temp, public", "app, public");
        db.run(&format!("{strange} DELETE FROM {name}; {PLAIN}"))
            .await;
        let deletion = last(&db).await;
        db.run("SET search_path = other, public").await;
        undelete(&db, &format!("deletion_v1({deletion})")).await;
        db.run(PLAIN).await;
        assert_eq!(
            db.rows(&format!("SELECT * FROM {name}")).await,
            before,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn every_type_survives_as_a_tombstone_that_had_to_move() {
    let db = database("moved", TYPES, &[("ty", "mark")]).await;
    let before = content(&db, &["ty"]).await;
    let deletion = delete(&db, "ty", "true").await;
    db.run("SELECT reprieve.disable_v1('ty')").await;
    let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert_eq!(lines, ["public.ty|3|0|0|COMPLETE", "(all)|3|0|0|COMPLETE"]);
    assert_eq!(content(&db, &["ty"]).await, before);
}

#[tokio::test]
async fn casts_from_text_that_somebody_made_do_not_interfere() {
    let schema = "CREATE TYPE pair AS (a int, b int);
        CREATE FUNCTION pair(text) RETURNS pair LANGUAGE sql IMMUTABLE AS $$ SELECT ROW(0, 0)::pair $$;
        CREATE TABLE t(id int PRIMARY KEY, x xml, c regclass); INSERT INTO t VALUES (1, '<a/>', 'pg_class'), (2, 'text', 987654::regclass);";
    let db = database("casts", schema, &[("t", "bin")]).await;
    let before = content(&db, &["t"]).await;
    db.run("DELETE FROM t").await;
    let deletion = last(&db).await;
    undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert_eq!(content(&db, &["t"]).await, before);
}

#[tokio::test]
async fn self_references_cycles_and_deferred_keys() {
    let schema = "CREATE TABLE x(id int PRIMARY KEY, y int);
        CREATE TABLE y(id int PRIMARY KEY, x int NOT NULL REFERENCES x ON DELETE CASCADE, self int REFERENCES y ON DELETE CASCADE);
        ALTER TABLE x ADD FOREIGN KEY (y) REFERENCES y ON DELETE CASCADE;
        CREATE TABLE d(id int PRIMARY KEY, up int REFERENCES d ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO x VALUES (1, NULL), (2, NULL); INSERT INTO y VALUES (1, 1, NULL), (2, 2, 1), (3, 1, 3); UPDATE x SET y = id;
        INSERT INTO d VALUES (1, 3), (2, 1), (3, 2);";
    for mode in ["bin", "mark"] {
        let db = database(
            &format!("cycles_{mode}"),
            schema,
            &[("x", mode), ("y", mode), ("d", mode)],
        )
        .await;
        let before = content(&db, &["x", "y", "d"]).await;
        for table in ["x", "d"] {
            match mode {
                "bin" => db.run(&format!("DELETE FROM {table} WHERE id = 1")).await,
                _ => db.run(&mark(table, "id = 1")).await,
            }
            let gone = content(&db, &[table]).await;
            assert_eq!(gone, Vec::<String>::new(), "{mode} {table}");
            let deletion = last(&db).await;
            let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
            assert!(lines.last().unwrap().ends_with("|COMPLETE"), "{lines:?}");
            assert_eq!(
                content(&db, &["x", "y", "d"]).await,
                before,
                "{mode} {table}"
            );
        }
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn partitions_come_back_through_their_root() {
    let schema =
        "CREATE TABLE t(id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
        CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);
        INSERT INTO t SELECT i, i, 'v' || i FROM generate_series(1, 19) i;";
    let db = database("partitions", schema, &[("t", "bin")]).await;
    let before = db
        .rows("SELECT tableoid::regclass, * FROM t ORDER BY id")
        .await;
    for statement in [
        "DELETE FROM t WHERE id % 2 = 0",
        "DELETE FROM t1",
        "TRUNCATE t2",
        "TRUNCATE t",
    ] {
        db.run(statement).await;
        let deletion = last(&db).await;
        let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
        assert!(
            lines.last().unwrap().ends_with("|COMPLETE"),
            "{statement}: {lines:?}"
        );
        assert_eq!(
            db.rows("SELECT tableoid::regclass, * FROM t ORDER BY id")
                .await,
            before,
            "{statement}"
        );
    }
    db.run("DELETE FROM t WHERE k IN (5, 15)").await;
    undelete(&db, "where_v1('t', 'k = 15')").await;
    assert_eq!(db.rows("SELECT k FROM t WHERE k IN (5, 15)").await, ["15"]);
    assert_sound(&db).await;
}

/// A small generator: the test must be the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Deletes at random, in marked tables and others, by key and by cascade, and key reuse in between; then
/// everything is undone: what was there before must be there again, whatever the order.
#[tokio::test]
async fn whatever_was_deleted_comes_back() {
    let schema = "
        CREATE TABLE a(id int PRIMARY KEY, v text UNIQUE);
        CREATE TABLE b(id int PRIMARY KEY, a_id int REFERENCES a ON DELETE CASCADE, v text);
        CREATE TABLE c(id int PRIMARY KEY, a_id int REFERENCES a ON DELETE SET NULL, b_id int REFERENCES b ON DELETE CASCADE, v text);
        CREATE TABLE e(id int PRIMARY KEY, up int REFERENCES e ON DELETE CASCADE, c_id int REFERENCES c ON DELETE CASCADE);
        INSERT INTO a SELECT i, 'a' || i FROM generate_series(1, 20) i;
        INSERT INTO b SELECT i, 1 + i % 20, 'b' || i FROM generate_series(1, 60) i;
        INSERT INTO c SELECT i, 1 + i % 20, 1 + i * 7 % 60, 'c' || i FROM generate_series(1, 120) i;
        INSERT INTO e SELECT i, nullif(i / 2, 0), 1 + i * 11 % 120 FROM generate_series(1, 200) i;";
    let tables = ["a", "b", "c", "e"];
    let db = database(
        "property",
        schema,
        &[("a", "mark"), ("b", "mark"), ("c", "mark"), ("e", "bin")],
    )
    .await;
    let before = content(&db, &tables).await;
    let mut dice = Dice(42);
    for round in 0..12 {
        let mut done = String::new();
        for _ in 0..=dice.roll(5) {
            let table = tables[usize::try_from(dice.roll(4)).unwrap()];
            let condition = format!("id % {} = {}", 7 + dice.roll(9), dice.roll(7));
            let statement = match table {
                "e" => format!("DELETE FROM e WHERE {condition}"),
                _ => mark(table, &condition),
            };
            write!(done, "{table} {condition}; ").unwrap();
            db.run(&statement).await;
            if dice.roll(3) == 0 {
                // Reuses keys for a moment: tombstones have to move.
                db.run(&format!(
                    "BEGIN; INSERT INTO a(id, v) SELECT i, 'again' || i FROM generate_series(1, 20) i ON CONFLICT DO NOTHING; {}; COMMIT",
                    mark("a", "v LIKE 'again%'")
                ))
                .await;
                db.run("DELETE FROM reprieve.graveyard WHERE table_name = 'a' AND data[2] LIKE 'again%'; DELETE FROM a WHERE v LIKE 'again%' AND deleted_at IS NOT NULL;
                        DELETE FROM reprieve.graveyard WHERE table_name = 'a' AND data[2] LIKE 'again%';
                        DELETE FROM reprieve.deletions d WHERE statement LIKE '%again%'")
                    .await;
            }
        }
        assert_sound(&db).await;
        let lines = if round % 2 == 0 {
            undelete(&db, "since_v1('-infinity')").await
        } else {
            let ids = db.rows("SELECT id FROM reprieve.deletions d WHERE EXISTS (SELECT FROM reprieve.deletion_tables t WHERE t.deletion_id = d.id AND (t.restored < t.rows)) ORDER BY id DESC").await;
            let mut lines = Vec::new();
            for id in ids {
                lines = undelete(&db, &format!("deletion_v1({id})")).await;
            }
            lines
        };
        assert_eq!(
            content(&db, &tables).await,
            before,
            "round {round}: {done} {lines:?}"
        );
        assert_sound(&db).await;
    }
}
