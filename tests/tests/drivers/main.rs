//! Drivers: each runs the session of a small application, directly and through the proxy with every table enabled, and
//! writes down all that it can see.

mod tokio_session;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use libtest_mimic::{Arguments, Failed, Trial};
use tests::Pair;
use tests::client::Client;
use tests::compare::difference;
use tests::process::{root, run};

static PAIR: LazyLock<Pair> = LazyLock::new(|| Pair::start("*.*"));

/// Items with parts; item 11 and its part have been deleted before the driver comes.
const SETUP: &str = "
CREATE TABLE item (id int PRIMARY KEY, name varchar(40) NOT NULL, price numeric(10,2));
CREATE TABLE part (id int PRIMARY KEY, item_id int NOT NULL REFERENCES item ON DELETE CASCADE, what text);
CREATE INDEX part_of_item ON part (item_id);
INSERT INTO item SELECT n, 'item ' || n, n * 1.25 FROM generate_series(1, 11) n;
INSERT INTO part SELECT n, n, 'part ' || n FROM generate_series(1, 11) n;";

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("tokio_postgres", || {
            compare("tokio_postgres", tokio_session::play)
        }),
        Trial::test("psycopg_3", || {
            compare("psycopg_3", |dsn| python("psycopg3.py", dsn))
        }),
        Trial::test("asyncpg", || {
            compare("asyncpg", |dsn| python("asyncpg_session.py", dsn))
        }),
        Trial::test("node_postgres", || {
            compare("node_postgres", |dsn| node("node_pg.js", dsn))
        }),
        Trial::test("psycopg_3_verbs", || {
            verbs("verbs_psycopg", |dsn| python("verbs.py", dsn))
        }),
        Trial::test("node_postgres_verbs", || {
            verbs("verbs_node", |dsn| node("verbs.js", dsn))
        }),
        Trial::test("psql", || compare("psql", |dsn| psql("psql.sql", dsn))),
        Trial::test("psql_describe", || {
            compare("psql_describe", |dsn| psql("psql_describe.sql", dsn))
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn compare(name: &str, play: impl Fn(&str) -> String) -> Result<(), Failed> {
    PAIR.create_database(name);
    let _sound = PAIR.behind().sound(name);
    let mut told = Vec::new();
    for (target, settle) in [(PAIR.plain().target(), false), (PAIR.tried(), true)] {
        let mut app = Client::connect(&target, "clerk", name)?;
        app.run(SETUP);
        if settle {
            PAIR.settle(name);
        }
        assert_eq!(app.command("DELETE FROM item WHERE id = 11"), "DELETE 1");
        drop(app);
        let port = target.port();
        let text = play(&format!(
            "postgresql://clerk@127.0.0.1:{port}/{name}?sslmode=disable"
        ));
        told.push(text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
    assert!(
        told[0].len() > 20,
        "the driver says too little: {:?}",
        told[0]
    );
    if PAIR.proxy().is_some() && name != "psql_describe" {
        let kept = PAIR
            .behind()
            .superuser(name)
            .value("SELECT count(*) FROM reprieve.deletions");
        assert_ne!(kept, "0", "nothing was kept of what the driver deleted");
    }
    difference(&told[0], &told[1]).map_or(Ok(()), |difference| Err(difference.into()))
}

/// All verbs of `tests/drivers/verbs.txt`, on the admin port.
fn verbs(name: &str, play: impl Fn(&str) -> String) -> Result<(), Failed> {
    let Some(proxy) = PAIR.proxy() else {
        return Ok(());
    };
    PAIR.create_database(name);
    let mut app = proxy.connect(name);
    app.run(SETUP);
    PAIR.settle(name);
    app.run("DELETE FROM item WHERE id = 11");
    let port = proxy.admin().port();
    let told = play(&format!(
        "postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable"
    ));
    let list = std::fs::read_to_string(script("verbs.txt"))?;
    let wanted = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(wanted.count(), told.lines().count(), "{told}");
    let wrong = told.lines().filter(|line| !line.starts_with("ok "));
    let wrong = wrong.collect::<Vec<_>>().join("\n");
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.into())
    }
}

/// Where `tests/setup/drivers.sh` puts the drivers.
fn drivers() -> PathBuf {
    static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
        run(&mut Command::new(root().join("tests/setup/drivers.sh")));
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from)
            .join("drivers")
    });
    DIR.clone()
}

fn script(name: &str) -> PathBuf {
    root().join("tests/drivers").join(name)
}

fn python(name: &str, dsn: &str) -> String {
    let mut python = Command::new(drivers().join("venv/bin/python"));
    run(python
        .arg(script(name))
        .env("DSN", dsn)
        .env("VERBS", script("verbs.txt"))
        .env("PYTHONHASHSEED", "0"))
}

fn node(name: &str, dsn: &str) -> String {
    let mut node = Command::new("node");
    run(node
        .arg(script(name))
        .env("DSN", dsn)
        .env("VERBS", script("verbs.txt"))
        .env("NODE_DRIVERS", drivers().join("node")))
}

fn psql(name: &str, dsn: &str) -> String {
    let output = tempfile::NamedTempFile::new().expect("a file");
    let open = |path: &Path| std::fs::File::open(path).expect("a file");
    let writer = || output.as_file().try_clone().expect("dup");
    let status = Command::new("psql")
        .args(["-X", "-a", dsn])
        .stdin(open(&script(name)))
        .stdout(Stdio::from(writer()))
        .stderr(Stdio::from(writer()))
        .status()
        .expect("psql starts");
    assert!(status.success(), "psql gave up: {status}");
    let text = std::fs::read_to_string(output.path()).expect("an output");
    // Where in the server's source an error was raised is not part of the promise.
    let kept = text.lines().filter(|line| !line.starts_with("LOCATION:"));
    kept.collect::<Vec<_>>().join("\n")
}
