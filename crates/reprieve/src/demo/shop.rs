//! The shop: roles, tables, 1.5 million rows, and what is known of them before Reprieve came.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::cluster::PrivateCluster;
use super::screen::{Screen, thousands};

pub(super) const DATABASE: &str = "shop";
pub(super) const TABLES: [&str; 5] = ["customers", "orders", "payments", "refunds", "audit_logs"];
pub(super) const FATAL: &str = "DELETE FROM orders WHERE is_test";
/// What it takes, by the keys that cascade: the rows of [`TABLES`] in that order.
pub(super) const TAKEN: [i64; 5] = [0, 1_237, 8_642, 12_109, 28_394];
const ROWS: [i64; 5] = [21_874, 58_921, 192_453, 84_229, 1_203_442];

/// The keeper is no superuser: it may create schema and roles, and is a member of the tables' owner.
const ROLES: &str = "
    CREATE ROLE shop LOGIN;
    CREATE ROLE keeper LOGIN CREATEROLE;
    CREATE ROLE dba LOGIN;
    GRANT shop TO keeper;
    GRANT shop TO dba;
";

/// The plain database, as PostgreSQL itself sees it.
pub(super) struct Plain {
    /// Rows of each table.
    pub(super) counts: [i64; 5],
    /// A query per table that hashes all rows in order, and its result.
    pub(super) checksums: Vec<(String, String)>,
    /// How long PostgreSQL's own cascade took.
    pub(super) native: Duration,
}

pub(super) async fn connect(url: &str) -> Result<Client, String> {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.map_err(|error| explain("connecting", &error))?;
    tokio::spawn(connection);
    Ok(client)
}

/// The server's own words, where there are any.
pub(super) fn explain(doing: &str, error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{doing}: {} ({})", db.message(), db.code().code()),
        None => format!("{doing}: {error}"),
    }
}

/// The cells of the first row.
pub(super) async fn first_row(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    let messages = client
        .simple_query(sql)
        .await
        .map_err(|error| explain(sql, &error))?;
    let row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| format!("{sql}: no row"))?;
    Ok((0..row.len())
        .map(|i| row.get(i).unwrap_or_default().to_owned())
        .collect())
}

async fn run(client: &Client, sql: &str) -> Result<(), String> {
    client
        .batch_execute(sql)
        .await
        .map_err(|error| explain("filling the shop", &error))
}

/// Rows of each table, as the client of one port sees them.
pub(super) async fn counts(client: &Client) -> Result<[i64; 5], String> {
    let mut counts = [0; 5];
    for (count, table) in counts.iter_mut().zip(TABLES) {
        let row = first_row(client, &format!("SELECT count(*) FROM {table}")).await?;
        let text = row.first().map(String::as_str).unwrap_or_default();
        *count = text
            .parse()
            .map_err(|_| format!("count of {table}: {text}"))?;
    }
    Ok(counts)
}

/// Fills the shop and looks at it closely.
pub(super) async fn build(cluster: &PrivateCluster, screen: &mut Screen) -> Result<Plain, String> {
    screen.step("A shop, as it was");
    let superuser = connect(&cluster.url("postgres")).await?;
    run(&superuser, ROLES).await?;
    run(&superuser, "CREATE DATABASE shop OWNER shop").await?;
    run(&superuser, "GRANT CREATE ON DATABASE shop TO keeper").await?;
    let direct = connect(&cluster.url_as("shop", DATABASE)).await?;
    // From PostgreSQL 15 on, public belongs to the owner of the database.
    run(&direct, include_str!("sql/1_tables.sql")).await?;
    let fills = [
        include_str!("sql/2_customers.sql"),
        include_str!("sql/3_orders.sql"),
        include_str!("sql/4_payments.sql"),
        include_str!("sql/5_refunds.sql"),
        include_str!("sql/6_audit_logs.sql"),
    ];
    for ((table, fill), rows) in TABLES.into_iter().zip(fills).zip(ROWS) {
        screen.busy(&format!("{table}: {} rows", thousands(rows)));
        let began = Instant::now();
        run(&direct, fill).await?;
        screen.timed(
            &format!("{table:<12} {:>12} rows", thousands(rows)),
            began.elapsed(),
        );
    }
    screen.busy("keys");
    let began = Instant::now();
    run(&direct, include_str!("sql/7_keys.sql")).await?;
    run(&direct, &format!("VACUUM ANALYZE {}", TABLES.join(", "))).await?;
    screen.timed("keys, ON DELETE CASCADE all the way", began.elapsed());
    let native = native_delete(&direct, screen).await?;
    let counts = counts(&direct).await?;
    screen.busy("checksums");
    let began = Instant::now();
    let mut checksums = Vec::new();
    for table in TABLES {
        let query = checksum_query(&direct, table).await?;
        let checksum = first_row(&direct, &query).await?.concat();
        checksums.push((query, checksum));
    }
    screen.timed("checksums of all tables", began.elapsed());
    screen.check(counts == ROWS, "as many rows as on the day of the incident");
    Ok(Plain {
        counts,
        checksums,
        native,
    })
}

/// PostgreSQL's own delete, for comparison; taken back.
async fn native_delete(direct: &Client, screen: &mut Screen) -> Result<Duration, String> {
    run(direct, "BEGIN").await?;
    let began = Instant::now();
    run(direct, FATAL).await?;
    let native = began.elapsed();
    run(direct, "ROLLBACK").await?;
    screen.timed("the fatal DELETE, natively, rolled back", native);
    // Its dead row versions shall not be in the way of what is measured next.
    run(direct, &format!("VACUUM {}", TABLES.join(", "))).await?;
    Ok(native)
}

/// Hashes every column that the table has now, row by row in the order of the key.
async fn checksum_query(client: &Client, table: &str) -> Result<String, String> {
    let columns = format!(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
    );
    let columns = first_row(client, &columns).await?.concat();
    Ok(format!(
        "SELECT md5(string_agg(hashtextextended(ROW({columns})::text, 0)::text, ',' ORDER BY id)) FROM {table}"
    ))
}

/// Once the role `reprieve_admin` exists.
pub(super) async fn appoint_dba(cluster: &PrivateCluster) -> Result<(), String> {
    let superuser = connect(&cluster.url(DATABASE)).await?;
    run(&superuser, "GRANT reprieve_admin TO dba").await
}
