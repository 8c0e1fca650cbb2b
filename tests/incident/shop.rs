//! The database of the incident, and clients that wait as long as it takes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tests::cluster::Options;
use tests::pair::settle;
use tests::{Client, Cluster, Got, Proxy, front};

use crate::{SCRIPT, SUPPORT, say, tell};

pub(crate) const DATABASE: &str = "shop";

/// In the order in which the script empties them.
pub(crate) const TABLES: [&str; 12] = [
    "notes",
    "tickets",
    "invites",
    "api_keys",
    "preferences",
    "addresses",
    "devices",
    "sessions",
    "transactions",
    "inventory",
    "users",
    "accounts",
];

const PATIENCE: Duration = Duration::from_secs(3 * 3600);
/// With fewer rows the script is over before the monitor looks a second time.
const SMALL: f64 = 0.2;

pub(crate) struct Shop {
    cluster: Cluster,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) checksums: BTreeMap<String, String>,
}

impl Shop {
    /// Fills a private server, and looks at it closely before Reprieve comes.
    pub(crate) fn build(scale: f64) -> Self {
        say(&format!("A shop, scale {scale}"));
        let cluster = Cluster::with(&Options {
            conf: "shared_buffers = 512MB\nmax_wal_size = 8GB\nmaintenance_work_mem = 256MB\nautovacuum_naptime = 10s\n".to_owned(),
            unchecked: Some("the incident looks for itself, without a limit of time"),
            ..Options::default()
        });
        cluster.create_database(DATABASE);
        let mut postgres = cluster.superuser(DATABASE);
        let began = Instant::now();
        let fill = include_str!("shop.sql").replace(":scale", &scale.to_string());
        run(&mut postgres, &fill);
        run(&mut postgres, "VACUUM ANALYZE");
        for role in [SCRIPT, SUPPORT] {
            run(
                &mut postgres,
                &format!(
                    "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
                ),
            );
        }
        tell("filled", began.elapsed());
        let mut shop = Self {
            cluster,
            counts: BTreeMap::new(),
            checksums: BTreeMap::new(),
        };
        let began = Instant::now();
        shop.counts = shop.count(&mut postgres);
        shop.checksums = shop.checksums(&mut postgres);
        tell(
            &format!(
                "checksums of {} rows in {} tables",
                shop.counts.values().sum::<u64>(),
                TABLES.len()
            ),
            began.elapsed(),
        );
        shop
    }

    /// Reprieve in front of it, with every table enabled.
    pub(crate) fn proxy(&self, scale: f64, more: &[(&str, &str)]) -> Proxy {
        let began = Instant::now();
        let mut settings = more.to_vec();
        if scale < SMALL {
            settings.push(("REPRIEVE__MONITOR__INTERVAL_SECONDS", "1"));
        }
        let proxy = Proxy::with(self.cluster.port(), "*.*", &settings);
        // The first client brings the keeper, and with it the role of DBAs.
        run(&mut connect(&proxy, SCRIPT), "SELECT 1");
        self.wait_for_marks(&mut proxy.connect_admin(DATABASE));
        tell("Reprieve in front of it", began.elapsed());
        proxy
    }

    /// Every table marks: its index is built, and the sidecar hides tombstones.
    pub(crate) fn wait_for_marks(&self, admin: &mut Client) {
        let marking = format!(
            "SELECT count(*) = {} FROM reprieve.tables WHERE marking",
            TABLES.len()
        );
        wait("every table marks", || rows(admin, &marking) == ["t"]);
        settle(&self.cluster, DATABASE);
    }

    /// The monitor knows how many rows there are.
    pub(crate) fn wait_for_samples(&self, admin: &mut Client) {
        let sampled = format!(
            "SELECT count(DISTINCT relid) = {} FROM reprieve.show_rows",
            TABLES.len()
        );
        wait("every table is sampled", || rows(admin, &sampled) == ["t"]);
    }

    pub(crate) fn direct(&self) -> Client {
        self.cluster.superuser(DATABASE)
    }

    pub(crate) fn count(&self, client: &mut Client) -> BTreeMap<String, u64> {
        let count = |table: &&str| {
            let rows = rows(client, &format!("SELECT count(*) FROM {table}"));
            ((*table).to_owned(), rows[0].parse().expect("a number"))
        };
        TABLES.iter().map(count).collect()
    }

    /// A hash of all rows of each table, whatever their order.
    pub(crate) fn checksums(&self, client: &mut Client) -> BTreeMap<String, String> {
        let sum = |table: &&str| {
            let columns = rows(
                client,
                &format!(
                    "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{table}'::regclass
                        AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('deleted_at', 'deletion_id')"
                ),
            );
            let sum = format!(
                "SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)::numeric), 0) FROM {table}",
                columns[0]
            );
            ((*table).to_owned(), rows(client, &sum).concat())
        };
        TABLES.iter().map(sum).collect()
    }
}

/// What the script sends for one account.
pub(crate) fn deletes(id: &str) -> String {
    TABLES
        .iter()
        .map(|table| {
            let key = if *table == "accounts" {
                "id"
            } else {
                "account_id"
            };
            format!("DELETE FROM {table} WHERE {key} = {id}; ")
        })
        .collect()
}

pub(crate) fn connect(proxy: &Proxy, role: &str) -> Client {
    Client::connect(&proxy.app(), role, DATABASE).unwrap_or_else(|error| panic!("{error}"))
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: never");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn run(client: &mut Client, sql: &str) {
    rows(client, sql);
}

/// The rows of statements that must succeed, however long they take.
pub(crate) fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    client.send(&front::query(sql));
    let mut messages = Vec::new();
    loop {
        match client.recv(PATIENCE) {
            Got::Message(message) => {
                let is_last = message.tag == b'Z';
                messages.push(message);
                if is_last {
                    break;
                }
            }
            other => panic!("{other:?} after {sql}"),
        }
    }
    if let Some(error) = messages.iter().find(|message| message.tag == b'E') {
        panic!(
            "{} {}: {:?}\nin: {sql}",
            error.field(b'C').unwrap_or_default(),
            error.field(b'M').unwrap_or_default(),
            error.field(b'D')
        );
    }
    tests::client::rows(&messages)
}
