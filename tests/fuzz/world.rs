//! The same data three times: on a plain server, behind the proxy with tombstones underneath, and on a second plain server
//! where the rows lie in another order.

use std::time::{Duration, Instant};

use tests::client::Client;
use tests::cluster::Cluster;
use tests::pair::settle;
use tests::proxy::Proxy;
use tests::sql::statements;

use crate::choices::Random;
use crate::tables::{TABLES, Ty};

const DATABASE: &str = "fuzz";
const USER: &str = "clerk";
const SCHEMA: &str = include_str!("schema.sql");
const LATER: &str = include_str!("later.sql");
/// A statement that takes longer says nothing.
const STATEMENT_TIME_MAX: &str = "1s";

/// Plans that the second plain server is asked for, one after the other.
pub const PLANS: &[&str] = &[
    "RESET ALL",
    "SET enable_nestloop = off",
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_hashagg = off",
    "SET enable_seqscan = off; SET enable_sort = off",
];

/// All of them, dropped in this order.
pub struct World {
    pub proxy: Proxy,
    pub behind: Cluster,
    pub plain: Cluster,
    pub other: Cluster,
}

impl World {
    pub fn start(seed: u64) -> World {
        let (plain, behind, other) = (Cluster::start(), Cluster::start(), Cluster::start());
        for cluster in [&plain, &behind, &other] {
            cluster.create_database(DATABASE);
            run_all(&mut direct(cluster), SCHEMA);
        }
        let bin = [("REPRIEVE__TABLES__BIN", "public.bin_*")];
        let proxy = Proxy::with(behind.port(), "*.*", &bin);
        let world = World {
            proxy,
            behind,
            plain,
            other,
        };
        let mut tried = world.proxy.connect(DATABASE);
        world.wait_until_enabled();
        run_all(&mut tried, LATER);
        settle(&world.behind, DATABASE);
        let mut plain = direct(&world.plain);
        let mut other = direct(&world.other);
        for client in [&mut plain, &mut other] {
            run_all(client, LATER);
        }
        for sql in history(seed) {
            let said = plain.try_run(&sql);
            assert_eq!(said, tried.try_run(&sql), "in the setup: {sql}");
            assert_eq!(said, other.try_run(&sql), "in the setup: {sql}");
        }
        disorder(&world.other);
        world
    }

    /// A view that is made while its tables are being enabled may keep one of them from being marked.
    fn wait_until_enabled(&self) {
        let mut superuser = self.behind.superuser(DATABASE);
        let count = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN ('public'::regnamespace, 'app'::regnamespace)";
        let all = superuser.value(count);
        let started = Instant::now();
        let enabled = "SELECT count(*) FROM reprieve.tables";
        while superuser.try_run(enabled) != Ok(vec![all.clone()]) {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "not all tables are enabled: {}",
                self.proxy.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        settle(&self.behind, DATABASE);
    }

    /// A connection of each kind: plain, tried.
    pub fn clients(&self) -> (Client, Client) {
        let mut tried = self.proxy.connect(DATABASE);
        tried.run(&format!("SET statement_timeout = '{STATEMENT_TIME_MAX}'"));
        (self.plain_client(), tried)
    }

    fn plain_client(&self) -> Client {
        let mut plain = direct(&self.plain);
        plain.run(&format!("SET statement_timeout = '{STATEMENT_TIME_MAX}'"));
        plain
    }

    /// The second plain server, asked for a plan.
    pub fn other_client(&self, plan: &str) -> Client {
        let mut other = direct(&self.other);
        for sql in statements(plan) {
            other.run(sql);
        }
        other.run(&format!("SET statement_timeout = '{STATEMENT_TIME_MAX}'"));
        other
    }

    /// How many rows live, how many are tombstones, and which tables are in which mode.
    pub fn census(&self) -> String {
        let mut superuser = self.behind.superuser(DATABASE);
        let catalog = tests::pair::catalog(&mut superuser);
        let (mut live, mut dead, mut modes) = (0, 0, Vec::new());
        for table in catalog["tables"].as_array().into_iter().flatten() {
            let name = superuser.value(&format!("SELECT {}::regclass", table["oid"]));
            modes.push(format!("{name} {}", table["mode"].as_str().unwrap_or("?")));
            let count = |client: &mut Client, what: &str| -> i64 {
                let sql = format!("SELECT count({what}) FROM ONLY {name}");
                client.value(&sql).parse().unwrap_or(0)
            };
            let all = count(&mut superuser, "*");
            let marked = if table["mode"] == "mark" {
                count(&mut superuser, "deletion_id")
            } else {
                0
            };
            live += all - marked;
            dead += marked;
        }
        let graves = superuser.value("SELECT count(*) FROM reprieve.graveyard");
        format!(
            "{live} live rows, {dead} tombstones among them, {graves} rows in the graveyard; {}",
            modes.join(", ")
        )
    }

    /// A database that only sqlsmith reads, to make statements of: without what differs from one server, or one moment, to
    /// the next.
    pub fn database_for_sqlsmith(&self) -> String {
        let name = "smith";
        self.plain.create_database(name);
        let mut clerk = Client::connect(&self.plain.target(), USER, name).expect("clerk connects");
        run_all(&mut clerk, SCHEMA);
        run_all(&mut clerk, LATER);
        run_all(
            &mut self.plain.superuser(name),
            include_str!("for_sqlsmith.sql"),
        );
        name.to_owned()
    }

    pub fn database(&self) -> &'static str {
        DATABASE
    }
}

fn direct(cluster: &Cluster) -> Client {
    Client::connect(&cluster.target(), USER, DATABASE).expect("clerk connects")
}

fn run_all(client: &mut Client, text: &str) {
    for sql in statements(text) {
        client.run(sql);
    }
}

/// What happened to the tables: rows came, went, and came again under the same keys.
fn history(seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut all = Vec::new();
    insert(&mut random, &mut all, 1, 60);
    delete(&mut random, &mut all, 45);
    insert(&mut random, &mut all, 1, 60);
    delete(&mut random, &mut all, 50);
    insert(&mut random, &mut all, 10, 20);
    all.push("UPDATE task SET prio = prio + 1 WHERE id % 5 = 0".to_owned());
    all.push("UPDATE animal SET legs = legs + 1 WHERE id % 4 = 0".to_owned());
    delete(&mut random, &mut all, 15);
    all.push("REFRESH MATERIALIZED VIEW m_dept".to_owned());
    all
}

/// Inserts what is not there; a row that refers to one that is gone fails, on all sides.
fn insert(random: &mut Random, all: &mut Vec<String>, from: usize, to: usize) {
    let tables = TABLES.iter().filter(|table| table.is_base());
    // Parents first.
    let mut tables = tables.collect::<Vec<_>>();
    tables.sort_by_key(|table| match table.name {
        "dept" => 0,
        "emp" => 1,
        "task" => 2,
        _ => 3,
    });
    for table in tables {
        if table.name == "part_low" {
            continue;
        }
        for id in from..=to {
            let mut names = Vec::new();
            let mut values = Vec::new();
            for (name, ty, role) in table.columns {
                if *name == "y" {
                    continue;
                }
                names.push(*name);
                values.push(value(random, table.name, name, *ty, *role, id));
            }
            // Families share their numbers, as no key of theirs says.
            if table.name == "bird" {
                values[0] = (id + 60).to_string();
            }
            all.push(format!(
                "INSERT INTO {}.{} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
                table.schema,
                table.name,
                names.join(", "),
                values.join(", ")
            ));
        }
    }
}

fn value(
    random: &mut Random,
    table: &str,
    name: &str,
    ty: Ty,
    role: crate::tables::Role,
    id: usize,
) -> String {
    use crate::tables::Role;
    if random.below(12) == 0 && role != Role::Key && !(table == "dept" && name == "name") {
        return "NULL".to_owned();
    }
    match (table, name, role) {
        ("part", "k", _) => return random.below(100).to_string(),
        ("link", "b", _) => return (1 + random.below(60)).to_string(),
        (_, _, Role::Key) => return id.to_string(),
        ("tree", _, Role::Foreign) => {
            return if id > 5 && random.below(4) > 0 {
                (1 + random.below(id - 1)).to_string()
            } else {
                "NULL".to_owned()
            };
        }
        (_, _, Role::Foreign) => return (1 + random.below(60)).to_string(),
        ("app.emp" | "emp", "ref", _) => return (1 + random.below(500)).to_string(),
        ("booking", "during", _) => {
            let from = random.below(300);
            return format!("'[{from},{})'", from + 1 + random.below(3));
        }
        _ => {}
    }
    match ty {
        Ty::Int => (1 + random.below(60)).to_string(),
        Ty::Text => match random.below(5) {
            0 => ["'ann'", "'bob'", "'cy'", "''"][random.below(4)].to_owned(),
            _ => format!("'n{}'", random.below(12)),
        },
        Ty::Num => format!("{}.{}0", random.below(100), random.below(10)),
        Ty::Bool => ["true", "false"][random.below(2)].to_owned(),
        Ty::Date => format!("'2026-01-{:02}'", 1 + random.below(28)),
        Ty::Json => match random.below(3) {
            0 => format!("'[1,{}]'", random.below(9)),
            _ => format!("'{{\"a\": {}, \"b\": null}}'", random.below(5)),
        },
        Ty::Ints => format!("'{{{},{}}}'", random.below(5), random.below(60)),
        Ty::Other => ["'sad'", "'calm'", "'glad'"][random.below(3)].to_owned(),
    }
}

/// Deletes about so many rows of a hundred, a few at a time, of tables in turn; some by cascade.
fn delete(random: &mut Random, all: &mut Vec<String>, percent: usize) {
    let tables = TABLES.iter().filter(|table| table.is_base());
    for table in tables.filter(|table| table.name != "part_low") {
        for _ in 0..8 {
            let column = table.columns[0].0;
            let condition = match table.columns[0].1 {
                Ty::Int => format!("{column} % 100 BETWEEN {} AND ", random.below(60)),
                _ => format!("n % 100 BETWEEN {} AND ", random.below(60)),
            };
            // The parents take others with them.
            let few = if matches!(table.name, "dept" | "emp" | "tree") {
                percent / 24
            } else {
                percent / 9
            };
            let low = condition
                .split(' ')
                .rev()
                .nth(2)
                .and_then(|low| low.parse::<usize>().ok())
                .unwrap_or(0);
            all.push(format!(
                "DELETE FROM {}.{} WHERE {condition}{}",
                table.schema,
                table.name,
                low + few
            ));
        }
    }
}

/// Moves rows about.
fn disorder(cluster: &Cluster) {
    let mut superuser = cluster.superuser(DATABASE);
    superuser.run("SET session_replication_role = replica");
    for table in TABLES.iter().filter(|table| table.is_base()) {
        let (schema, name, column) = (table.schema, table.name, table.columns[0].0);
        for part in 0..3 {
            superuser.run(&format!(
                "UPDATE ONLY {schema}.{name} SET {column} = {column} WHERE hashtext({column}::text) % 3 = {part}"
            ));
        }
    }
}
