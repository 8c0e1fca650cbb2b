//! What is long or many: texts, tables of one session, statements of one message.

use tests::pair::settle;
use tests::{Client, Cluster, Proxy};

const ITEMS: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 1000) n";

fn open() -> (Proxy, Cluster) {
    let cluster = Cluster::start();
    let proxy = Proxy::start(cluster.port(), "*.*");
    cluster.create_database("shop");
    proxy.connect("shop").run(ITEMS);
    settle(&cluster, "shop");
    (proxy, cluster)
}

/// From 16 KiB on a thread of its own reads a statement.
#[test]
fn a_long_statement_is_changed_like_a_short_one() {
    let (proxy, cluster) = open();
    let mut app = proxy.connect("shop");
    let mut left = 1000;
    for (ids, repeated) in [(1..=10, 1), (11..=300, 20), (301..=700, 100)] {
        let list = ids.clone().map(|id| id.to_string()).collect::<Vec<_>>();
        let list = vec![list.join(", "); repeated].join(", ");
        let gone = ids.count();
        assert_eq!(
            app.command(&format!("DELETE FROM t WHERE id IN ({list})")),
            format!("DELETE {gone}")
        );
        left -= gone;
        let literal = "it''s deleted_at; DELETE FROM t -- ".repeat(repeated * 10);
        let text = app.value(&format!(
            "SELECT count(*) || '{literal}' FROM t WHERE id NOT IN (-1, {list})"
        ));
        assert_eq!(text, format!("{left}{}", literal.replace("''", "'")));
    }
    assert_eq!(
        cluster
            .superuser("shop")
            .value("SELECT count(*) FROM t WHERE deleted_at IS NOT NULL"),
        "700"
    );
}

/// Each row's key is held by a live row. Were the text read for each of them, no reply would come in time.
#[test]
fn an_insert_of_many_rows_that_are_there_takes_linear_time() {
    const ROWS: usize = 15_000;
    let (proxy, cluster) = open();
    let mut app = proxy.connect("shop");
    app.run(&format!(
        "INSERT INTO t SELECT n, 'v' FROM generate_series(1001, {ROWS}) n"
    ));
    let rows = (1..=ROWS).map(|n| format!("({n}, 'a row that is as long as many are')"));
    let insert = format!(
        "INSERT INTO t VALUES {} ON CONFLICT",
        rows.collect::<Vec<_>>().join(", ")
    );
    assert_eq!(
        cluster
            .superuser("shop")
            .value("SELECT mode FROM reprieve.tables WHERE table_name = 't'"),
        "mark"
    );
    assert_eq!(app.command(&format!("{insert} DO NOTHING")), "INSERT 0 0");
    assert_eq!(
        app.command(&format!("{insert} (id) DO UPDATE SET v = 'w'")),
        format!("INSERT 0 {ROWS}")
    );
}

#[test]
fn d35_a_dropped_table_leaves_little_in_its_session() {
    const ROUNDS: i64 = 10;
    let (proxy, _cluster) = open();
    let mut app = Client::connect(&proxy.app(), "postgres", "shop").unwrap();
    let mut round = || {
        app.run(
            "CREATE TABLE p (id int PRIMARY KEY, v text); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)",
        );
        for sql in [
            "INSERT INTO p VALUES (1, 'a'), (2, 'b')",
            "INSERT INTO c VALUES (1, 1), (2, 2)",
            "UPDATE p SET v = 'c'",
            "DELETE FROM c WHERE id = 1",
            "DELETE FROM p WHERE id = 1",
            "DROP TABLE c",
            "DROP TABLE p",
        ] {
            app.run(sql);
        }
        app.value("SELECT sum(total_bytes) FROM pg_backend_memory_contexts")
            .parse::<i64>()
            .unwrap()
    };
    let first = round();
    let last = (0..ROUNDS).map(|_| round()).last().unwrap();
    let of_a_table = (last - first) / (ROUNDS * 2);
    assert!(
        (100_000..1_000_000).contains(&of_a_table),
        "{of_a_table} bytes of a table"
    );
}
