//! Where cascades lead: to tables that nobody enabled, and to tables that nobody may enable.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up must fail"
)]

mod support;
mod undelete_support;

use keeper::{RequestedMode, Severity, TableSettings};
use support::Database;
use undelete_support::{assert_sound, content, database, delete, detail, last, mark, undelete};

const CHAIN: &str = "
    CREATE TABLE p (id int PRIMARY KEY, v text);
    CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
    CREATE TABLE g (id int, c_id int REFERENCES c ON DELETE CASCADE) PARTITION BY RANGE (id);
    CREATE TABLE g1 PARTITION OF g FOR VALUES FROM (0) TO (10);
    CREATE TABLE g2 PARTITION OF g DEFAULT;
    CREATE TABLE alone (id int PRIMARY KEY, p_id int REFERENCES p);
    CREATE INDEX ON c (p_id);
    INSERT INTO p SELECT n, 'p' || n FROM generate_series(1, 3) n;
    INSERT INTO c SELECT n, 1 + n % 3 FROM generate_series(1, 9) n;
    INSERT INTO g SELECT n, 1 + n % 9 FROM generate_series(1, 20) n;";
const CHAINED: [&str; 3] = ["p", "c", "g"];

/// The same deletes where they are deletes.
async fn plain(name: &str, schema: &str, deletes: &str, tables: &[&str]) -> Vec<String> {
    let plain = Database::new(name).await;
    plain.run(schema).await;
    plain.run(deletes).await;
    let mut rows = Vec::new();
    for table in tables {
        rows.extend(
            plain
                .rows(&format!(
                    "SELECT '{table} ' || t::text FROM {table} t ORDER BY 1"
                ))
                .await,
        );
    }
    rows
}

async fn tables(database: &Database) -> Vec<String> {
    database
        .rows("SELECT \"table\", mode, reason FROM reprieve.show_tables")
        .await
}

#[tokio::test]
async fn what_a_cascade_reaches_is_taken_in_and_comes_back() {
    let expected = plain(
        "reach_plain",
        CHAIN,
        "DELETE FROM p WHERE id <= 2",
        &CHAINED,
    )
    .await;
    for mode in ["mark", "bin"] {
        let db = database(&format!("reach_{mode}"), CHAIN, &[("p", mode)]).await;
        let reason = tables(&db).await.remove(4);
        assert!(reason.starts_with(&format!("p|{mode}|")), "{reason}");
        assert!(!reason.contains("NOT kept"), "{reason}");
        assert_eq!(
            tables(&db).await[..4],
            [
                "c|bin|a cascade from public.p reaches it",
                "g|bin|a cascade from public.c reaches it",
                "g1|bin|a cascade from public.c reaches it",
                "g2|bin|a cascade from public.c reaches it"
            ]
        );
        let before = content(&db, &CHAINED).await;
        match mode {
            "mark" => db.run(&mark("p", "id <= 2")).await,
            _ => db.run("DELETE FROM p WHERE id <= 2").await,
        }
        assert_eq!(content(&db, &CHAINED).await, expected, "{mode}");
        let lines = undelete(&db, &format!("deletion_v1({})", last(&db).await)).await;
        assert_eq!(
            lines,
            [
                "public.c|6|0|0|COMPLETE",
                "public.g|13|0|0|COMPLETE",
                "public.p|2|0|0|COMPLETE",
                "(all)|21|0|0|COMPLETE"
            ],
            "{mode}"
        );
        assert_eq!(content(&db, &CHAINED).await, before, "{mode}");
        assert_sound(&db).await;
        // Who took them in lets them go.
        db.run("SELECT reprieve.disable_v1('p')").await;
        assert_eq!(tables(&db).await, Vec::<String>::new(), "{mode}");
        assert_eq!(
            db.rows("SELECT tgname FROM pg_trigger WHERE tgname LIKE '~reprieve%'")
                .await,
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn enable_says_what_it_took_in() {
    let db = Database::new("reach_says").await;
    db.run(CHAIN).await;
    let mut keeper = db.keeper().await;
    keeper.install().await.unwrap();
    let enabled = keeper
        .enable(&["public.p".to_owned()], RequestedMode::Auto, &mut |_| {})
        .await;
    let states = enabled.unwrap().all().unwrap();
    let said: Vec<_> = states
        .iter()
        .map(|s| format!("{} {}: {}", s.table, s.mode, s.reason))
        .collect();
    assert_eq!(
        said,
        [
            "public.c bin: a cascade from public.p reaches it",
            "public.g bin: a cascade from public.c reaches it",
            "public.p mark: marking is exact here"
        ]
    );
    // Asked for by name it gets its own mode, and keeps it when the parent goes.
    let enabled = keeper
        .enable(&["public.c".to_owned()], RequestedMode::Auto, &mut |_| {})
        .await;
    let reason = enabled.unwrap().all().unwrap().remove(0).reason;
    assert!(reason.contains("partitioned"), "{reason}");
    db.run("SELECT reprieve.disable_v1('p')").await;
    assert_eq!(
        db.rows("SELECT table_name FROM reprieve.tables ORDER BY 1")
            .await,
        ["c", "g", "g1", "g2"]
    );
    // A glob enables each by its own right, whatever the order.
    let enabled = keeper
        .enable(&["public.*".to_owned()], RequestedMode::Auto, &mut |_| {})
        .await;
    enabled.unwrap().all().unwrap();
    assert_eq!(
        db.rows("SELECT count(*) FROM reprieve.tables WHERE requested <> 'auto'")
            .await,
        ["0"]
    );
}

#[tokio::test]
async fn a_foreign_key_that_comes_later_takes_in_too() {
    let schema = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int);
        CREATE TABLE g (id int PRIMARY KEY, c_id int REFERENCES c ON DELETE CASCADE); INSERT INTO p VALUES (1), (2);
        INSERT INTO c VALUES (1, 1); INSERT INTO g VALUES (1, 1)";
    let db = database("reach_later", schema, &[("p", "mark")]).await;
    assert_eq!(tables(&db).await.len(), 1);
    db.run("ALTER TABLE c ADD CONSTRAINT fk FOREIGN KEY (p_id) REFERENCES p ON DELETE CASCADE")
        .await;
    db.run("CREATE TABLE d (id int PRIMARY KEY REFERENCES p ON DELETE CASCADE); INSERT INTO d VALUES (1)")
        .await;
    assert_eq!(
        tables(&db).await[..3],
        [
            "c|bin|a cascade from public.p reaches it",
            "d|bin|a cascade from public.p reaches it",
            "g|bin|a cascade from public.c reaches it"
        ]
    );
    let before = content(&db, &["p", "c", "d", "g"]).await;
    let deletion = delete(&db, "p", "id = 1").await;
    let lines = undelete(&db, &format!("deletion_v1({deletion})")).await;
    assert_eq!(lines.last().unwrap(), "(all)|4|0|0|COMPLETE");
    assert_eq!(content(&db, &["p", "c", "d", "g"]).await, before);
    db.run("ALTER TABLE c DROP CONSTRAINT fk").await;
    assert_eq!(
        db.rows("SELECT table_name FROM reprieve.tables ORDER BY 1")
            .await,
        ["d", "p"]
    );
    assert_sound(&db).await;
}

/// SET NULL and SET DEFAULT need nobody's triggers on the child: the parent's remember.
#[tokio::test]
async fn references_of_tables_that_are_not_enabled_are_put_back() {
    let schema = "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 3);
        CREATE TABLE n (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE SET NULL, v text);
        CREATE TABLE d (v text, p_id int DEFAULT 0 REFERENCES p ON DELETE SET DEFAULT);
        INSERT INTO n SELECT i, 1 + i % 3, 'n' || i FROM generate_series(1, 9) i;
        INSERT INTO d SELECT 'd' || i, 1 + i % 3 FROM generate_series(1, 9) i;";
    let expected = plain(
        "relink_plain",
        schema,
        "DELETE FROM p WHERE id IN (1, 2)",
        &["p", "n", "d"],
    )
    .await;
    for mode in ["mark", "bin"] {
        let db = database(&format!("relink_{mode}"), schema, &[("p", mode)]).await;
        assert_eq!(tables(&db).await.len(), 1);
        let before = content(&db, &["p", "n", "d"]).await;
        match mode {
            "mark" => db.run(&mark("p", "id IN (1, 2)")).await,
            _ => db.run("DELETE FROM p WHERE id IN (1, 2)").await,
        }
        assert_eq!(content(&db, &["p", "n", "d"]).await, expected, "{mode}");
        let lines = undelete(&db, &format!("deletion_v1({})", last(&db).await)).await;
        assert_eq!(
            lines,
            [
                "public.d|0|6|0|COMPLETE",
                "public.n|0|6|0|COMPLETE",
                "public.p|2|0|0|COMPLETE",
                "(all)|2|12|0|COMPLETE"
            ],
            "{mode}"
        );
        assert_eq!(content(&db, &["p", "n", "d"]).await, before, "{mode}");
        assert_sound(&db).await;
    }
}

#[tokio::test]
async fn what_may_not_be_taken_in_is_told_counted_and_never_called_complete() {
    let schema = "CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE x (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
        CREATE TABLE xx (id int PRIMARY KEY, x_id int REFERENCES x ON DELETE CASCADE);
        CREATE TABLE y (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p SELECT generate_series(1, 4); INSERT INTO x SELECT n, n FROM generate_series(1, 3) n;
        INSERT INTO xx SELECT n, n FROM generate_series(1, 3) n; INSERT INTO y SELECT n, n FROM generate_series(1, 4) n;";
    let caution = "a cascade takes rows along that are NOT kept: public.x is excluded (tables.exclude), public.xx goes along with public.x";
    for mode in ["mark", "bin"] {
        let db = Database::new(&format!("unkept_{mode}")).await;
        let mut keeper = db.keeper().await;
        keeper.install().await.unwrap();
        db.run(schema).await;
        keeper
            .set_table_settings(&TableSettings {
                exclude: vec!["public.x".to_owned()],
                ..TableSettings::default()
            })
            .await
            .unwrap();
        let judged = db.rows("SELECT reason FROM reprieve.judge_v1('p')").await;
        assert!(judged[0].ends_with(caution), "{judged:?}");
        let requested = if mode == "mark" {
            RequestedMode::Mark
        } else {
            RequestedMode::Bin
        };
        let states = keeper
            .enable(&["public.p".to_owned()], requested, &mut |_| {})
            .await
            .unwrap()
            .all()
            .unwrap();
        assert_eq!(states.len(), 2);
        assert!(states[0].reason.ends_with(caution), "{states:?}");
        assert!(tables(&db).await[0].ends_with(caution));
        let findings = keeper.doctor().await.unwrap();
        let told = findings
            .iter()
            .find(|f| f.severity == Severity::Warning && f.text == caution);
        assert_eq!(told.unwrap().subject, "table public.p");

        // A DBA's word counts as well.
        db.run("SELECT reprieve.disable_v1('y')").await;
        assert!(tables(&db).await[0].ends_with("public.y was disabled"));
        assert_eq!(tables(&db).await.len(), 1);
        db.run("SELECT reprieve.reconcile_v1()").await;
        assert_eq!(tables(&db).await.len(), 1);

        let take = |condition: &str| match mode {
            "mark" => mark("p", condition),
            _ => format!("DELETE FROM p WHERE {condition}"),
        };
        db.run(&take("id <= 2")).await;
        let deletion = last(&db).await;
        assert_eq!(
            db.rows("SELECT table_name, rows, discarded, uncounted FROM reprieve.deletion_tables ORDER BY 1")
                .await,
            ["p|2|0|f", "x|2|2|f", "xx|0|0|t", "y|2|2|f"],
            "{mode}"
        );
        assert_sound(&db).await;
        let call = format!("deletion_v1({deletion})");
        db.run("BEGIN").await;
        assert_eq!(
            undelete(&db, &call).await,
            [
                "public.p|2|0|0|COMPLETE",
                "public.x|0|0|0|INCOMPLETE",
                "public.xx|0|0|0|INCOMPLETE",
                "public.y|0|0|0|INCOMPLETE",
                "(all)|2|0|0|INCOMPLETE"
            ],
            "{mode}"
        );
        db.run("ROLLBACK; BEGIN").await;
        let lines = undelete(&db, "where_v1('p', 'id = 1')").await;
        assert_eq!(lines.last().unwrap(), "(all)|1|0|0|INCOMPLETE", "{mode}");
        db.run("ROLLBACK").await;
        assert_eq!(
            detail(&db, &call).await,
            "public.x: 2 row(s) were not kept; public.xx: nobody counted what the delete did to it, and nothing of that was kept; \
             public.y: 2 row(s) were not kept"
        );
        // Nothing went along.
        db.run("DELETE FROM y WHERE id = 4").await;
        db.run(&take("id = 4")).await;
        let lines = undelete(&db, &format!("deletion_v1({})", last(&db).await)).await;
        assert_eq!(lines.last().unwrap(), "(all)|1|0|0|COMPLETE", "{mode}");
        // Above READ COMMITTED the server's own cascade acts.
        db.run(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; {}; COMMIT",
            take("id = 3")
        ))
        .await;
        let lines = undelete(&db, &format!("deletion_v1({})", last(&db).await)).await;
        assert_eq!(lines.last().unwrap(), "(all)|1|0|0|INCOMPLETE", "{mode}");
        assert_sound(&db).await;
        // Once they are enabled everything is kept.
        db.run("SELECT reprieve.enable_v1('x'); SELECT reprieve.enable_v1('y'); INSERT INTO x VALUES (3, 3); INSERT INTO xx VALUES (3, 3); INSERT INTO y VALUES (3, 3)")
            .await;
        assert!(!tables(&db).await[0].contains("NOT"));
        db.run(&take("id = 3")).await;
        let lines = undelete(&db, &format!("deletion_v1({})", last(&db).await)).await;
        assert_eq!(lines.last().unwrap(), "(all)|4|0|0|COMPLETE", "{mode}");
        assert_sound(&db).await;
    }
}

/// TRUNCATE asks no foreign key what to do.
#[tokio::test]
async fn what_a_truncate_takes_along_is_kept_too() {
    let schema = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE p2 (id int PRIMARY KEY);
        CREATE TABLE n (id int PRIMARY KEY, p_id int REFERENCES p, p2_id int REFERENCES p2);
        CREATE TABLE part (id int, n_id int REFERENCES n) PARTITION BY RANGE (id);
        CREATE TABLE part1 PARTITION OF part DEFAULT; CREATE TABLE x (id int PRIMARY KEY, n_id int REFERENCES n);
        INSERT INTO p VALUES (1), (2); INSERT INTO p2 VALUES (1); INSERT INTO n VALUES (1, 1, 1), (2, 2, NULL);
        INSERT INTO part VALUES (1, 1), (2, 2); INSERT INTO x VALUES (1, 1)";
    let db = database("reach_truncate", schema, &[("p", "mark"), ("p2", "bin")]).await;
    assert_eq!(tables(&db).await.len(), 2);
    let before = content(&db, &["p", "p2", "n", "part", "x"]).await;
    db.run("TRUNCATE p, p2 CASCADE").await;
    assert_eq!(db.rows("SELECT count(*) FROM n").await, ["0"]);
    let lines = undelete(&db, &format!("deletion_v1({})", last(&db).await)).await;
    assert_eq!(lines.last().unwrap(), "(all)|8|0|0|COMPLETE", "{lines:?}");
    assert_eq!(content(&db, &["p", "p2", "n", "part", "x"]).await, before);
    assert_sound(&db).await;
    db.run("INSERT INTO reprieve.settings VALUES ('tables.exclude', 'x') ON CONFLICT (key) DO UPDATE SET value = 'x'; TRUNCATE p CASCADE")
        .await;
    let lines = undelete(&db, &format!("deletion_v1({})", last(&db).await)).await;
    assert_eq!(lines.last().unwrap(), "(all)|6|0|0|INCOMPLETE", "{lines:?}");
    assert_sound(&db).await;
}

/// Tables of a stranger: the keeper can neither read nor enable them, and deletes go on all the same.
#[tokio::test]
async fn where_the_keeper_may_not_look_nobody_counted() {
    let db = Database::new("unkept_stranger").await;
    db.run(
        "CREATE ROLE reach_keeper LOGIN; CREATE ROLE reach_owner; CREATE ROLE reach_stranger;
         GRANT reach_owner TO reach_keeper; GRANT CREATE ON DATABASE unkept_stranger TO reach_keeper;
         CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO reach_owner;
         CREATE TABLE s (p_id int REFERENCES p ON DELETE CASCADE); ALTER TABLE s OWNER TO reach_stranger;
         CREATE TABLE n (p_id int REFERENCES p ON DELETE SET NULL); ALTER TABLE n OWNER TO reach_stranger;
         INSERT INTO p VALUES (1), (2); INSERT INTO s VALUES (1); INSERT INTO n VALUES (1);",
    )
    .await;
    let mut keeper = db.keeper_as("reach_keeper").await;
    keeper.install().await.unwrap();
    let states = keeper
        .enable(&["public.p".to_owned()], RequestedMode::Auto, &mut |_| {})
        .await
        .unwrap()
        .all()
        .unwrap();
    assert!(
        states[0].reason.ends_with(
            "a cascade takes rows along that are NOT kept: public.s belongs to a role whose rights the keeper's role has not; \
             references that deletes set to null or a default are NOT remembered: public.n belongs to a role whose rights the keeper's role has not"
        ),
        "{states:?}"
    );
    db.run("DELETE FROM p WHERE id = 1").await;
    assert_eq!(
        db.rows("SELECT (SELECT count(*) FROM s), (SELECT count(p_id) FROM n)")
            .await,
        ["0|0"]
    );
    let call = format!("deletion_v1({})", last(&db).await);
    assert_eq!(
        undelete(&db, &call).await,
        [
            "public.n|0|0|0|INCOMPLETE",
            "public.p|1|0|0|COMPLETE",
            "public.s|0|0|0|INCOMPLETE",
            "(all)|1|0|0|INCOMPLETE"
        ]
    );
}

#[tokio::test]
async fn enabling_goes_on_past_a_table_that_fails() {
    let db = Database::new("reach_fails").await;
    let mut keeper = db.keeper().await;
    keeper.install().await.unwrap();
    db.run(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int); CREATE TABLE c (id int PRIMARY KEY)",
    )
    .await;
    let all = ["public.*".to_owned()];
    let enabled = keeper
        .enable(&all, RequestedMode::Mark, &mut |_| {})
        .await
        .unwrap();
    let seen: Vec<_> = enabled.states.iter().map(|s| s.table.as_str()).collect();
    assert_eq!(seen, ["public.a", "public.c"]);
    assert_eq!(enabled.failed.len(), 1);
    assert_eq!(enabled.failed[0].table, "public.b");
    let why = enabled.failed[0].error.to_string();
    assert!(why.contains("it has no primary key"), "{why}");

    db.run("SELECT reprieve.disable_v1('a'), reprieve.disable_v1('c'); UPDATE reprieve.settings SET value = '' WHERE key = 'tables.disabled';
            CREATE FUNCTION reprieve.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
            CREATE TRIGGER stop BEFORE INSERT ON reprieve.tables FOR EACH ROW WHEN (NEW.table_name = 'b') EXECUTE FUNCTION reprieve.stop()")
        .await;
    let settings = TableSettings {
        enable: all.to_vec(),
        ..TableSettings::default()
    };
    keeper.set_table_settings(&settings).await.unwrap();
    let enabled = keeper.enable_configured(&mut |_| {}).await.unwrap();
    let seen: Vec<_> = enabled.states.iter().map(|s| s.table.as_str()).collect();
    assert_eq!(seen, ["public.a", "public.c"]);
    assert_eq!(enabled.failed[0].table, "public.b");
    assert!(
        enabled.failed[0].error.to_string().contains("not this one"),
        "{:?}",
        enabled.failed
    );
}

/// Plans of our triggers are kept: what is planned while a table is tiny runs while it grows.
#[tokio::test]
async fn a_bulk_load_into_a_tiny_table_looks_keys_up() {
    let schema = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p);
        INSERT INTO p SELECT generate_series(1, 12); INSERT INTO c SELECT n, n FROM generate_series(1, 12) n; ANALYZE;";
    let db = database("tiny", schema, &[("p", "mark"), ("c", "mark")]).await;
    db.run("SET statement_timeout = '60s'").await;
    // Reading the table for each row takes minutes.
    db.run("INSERT INTO p SELECT generate_series(13, 40000); INSERT INTO c SELECT n, n FROM generate_series(13, 40000) n")
        .await;
    db.run("INSERT INTO c SELECT n, n % 100 + 1 FROM generate_series(40001, 80000) n")
        .await;
    assert_eq!(db.rows("SELECT count(*) FROM c").await, ["80000"]);
}

/// A large table that was taken in is marked like any other: columns first, then the index while others write.
#[tokio::test]
async fn a_table_in_the_bin_is_prepared_online_too() {
    let schema = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE);
        INSERT INTO p VALUES (1), (2); INSERT INTO c VALUES (1, 1), (2, 2)";
    let db = database("reach_online", schema, &[("p", "bin")]).await;
    let session = db.session().await;
    let child: u32 = db.rows("SELECT 'c'::regclass::oid").await[0]
        .parse()
        .unwrap();
    let prepare = include_str!("../src/queries/prepare.sql");
    let plan = session
        .query_one(prepare, &[&child, &"auto", &0_i64])
        .await
        .unwrap();
    assert!(plan.get::<_, bool>("needs_columns"));
    session
        .batch_execute(plan.get("add_columns"))
        .await
        .unwrap();
    // It is still captured, and its rows come back without our columns in the way.
    db.run("DELETE FROM p WHERE id = 1").await;
    let plan = session
        .query_one(prepare, &[&child, &"auto", &0_i64])
        .await
        .unwrap();
    assert!(!plan.get::<_, bool>("needs_columns"));
    let index: &str = plan.get("create_index");
    session
        .batch_execute("SET reprieve.reconciling = '1'")
        .await
        .unwrap();
    session.batch_execute(index).await.unwrap();
    db.run("SELECT reprieve.enable_v1('c')").await;
    assert!(tables(&db).await[0].starts_with("c|mark|"));
    let lines = undelete(&db, &format!("deletion_v1({})", last(&db).await)).await;
    assert_eq!(lines.last().unwrap(), "(all)|2|0|0|COMPLETE");
    assert_sound(&db).await;
}
